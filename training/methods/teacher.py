"""The teacher of a distillation: the base with guidance, and its walk along a grid of noise levels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.methods.grid import Grid
from training.models.denoiser import denoise
from training.sampling.model import Model


@dataclass(frozen=True)
class Teacher:
    """A frozen base with `guidance`; 1 is none (arXiv:2207.12598 in the form that `assay generate` has)."""

    base: Model
    guidance: float
    grid: Grid

    def output(self, xt: Tensor, levels: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        """Return the guided output, of the shape of `xt`."""
        network = self.base.network
        output = denoise(network, xt, levels, text, mask)
        if self.guidance == 1.0:
            return output
        empty = self.base.text.encode([""] * len(xt))
        other = denoise(network, xt, levels, empty.vectors, empty.mask)
        return other + self.guidance * (output - other)

    @torch.no_grad()
    def walk(self, at: Tensor, steps: int, xt: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        """Return samples `steps` places below `at` (n,), one step a place; `at` must be `steps` or more."""
        grid, x = self.grid, xt
        for number in range(steps):
            here = at - number
            clean = grid.clean(here, x, self.output(x, grid.levels[here], text, mask))
            x = grid.step(here, here - 1, x, clean)
        return x
