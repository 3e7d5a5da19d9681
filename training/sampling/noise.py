"""The initial noise of each picture: from its seed alone, or with a watermark in its signs (Gaussian Shading)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from filters.errors import BadInput
from training.hallmark.gaussian_shading import Geometry, new_nonce, payload, shade
from training.hallmark.marking import SamplingMark, new_identity
from training.hallmark.watermark import WatermarkKey
from training.noise import seed_of

#: Widest square over which a payload bit is repeated; the paper's own is 8.
_SQUARES = (8, 4, 2, 1)


def source(seed: int, purpose: str) -> torch.Generator:
    """Return the random numbers of one picture for one purpose, drawn on the CPU whatever the device."""
    return torch.Generator().manual_seed(seed_of(seed, f"sampling-{purpose}"))


def plain_noise(seeds: Sequence[int], shape: tuple[int, int, int]) -> Tensor:
    """Return standard normal noise, float32 (n, c, h, w), each row from its own seed."""
    return torch.stack([torch.randn(shape, generator=source(seed, "noise")) for seed in seeds])


def geometry_of(shape: tuple[int, int, int]) -> Geometry:
    """Return how a payload is spread over latents (c, h, w). Raises `BadInput` where they are no multiple of 8."""
    channels, height, width = shape
    shown = f"{channels} x {height} x {width}"
    square = next(side for side in _SQUARES if height % side == 0 and width % side == 0)
    try:
        return Geometry(channels, height, width, 1, square)
    except ValueError:
        raise BadInput(f"latents of {shown} hold no mark at sampling; take another --size") from None


@dataclass(frozen=True)
class Shading:
    """Makes marked noise. The nonce is fresh for each picture, so a seed gives another picture each time."""

    key: WatermarkKey

    def noise(self, seeds: Sequence[int], shape: tuple[int, int, int]) -> tuple[Tensor, list[SamplingMark]]:
        """Return noise float32 (n, c, h, w) that is N(0, I), and each row's mark."""
        geometry = geometry_of(shape)
        marks = [SamplingMark(new_identity(), new_nonce()) for _ in seeds]
        rows = [
            shade(
                self.key,
                mark.nonce,
                payload(mark.identity, geometry),
                geometry,
                np.random.default_rng(seed_of(seed, "sampling-magnitudes")),
            )
            for seed, mark in zip(seeds, marks, strict=True)
        ]
        return torch.from_numpy(np.stack(rows)), marks
