"""An adapter on a checkpoint: LoRA's layers or learned words, put on before sampling."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from filters.errors import BadInput
from training.methods.adapting import put_adapter
from training.methods.inversion import read_words
from training.sampling.model import Model, checked_facts, newest

#: Stages whose checkpoints are adapters.
STAGES = ("lora", "textual_inversion")


@dataclass(frozen=True)
class Adapter:
    """A checkpoint that was put on another one: its folder, its facts (`assay.json`), how much its output counts."""

    path: Path
    facts: dict[str, Any]
    scale: float

    @property
    def digest(self) -> str:
        """Return the SHA-256 over what decides the pictures: checkpoint and scale."""
        return hashlib.sha256(f"{self.facts['checkpoint']} {self.scale!r}".encode()).hexdigest()

    def said(self, compared: bool) -> dict[str, str | int | float]:
        """Return what a credential says of it among the sampler's settings.

        `compared`: whether the guards knew the looks of its training pictures.
        """
        looks = "compared" if compared else "not compared"
        return {"adapter": str(self.facts["checkpoint"]), "adapter_scale": self.scale, "adapter_looks": looks}


def adapted(model: Model, folder: Path, scale: float, compiled: bool = False) -> tuple[Model, Adapter]:
    """Return the model with an adapter on it, and the adapter; the model given is changed, and of no more use.

    `folder`: a checkpoint, or a training's folder; `compiled`: compile the network, which must not be so yet. Raises
    `BadInput` where the checkpoint is none of an adapter, is damaged, or was trained on another base.
    """
    if not (math.isfinite(scale) and 0 <= scale <= 10):
        raise BadInput(f"--adapter-scale {scale:g}: 0 to 10; 1 is as it was trained, 0 is none")
    path = newest(folder)
    facts = checked_facts(path)
    stage, base = facts.get("stage"), facts.get("base")
    if stage not in STAGES:
        raise BadInput(f"--adapter {path}: a checkpoint of the stage {stage}; one of {' or '.join(STAGES)} is needed")
    named = base.get("checkpoint") if isinstance(base, dict) else None
    if named != model.identity:
        raise BadInput(
            f"--adapter {path}: trained on the base {str(named)[:16]}…, but {model.path} is {model.identity[:16]}…; "
            "generate with that base"
        )
    if stage == "lora":
        kind = "unet" if (model.path / "unet").is_dir() else "transformer"
        put_adapter(model.network, path, kind, scale)
    elif scale != 1.0:
        raise BadInput("--adapter-scale belongs to LoRA: a learned word is in a prompt or it is not")
    else:
        model.text.learn(read_words(path))
    network: Any = torch.compile(model.network) if compiled else model.network
    return replace(model, network=network), Adapter(path, facts, scale)
