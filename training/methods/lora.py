"""LoRA (arXiv:2106.09685) on a frozen denoiser, with prior preservation (arXiv:2208.12242) where it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.config_method import Lora
from training.contents import CONFIG
from training.data.batch import Batch
from training.methods.adapting import adapt, save_adapter
from training.methods.base import Given
from training.methods.prior import ClassPictures, class_pictures, of_subject, weigh
from training.models.denoiser import denoise
from training.noise import seed_of
from training.stages import DenoiserStage, Measured, Noisy, Player


@dataclass(frozen=True)
class Subject:
    """A batch: the subject's noisy pictures, the class's beside them, loss weights (n,) of a run that holds both."""

    noisy: Noisy
    prior: Noisy | None = None
    weights: Tensor | None = None


class LoraMethod:
    """Trains adapters by the base's own objective; the base's values are frozen."""

    name = "lora"

    def __init__(self, given: Given, wanted: Lora) -> None:
        """Put adapters on the base, after it has made the class's pictures. Raises `BadInput`."""
        config, base = given.config, given.base
        self._config, self._wanted, self._device = config, wanted, given.device
        self._seed = seed_of(config.seed, self.name)
        self._prior: ClassPictures | None = None
        if wanted.prior.source == "generated":
            self._prior = class_pictures(given, wanted.prior)
        torch.manual_seed(self._seed)
        self._layers = adapt(base.network, wanted)
        if config.denoiser.checkpointing:
            base.network.enable_gradient_checkpointing()
        self._denoising = DenoiserStage(config, base.network, base.codec, base.text, given.device)
        self._values: int = sum(one.numel() for one in base.network.parameters() if one.requires_grad)
        self.steps = config.loop.steps
        self.players = [
            Player(self.name, base.network, config.loop.ema > 0, config.optimiser.rate, self._measured),
        ]

    def prepare(self, batch: Batch, step: int) -> Subject:
        """Encode pictures and captions, draw levels and noise; beside it as many pictures of the class."""
        prior = self._wanted.prior
        weights, mine = None, [True] * len(batch.captions)
        if prior.source == "run":
            mine = of_subject(batch.captions, prior.subject)
            weights = weigh(mine, prior.weight).to(self._device)
        # a weight of 1 does not make a picture of the class one of the subject: the captions alone tell
        told = self._wanted.prompt
        captions = [told if told and text and own else text for text, own in zip(batch.captions, mine, strict=True)]
        noisy = self._denoising.prepare(replace(batch, captions=captions), step)
        if self._prior is None:
            return Subject(noisy, None, weights)
        return Subject(noisy, self._denoising.prepare(self._prior.beside(batch, self._seed, step), step))

    def diagnose(self, given: Subject) -> dict[str, float]:
        """Return the share of dead units for a few samples."""
        return self._denoising.diagnose(given.noisy)

    def fill(self, folder: Path, weights: Mapping[str, dict[str, Tensor]], datasets: list[str]) -> None:
        """Write the adapters in diffusers' layout, and the configuration."""
        (folder / CONFIG).write_text(self._config.dump(), encoding="utf-8")
        save_adapter(folder, self._config.denoiser.kind, weights[self.name], self._wanted)

    def values(self) -> int:
        """Return the number of the adapters' values."""
        return self._values

    def facts(self) -> dict[str, Any]:
        """Return kind, rank, layers and prior."""
        wanted, prior = self._wanted, self._wanted.prior
        found: dict[str, Any] = {"kind": self.name, "needs_base": True, "rank": wanted.rank}
        found |= {"alpha": wanted.alpha or wanted.rank, "layers": len(self._layers), "prior": prior.source}
        if self._prior is not None:
            found |= {"prior_pictures": len(self._prior.latents), "prior_prompt": prior.prompt}
        return found

    def _measured(self, network: nn.Module, given: Subject, step: int) -> Measured:
        mine = self._paid(network, given.noisy)
        if given.weights is not None:
            return Measured(mine.losses * given.weights, mine.places, mine.extras)
        if given.prior is None:
            return mine
        theirs = self._paid(network, given.prior)
        extras = {"subject": mine.losses.detach(), "prior": theirs.losses.detach(), **mine.extras}
        return Measured(mine.losses + self._wanted.prior.weight * theirs.losses, mine.places, extras)

    def _paid(self, network: nn.Module, noisy: Noisy) -> Measured:
        output = denoise(network, noisy.xt, noisy.levels, noisy.text, noisy.mask)
        return self._denoising.pays(output, noisy)
