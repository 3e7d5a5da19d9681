"""For scripts that run in a peer's own environment: torchvision beside a CPU build of torch, as Assay imports it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_FIX = Path(__file__).resolve().parents[1] / "filters/encoders/torchvision_fix.py"


def ensure_torchvision() -> None:
    """Import torchvision; without this a peer that needs it fails at import where its operators do not match torch."""
    # by its path, so that the peer's environment needs no package of Assay's
    spec = importlib.util.spec_from_file_location("torchvision_fix", _FIX)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.ensure_torchvision()
