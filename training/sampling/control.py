"""Steering by edges: a checkpoint of method `controlnet` and a picture, made ready for sampling."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from filters.encoders.torchvision_fix import ensure_torchvision
from filters.errors import BadInput, first_line
from training.methods.controlnet import FOLDER
from training.methods.edges import HIGH, LOW, condition
from training.models.control import Control
from training.sampling.model import Model, checked_facts, newest
from training.sampling.preparing import start_of


@dataclass(frozen=True)
class Steering:
    """A control network with its edges, the picture that they were taken from, and the checkpoint's facts.

    `pixels` uint8 (h, w, 3); `digest`: SHA-256 over what decides the pictures (checkpoint, file, scale).
    """

    control: Control
    pixels: np.ndarray
    facts: dict[str, Any]
    digest: str

    @property
    def parameters(self) -> dict[str, str | int | float]:
        """Return what a credential says of it among the sampler's settings."""
        return {"control": str(self.facts["checkpoint"]), "control_scale": self.control.scale}


def steering_of(
    folder: Path | None, picture: Path | None, scale: float, model: Model, size: tuple[int, int]
) -> Steering | None:
    """Return the steering by the edges of a picture, brought to (width, height) as a starting picture is.

    None where nothing is asked for. Raises `BadInput` where the checkpoint is none of method `controlnet`, is damaged,
    or was trained on another base.
    """
    if folder is None and picture is None:
        return None
    if folder is None or picture is None:
        raise BadInput("--control and --control-image belong together")
    if not (math.isfinite(scale) and 0 <= scale <= 10):
        raise BadInput(f"--control-scale {scale:g}: 0 to 10; 1 is as it was trained, 0 is none")
    network, facts = load_control(newest(folder), model)
    start, digest = start_of(picture, None, size)
    assert start is not None
    edges = condition(torch.from_numpy(start.pixels.copy()).permute(2, 0, 1)[None]).to(model.device)
    whole = hashlib.sha256(f"{facts['checkpoint']} {digest} {scale!r}".encode()).hexdigest()
    return Steering(Control(network, edges, scale), start.pixels, facts, whole)


def load_control(path: Path, model: Model) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Return a checkpoint's control network, frozen, on the model's device, and its facts. Raises `BadInput`."""
    facts = checked_facts(path)
    if facts.get("stage") != "controlnet":
        raise BadInput(f"--control {path}: a checkpoint of the stage {facts.get('stage')}, not of method controlnet")
    _require_base(path, facts, model)
    return _network(path, model), facts


def _require_base(path: Path, facts: dict[str, Any], model: Model) -> None:
    base, method = facts.get("base"), facts.get("method")
    if not isinstance(base, dict) or not isinstance(method, dict):
        raise BadInput(f"--control {path}: its facts name no base or no method")
    if base.get("checkpoint") != model.identity:
        raise BadInput(
            f"--control {path}: trained on the base {str(base.get('checkpoint'))[:16]}…, but {model.path} is "
            f"{model.identity[:16]}…; generate with that base"
        )
    if method.get("bounds") != [LOW, HIGH]:
        raise BadInput(f"--control {path}: trained on edges by the bounds {method.get('bounds')}, not {[LOW, HIGH]}")


def _network(path: Path, model: Model) -> torch.nn.Module:
    ensure_torchvision()
    from diffusers import ControlNetModel

    loader: Any = ControlNetModel
    try:
        network: torch.nn.Module = loader.from_pretrained(
            path, subfolder=FOLDER, local_files_only=True, use_safetensors=True, torch_dtype=model.dtype
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise BadInput(f"{path / FOLDER}: cannot be loaded ({first_line(error)})") from None
    return network.eval().requires_grad_(False).to(model.device)
