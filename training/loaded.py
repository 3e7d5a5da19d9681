"""Where an autoencoder that was loaded came from: what a checkpoint with it states, for card and credentials."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filters.encoders.weights import state_digest
from training.checkpoints import FACTS, read_facts
from training.methods.base import base_facts
from training.sampling.model import checked_facts

#: Its key in a checkpoint's facts.
KEY = "autoencoder"


def loaded_facts(path: str, network: Any) -> dict[str, Any]:
    """Return the facts of an autoencoder just loaded from `path`, under `KEY`.

    `weights`: SHA-256 over its values; `base`: the checkpoint of `assay train` that it lies in, with that one's data,
    None where it lies in none. Raises `BadInput` where that checkpoint is damaged.
    """
    checkpoint = _checkpoint_of(Path(path.removeprefix("file:")))
    base = None if checkpoint is None else base_facts(checked_facts(checkpoint))
    return {KEY: {"weights": state_digest(network), "base": base}}


def resumed_facts(checkpoint: Path, network: Any) -> dict[str, Any]:
    """Return the same for a training that goes on from a checkpoint: what that one states.

    Of those written before this was recorded, only the weights can be told.
    """
    stated = read_facts(checkpoint).get(KEY)
    return {KEY: stated if isinstance(stated, Mapping) else {"weights": state_digest(network), "base": None}}


def _checkpoint_of(folder: Path) -> Path | None:
    """Return the checkpoint whose autoencoder is loaded by a folder's name: the checkpoint's own, or that of `vae`."""
    if not folder.is_dir():
        return None
    real = folder.resolve()
    if real.name == "vae" and (real.parent / FACTS).is_file():
        return real.parent
    return real if (real / "vae").is_dir() and (real / FACTS).is_file() else None
