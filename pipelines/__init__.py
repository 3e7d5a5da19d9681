"""Floor 3: sources, Beam jobs, the run directory and the command line."""
