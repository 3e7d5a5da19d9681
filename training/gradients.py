"""Small pure parts of an optimisation step: learning rate, gradient noise, moving average."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from training.spread import local, spread_as


def learning_rate(step: int, peak: float, warmup: int, total: int, floor: float) -> float:
    """Return the rate of step `step` (from 0): linear warm-up, then a half cosine down to `floor` * peak.

    Source of the shape: arXiv:1608.03983, one cycle. `floor` 1 keeps the rate constant after the warm-up.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    return peak * (floor + (1.0 - floor) * (1.0 + math.cos(math.pi * done)) / 2.0)


def gradient_noise(eta: float, gamma: float, step: int) -> float:
    """Return the standard deviation of the noise for gradients at `step` (from 0): sqrt(eta / (1 + step)^gamma).

    arXiv:1511.06807, equation 1; there gamma is 0.55 and eta one of 0.01, 0.3 and 1.
    """
    return math.sqrt(eta / (1.0 + step) ** gamma)


def add_noise(gradients: Sequence[Tensor], deviation: float, seed: int) -> None:
    """Add Gaussian noise to gradients in place, the same for the same seed (on every process alike)."""
    for place, gradient in enumerate(gradients):
        source = torch.Generator(gradient.device).manual_seed((seed + place) % 2**63)
        drawn = torch.randn(gradient.shape, generator=source, device=gradient.device, dtype=gradient.dtype)
        gradient.add_(spread_as(drawn, gradient), alpha=deviation)


class MovingAverage:
    """Exponential moving average of parameters, kept on the parameters' device in float32.

    The decay ramps up, min(decay, (1 + n) / (10 + n)) after n updates, so that early averages are not stuck at the
    initial values (the rule of TensorFlow's ExponentialMovingAverage with `num_updates`).
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.shadows = [parameter.detach().float().clone() for parameter in parameters]

    @torch.no_grad()
    def update(self, parameters: Sequence[Tensor]) -> None:
        """Move the average towards the parameters by one update."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        now = [parameter.detach().float() for parameter in parameters]
        torch._foreach_lerp_(local(self.shadows), local(now), 1.0 - decay)
