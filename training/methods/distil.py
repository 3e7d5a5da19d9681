"""Distillation: a student that gives in a few steps what its base, the teacher, gives in many.

Two ways. `progressive` (arXiv:2202.00512, its rounds in one): each of the student's steps learns to land where the
teacher comes to in many. `consistency` (arXiv:2303.01469; with guidance inside the teacher's step, arXiv:2310.04378):
the student learns to name the same clean sample at neighbouring places of the teacher's path; its answer at the
earlier place is its own, without gradients and without a moving average (arXiv:2310.14189, section 3.2).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from filters.errors import BadInput
from training.config_method import Consistency, Progressive
from training.contents import DenoiserContents, count
from training.data.batch import Batch
from training.methods.base import Given
from training.methods.grid import grid_of, huber
from training.methods.teacher import Teacher
from training.models.denoiser import denoise
from training.noise import Draws, seed_of
from training.objectives import like, noised
from training.schedulers import few_step_scheduler_of
from training.stages import DenoiserStage, Measured, Player

#: Steps that a student of method `consistency` is sampled with where none are named.
_STEPS = 4


@dataclass(frozen=True)
class Taught:
    """A batch for the student: samples `xt` at the places `at` (n,), and where the teacher takes them, at `to`."""

    at: Tensor
    to: Tensor
    xt: Tensor
    earlier: Tensor
    text: Tensor
    mask: Tensor


class Distillation:
    """Trains a copy of the base; `stride`: places of the grid that one of its steps spans."""

    def __init__(self, given: Given, wanted: Consistency | Progressive) -> None:
        """Copy the base. Raises `BadInput` where the steps do not fit its schedule."""
        config, base = given.config, given.base
        self.name: str = wanted.kind
        self._config, self._wanted, self._base, self._device = config, wanted, base, given.device
        self._grid = grid_of(config.objective, wanted.teacher_steps, base.codec.network is None, given.device)
        self._stride, self._scheduler, measure = self._way(wanted)
        self._teacher = Teacher(base, wanted.guidance, self._grid)
        self._student: Any = copy.deepcopy(base.network).train().requires_grad_(True)
        if config.denoiser.checkpointing:
            self._student.enable_gradient_checkpointing()
        self._latents = DenoiserStage(config, self._student, base.codec, base.text, given.device).latents
        self._seed = seed_of(config.seed, self.name)
        self.steps = config.loop.steps
        self.players = [Player(self.name, self._student, config.loop.ema > 0, config.optimiser.rate, measure)]

    def _way(self, wanted: Consistency | Progressive) -> tuple[int, Any, Any]:
        """Return the stride, the sampler of the checkpoint (None: the base's own), and what the student pays by."""
        objective, pixels = self._config.objective, self._base.codec.network is None
        if isinstance(wanted, Consistency):
            return 1, few_step_scheduler_of(objective, pixels, wanted.teacher_steps), self._consistency
        if objective.prediction == "flow":
            raise BadInput("method.kind progressive is for diffusion; for rectified flow take kind consistency")
        if wanted.teacher_steps % wanted.student_steps:
            raise BadInput(
                f"method.teacher_steps: {wanted.teacher_steps} do not divide by student_steps, {wanted.student_steps}"
            )
        return wanted.teacher_steps // wanted.student_steps, None, self._progressive

    def prepare(self, batch: Batch, step: int) -> Taught:
        """Draw places and noise, and let the teacher walk from there."""
        draws, grid, stride = Draws(self._seed, step, batch.uids, self._device), self._grid, self._stride
        x0 = self._latents(batch, draws)
        noise = draws.normal("noise", x0.shape[1:])
        places = grid.last // stride
        at = stride * (1 + (draws.uniform("level") * places).long().clamp(max=places - 1))
        text = self._base.text.encode(batch.captions)
        xt = noised(x0, noise, grid.alpha[at], grid.sigma[at])
        earlier = self._teacher.walk(at, stride, xt, text.vectors, text.mask)
        return Taught(at, at - stride, xt, earlier, text.vectors, text.mask)

    def diagnose(self, given: Taught) -> dict[str, float]:
        """Return nothing: what a student is worth shows in its pictures alone."""
        return {}

    def fill(self, folder: Path, weights: Mapping[str, dict[str, Tensor]], datasets: list[str]) -> None:
        """Write the whole pipeline, with the student for the denoiser and the sampler that belongs to it."""
        base, vae = self._base, self._base.codec.network
        contents = DenoiserContents(
            self._config, self._student, vae, base.text.id, base.text.uri, self._scheduler, self._few_steps()
        )
        contents.fill(folder, {"denoiser": weights[self.name]}, datasets)

    def values(self) -> int:
        """Return the number of the student's values."""
        return count(self._student)

    def facts(self) -> dict[str, Any]:
        """Return what the student was taught, and how many steps it takes for a picture."""
        wanted = self._wanted
        return {
            "kind": wanted.kind,
            "teacher_steps": wanted.teacher_steps,
            "guidance": wanted.guidance,
            "student_steps": self._few_steps(),
        }

    def _few_steps(self) -> int:
        """Return the steps that the student is sampled with where none are named."""
        return self._wanted.student_steps if isinstance(self._wanted, Progressive) else _STEPS

    def _consistency(self, network: nn.Module, given: Taught, step: int) -> Measured:
        grid = self._grid
        output = denoise(network, given.xt, grid.levels[given.at], given.text, given.mask)
        found = grid.consistent(given.at, given.xt, output.float())
        with torch.no_grad():
            output = denoise(self._student, given.earlier, grid.levels[given.to], given.text, given.mask)
            wanted = grid.consistent(given.to, given.earlier, output.float())
        return Measured(huber(found, wanted), self._places(given))

    def _progressive(self, network: nn.Module, given: Taught, step: int) -> Measured:
        """Squared error of the clean sample, weighted by max(SNR, 1) (arXiv:2202.00512, section 4)."""
        grid = self._grid
        output = denoise(network, given.xt, grid.levels[given.at], given.text, given.mask)
        found = grid.clean(given.at, given.xt, output.float())
        wanted = grid.leading(given.at, given.to, given.xt, given.earlier)
        weight = torch.clamp((grid.alpha[given.at] / grid.sigma[given.at]) ** 2, min=1.0)
        losses = (like(weight, found) * (found - wanted).square()).flatten(1).mean(dim=1)
        return Measured(losses, self._places(given))

    def _places(self, given: Taught) -> Tensor:
        return given.to.float() / self._grid.last
