"""The noise levels that a teacher's solver walks, one step of it, and the consistency function on them.

A consistency function maps every point of a path to the clean sample at its end (arXiv:2303.01469); at the end itself
it is the identity. All functions are pure; samples are (n, ...), places (n,) int64 on the grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from filters.errors import BadInput
from training.config_objective import Objective
from training.objectives import Prediction, like, to_x0
from training.stages import bars_of

#: Standard deviation of the data and scale of levels in the boundary's weights (arXiv:2310.04378, equation 9).
_SIGMA_DATA, _SCALE = 0.5, 10.0


@dataclass(frozen=True)
class Grid:
    """Places 0 (clean) to N (noise); float32 (N + 1,) each, on one device.

    `levels`: as the network reads them; `alpha`, `sigma`: parts of sample and noise; `skip`, `out`: how much of the
    noisy sample and of the network's clean one make the consistency function. `clip`: clean samples lie in [-1, 1].
    """

    prediction: Prediction
    levels: Tensor
    alpha: Tensor
    sigma: Tensor
    skip: Tensor
    out: Tensor
    clip: bool = False

    @property
    def last(self) -> int:
        """Return N, the place of pure noise."""
        return len(self.levels) - 1

    def clean(self, at: Tensor, xt: Tensor, output: Tensor) -> Tensor:
        """Return the clean samples that outputs of a network stand for; no output is read at place 0 (alpha is 1)."""
        found = to_x0(self.prediction, xt, output, self.alpha[at], self.sigma[at])
        return found.clamp(-1.0, 1.0) if self.clip else found

    def consistent(self, at: Tensor, xt: Tensor, output: Tensor) -> Tensor:
        """Return the consistency function, skip * xt + out * clean: xt itself at place 0, whatever the output."""
        whole = like(self.skip[at], xt) * xt + like(self.out[at], xt) * self.clean(at, xt, output)
        return torch.where(like(at, xt) == 0, xt, whole)

    def step(self, at: Tensor, to: Tensor, xt: Tensor, clean: Tensor) -> Tensor:
        """Return the samples at the places `to` on the straight way that `clean` gives: one step of DDIM.

        arXiv:2010.02502, equation 12 without noise. For rectified flow it is one step of Euler's method.
        """
        noise = (xt - like(self.alpha[at], xt) * clean) / like(self.sigma[at], xt)
        return like(self.alpha[to], xt) * clean + like(self.sigma[to], xt) * noise

    def leading(self, at: Tensor, to: Tensor, xt: Tensor, there: Tensor) -> Tensor:
        """Return the clean samples with which one `step` from `xt` lands on `there` (arXiv:2202.00512, appendix G)."""
        share = like(self.sigma[to] / self.sigma[at], xt)
        return (there - share * xt) / (like(self.alpha[to], xt) - share * like(self.alpha[at], xt))


def grid_of(objective: Objective, count: int, clip: bool, device: torch.device) -> Grid:
    """Return the grid of `count` steps of an objective's schedule.

    Diffusion: the levels count down from the last one in equal steps, as diffusers' `LCMScheduler` has them; flow:
    equal times. Raises `BadInput` where the schedule cannot be divided so.
    """
    if objective.prediction == "flow":
        times = torch.arange(count + 1, dtype=torch.float64) / count
        levels, alpha, sigma = 1000.0 * times, 1.0 - times, times
        skip = torch.zeros_like(times)  # x - t * velocity is x at t = 0 by itself
    else:
        if objective.steps % count:
            raise BadInput(f"method.teacher_steps: {objective.steps} noise levels do not divide by {count}")
        steps = torch.arange(1, count + 1) * (objective.steps // count) - 1
        bars = torch.cat((torch.ones(1, dtype=torch.float64), bars_of(objective)[steps]))
        levels = torch.cat((torch.zeros(1, dtype=torch.int64), steps)).double()
        alpha, sigma = bars.sqrt(), (1.0 - bars).sqrt()
        skip = _SIGMA_DATA**2 / ((_SCALE * levels) ** 2 + _SIGMA_DATA**2)
    out = (1.0 - skip).sqrt()  # equation 9's c_out: scaled level / sqrt(scaled level^2 + sigma_data^2)
    skip[0], out[0] = 1.0, 0.0
    levels, alpha, sigma, skip, out = (one.float().to(device) for one in (levels, alpha, sigma, skip, out))
    return Grid(objective.prediction, levels, alpha, sigma, skip, out, clip)


def huber(found: Tensor, wanted: Tensor, bend: float = 1e-3) -> Tensor:
    """Return the pseudo-Huber distance of each sample, float32 (n,): a mean over values.

    sqrt(d^2 + bend^2) - bend (arXiv:2310.14189, section 3.3); 1e-3 as latent consistency distillation is usually run.
    """
    difference = (found - wanted).float()
    return ((difference.square() + bend**2).sqrt() - bend).flatten(1).mean(dim=1)
