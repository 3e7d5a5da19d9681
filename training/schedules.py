"""Noise schedules: how much of the picture is left at each of the discrete steps.

`alpha_bar` (T,) is the share of the signal's variance, from nearly 1 at step 0 to nearly 0 at step T - 1. All are
computed in float64, the same values as diffusers' schedulers compute in float32 (a test compares them), so that a
sampler built from the stored scheduler configuration undoes what was trained.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Schedule = Literal["linear", "scaled-linear", "cosine", "sigmoid"]

#: Our names of schedules -> those of diffusers' schedulers.
DIFFUSERS_NAMES = {
    "linear": "linear",
    "scaled-linear": "scaled_linear",
    "cosine": "squaredcos_cap_v2",
    "sigmoid": "sigmoid",
}

#: Offset of the cosine schedule and its largest beta (arXiv:2102.09672, section 3.2).
_COSINE_OFFSET, _LARGEST_BETA = 0.008, 0.999

#: The sigmoid schedule's ends (GeoDiff, arXiv:2203.02923).
_SIGMOID_END = 6.0


def betas(schedule: Schedule, steps: int, start: float, end: float) -> Tensor:
    """Return the variance that each step adds, float64 (steps,). The cosine schedule has no use for start and end.

    Linear: arXiv:2006.11239. Scaled linear (linear in the square root): arXiv:2112.10752. Cosine: arXiv:2102.09672.
    """
    if schedule == "cosine":
        return _cosine(steps)
    if schedule == "sigmoid":
        ramp = torch.linspace(-_SIGMOID_END, _SIGMOID_END, steps, dtype=torch.float64)
        return torch.sigmoid(ramp) * (end - start) + start
    power = 0.5 if schedule == "scaled-linear" else 1.0
    return torch.linspace(start**power, end**power, steps, dtype=torch.float64) ** (1.0 / power)


def alpha_bars(schedule: Schedule, steps: int, start: float, end: float, zero_terminal: bool) -> Tensor:
    """Return alpha_bar, float64 (steps,); with `zero_terminal` its last value is exactly 0."""
    found = torch.cumprod(1.0 - betas(schedule, steps, start, end), dim=0)
    return zero_terminal_snr(found) if zero_terminal else found


def zero_terminal_snr(alpha_bar: Tensor) -> Tensor:
    """Shift and stretch a schedule so that nothing of the picture is left at the last step, (T,) -> (T,).

    The square root is moved by its last value and scaled so that its first value stays (arXiv:2305.08891,
    algorithm 1).
    """
    root = alpha_bar.sqrt()
    first, last = root[0], root[-1]
    return ((root - last) * (first / (first - last))) ** 2


def _cosine(steps: int) -> Tensor:
    def left(at: float) -> float:
        return math.cos((at + _COSINE_OFFSET) / (1 + _COSINE_OFFSET) * math.pi / 2) ** 2

    found = [min(1 - left((i + 1) / steps) / left(i / steps), _LARGEST_BETA) for i in range(steps)]
    return torch.tensor(found, dtype=torch.float64)
