"""ControlNet from edges: a copy of the base's encoder learns to steer it, the base itself stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from filters.errors import BadInput
from training.config_method import ControlNet
from training.contents import CONFIG, count, save_network
from training.data.batch import Batch
from training.methods.base import Given
from training.methods.edges import HIGH, LOW, condition
from training.models.control import Control, controlled, new_control
from training.noise import seed_of
from training.stages import DenoiserStage, Measured, Noisy, Player

#: Folder of the control network in a checkpoint.
FOLDER = "controlnet"


@dataclass(frozen=True)
class Steered:
    """A batch for the control network: what the denoiser reads, and the edges (n, 3, h, w) of the same pictures."""

    noisy: Noisy
    edges: Tensor


class ControlNetMethod:
    """Trains `ControlNetModel` by the base's own objective, with each picture's edges beside its noisy latents."""

    name = "controlnet"

    def __init__(self, given: Given, wanted: ControlNet) -> None:
        """Copy the base's encoder. Raises `BadInput` for a transformer, and where pictures would not be read."""
        config, base = given.config, given.base
        if config.autoencoder.cache != "none":
            raise BadInput("autoencoder.cache: method controlnet needs the pictures for their edges; leave it out")
        torch.manual_seed(seed_of(config.seed, self.name))
        self._config, self._unet, self._device = config, base.network, given.device
        self._control = new_control(base.network, base.codec.factor)
        if config.denoiser.checkpointing:
            self._control.enable_gradient_checkpointing()
        self._denoising = DenoiserStage(config, base.network, base.codec, base.text, given.device)
        self.steps = config.loop.steps
        self.players = [
            Player(self.name, self._control, config.loop.ema > 0, config.optimiser.rate, self._measured),
        ]

    def prepare(self, batch: Batch, step: int) -> Steered:
        """Encode pictures and captions, draw levels and noise, take the edges."""
        edges = condition(batch.images).to(self._device, non_blocking=True)
        return Steered(self._denoising.prepare(batch, step), edges)

    def diagnose(self, given: Steered) -> dict[str, float]:
        """Return nothing: the loss against the base's own tells enough."""
        return {}

    def fill(self, folder: Path, weights: Mapping[str, dict[str, Tensor]], datasets: list[str]) -> None:
        """Write the control network in diffusers' layout."""
        (folder / CONFIG).write_text(self._config.dump(), encoding="utf-8")
        save_network(folder / FOLDER, self._control, weights[self.name])

    def values(self) -> int:
        """Return the number of the control network's values."""
        return count(self._control)

    def facts(self) -> dict[str, Any]:
        """Return what steers it: Canny's edges, and by which bounds."""
        return {"kind": "controlnet", "condition": "canny", "bounds": [LOW, HIGH], "needs_base": True}

    def _measured(self, network: nn.Module, given: Steered, step: int) -> Measured:
        noisy = given.noisy
        control = Control(network, given.edges)
        output = controlled(self._unet, control, noisy.xt, noisy.levels, noisy.text, noisy.mask)
        return self._denoising.pays(output, noisy)
