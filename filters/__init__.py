"""Floor 1: pure units that score and judge image-text pairs. No Beam, no run directory."""

__version__ = "0.1.0"
