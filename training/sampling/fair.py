"""Fair guidance: every picture gets a value of an attribute, drawn by seed from stated shares, and is guided to it.

In the form of classifier guidance (arXiv:2105.05233, algorithm 2), as Fair Diffusion steers (arXiv:2302.10893):

    eps' = eps - s * sigma * grad log p(value | x_t)

With x_t = alpha x0 + sigma eps, a linear probe y = w * x0 on clean latents (fair_probe.py), y of unit variance, and
R2 the share of it that the probe explains, p(value | x_t) is the normal distribution around the probe's reading of
the denoiser's own x0, with variance 1 - R2 for what the probe does not know and R2 * sigma^2 / (alpha^2 + sigma^2)
for what the noise hides. Its gradient reaches x_t through that x0; its Jacobian is taken from the covariance of the
run's latents, so that a latent moves as pictures of the run differ (the probe's pattern), not where the probe alone
sees it. In terms of x0 that is

    x0' = x0 + s * c * (value - y(x0)) * pattern
    c = R2 * v / (1 - R2 + R2 * v),    v = sigma^2 / (alpha^2 + sigma^2)

which is finite at every level, and eps' follows from x0'. s = 1 conditions on the value; more is more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from filters.encoders.torchvision_fix import ensure_torchvision
from filters.errors import BadInput
from training.sampling.diversify import Diversifier, draw
from training.sampling.fair_direction import Direction
from training.sampling.fair_probe import Probe
from training.sampling.model import Model

#: From a noisy latent and its level to the network's output.
Guide = Callable[[Tensor, Tensor], Tensor]

#: How far from the mean the two values are, in standard deviations of the training pictures: one on either side.
_AWAY = 1.0

#: Smallest share of signal that a prediction of noise is divided by.
_LEAST = 1e-3


@dataclass(frozen=True)
class Fair:
    """The guidance of one direction. `scale`: s above; `stated`: what tells that a prompt states the attribute."""

    direction: Direction
    probe: Probe
    scale: float
    stated: Diversifier | None = None

    @property
    def name(self) -> str:
        """Return the direction's name and the beginning of its digest."""
        return f"{self.direction.name}@{self.direction.digest[:16]}"

    def value(self, prompt: str, seed: int) -> str:
        """Return the value that a picture is guided to; empty where its prompt states one itself."""
        named = self.direction.stated_by
        if self.stated is not None and named is not None and self.stated.states(prompt, named.axis):
            return ""
        return draw(self.direction.shares, seed, f"fair {self.direction.name}", prompt)

    def targets(self, values: Sequence[str]) -> Tensor:
        """Return each value's place on the direction (n,), NaN for none."""
        places = {self.direction.low.value: -_AWAY, self.direction.high.value: _AWAY}
        return torch.tensor([places.get(value, float("nan")) for value in values])

    def guided(self, guide: Guide, model: Model, targets: Tensor, size: tuple[int, int]) -> Guide:
        """Return a guide whose outputs lead to the targets (n,); rows without one are left alone to the bit.

        `size`: height and width of the latents. Raises `BadInput` where they are not those of the probe.
        """
        if tuple(self.probe.weights.shape[1:]) != size:
            height, width = (side * model.codec.factor for side in self.probe.weights.shape[1:])
            raise BadInput(f"--fair-axis: learned at {width}x{height} pixels; leave --size as it was trained")
        kind, bars = _kind(model.scheduler), _bars(model.scheduler)
        wanted, pattern = targets.to(model.device), self.probe.pattern.to(model.device)
        free = torch.isnan(wanted)
        known = min(max(self.probe.r2, 0.0), 0.99)

        def steered(x: Tensor, level: Tensor) -> Tensor:
            output = guide(x, level)
            alpha, sigma = _level(kind, bars, float(level))
            x0 = clean(kind, x, output, alpha, sigma)
            hidden = sigma**2 / (alpha**2 + sigma**2)
            weight = self.scale * known * hidden / (1 - known + known * hidden)
            away = torch.where(free, torch.zeros_like(wanted), wanted - self.probe.read(x0))
            moved = output + change(kind, weight * away[:, None, None, None] * pattern, alpha, sigma)
            return torch.where(free[:, None, None, None], output, moved)

        return steered

    def parameters(self, value: str) -> dict[str, str | float]:
        """Return what a credential says of the guidance of one picture."""
        return {"fair_axis": self.name, "fair_scale": self.scale, "fair_value": value or "stated in the prompt"}


def clean(kind: str, x: Tensor, output: Tensor, alpha: float, sigma: float) -> Tensor:
    """Return the denoiser's estimate of x0 from its output."""
    if kind == "epsilon":
        return (x - sigma * output) / max(alpha, _LEAST)
    if kind == "v_prediction":
        return alpha * x - sigma * output
    return x - sigma * output if kind == "flow" else output


def change(kind: str, moved: Tensor, alpha: float, sigma: float) -> Tensor:
    """Return how the output changes where x0 moves by `moved` while x_t stays: eps moves by -alpha / sigma of it."""
    noise = -moved * (alpha / max(sigma, _LEAST))
    if kind == "epsilon":
        return noise
    if kind == "v_prediction":
        return alpha * noise - sigma * moved
    return noise - moved if kind == "flow" else moved


def _kind(config: dict[str, Any]) -> str:
    return "flow" if "FlowMatch" in str(config.get("_class_name")) else str(config.get("prediction_type", "epsilon"))


def _bars(config: dict[str, Any]) -> Tensor | None:
    """Return alpha_bar (T,) of a checkpoint's schedule; None for rectified flow, whose levels say it themselves."""
    if _kind(config) == "flow":
        return None
    ensure_torchvision()
    from diffusers import DDPMScheduler

    found: Tensor = DDPMScheduler.from_config(config).alphas_cumprod.double()
    return found


def _level(kind: str, bars: Tensor | None, level: float) -> tuple[float, float]:
    """Return alpha and sigma at a level as the network reads it; between two levels by interpolation."""
    if bars is None:
        return 1.0 - level / 1000.0, level / 1000.0
    below = min(max(int(level), 0), len(bars) - 1)
    above, part = min(below + 1, len(bars) - 1), level - int(level)
    bar = float(bars[below]) * (1 - part) + float(bars[above]) * part
    return bar**0.5, (1.0 - bar) ** 0.5
