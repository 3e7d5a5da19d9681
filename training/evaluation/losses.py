"""The loss on samples that the training has not seen, by noise level, beside that on samples that it has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from audit.metrics.estimate import Measured, Unmeasurable, normal
from training.config_objective import Objective
from training.data.batch import scaled
from training.models.denoiser import denoise
from training.noise import Draws, seed_of
from training.objectives import EARLIEST, noised, squared_error, target
from training.sampling.model import Model
from training.stages import bars_of

#: Ranges of noise levels, from little to much noise; each sample is noised once in each.
LEVELS = 10


@dataclass(frozen=True)
class Losses:
    """Mean squared error of the network's output over all levels alike, and in each range of levels."""

    mean: Measured
    levels: list[Measured]


@torch.no_grad()
def errors_of(
    model: Model, objective: Objective, batches: Iterable[tuple[Sequence[str], Sequence[str], np.ndarray]], seed: int
) -> np.ndarray:
    """Return float64 (n, LEVELS): each sample's squared error in each range, a mean over the latents' values.

    `batches`: uids, captions, pixels uint8 (b, 3, h, w). Level and noise come from the seed, the range and the uid,
    so that two checkpoints are measured with the same ones. Weights of the objective (min-SNR) are left out.
    """
    found = [np.empty((0, LEVELS))]
    bars = bars_of(objective).to(model.device)
    for uids, captions, pixels in batches:
        x0 = model.codec.encode(scaled(torch.from_numpy(pixels).to(model.device)))
        text = model.text.encode(list(captions))
        columns = []
        for level in range(LEVELS):
            draws = Draws(seed_of(seed, "evaluation"), level, uids, model.device)
            alpha, sigma, read = _levels(objective, draws.uniform("level"), level, bars)
            noise = draws.normal("noise", x0.shape[1:])
            xt = noised(x0, noise, alpha, sigma).to(model.dtype)
            output = denoise(model.network, xt, read, text.vectors.to(model.dtype), text.mask)
            wanted = target(objective.prediction, x0, noise, alpha, sigma)
            columns.append(squared_error(output, wanted).double().cpu().numpy())
        found.append(np.stack(columns, axis=1))
    return np.concatenate(found)


def _levels(
    objective: Objective, uniform: torch.Tensor, level: int, bars: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return alpha, sigma and what the network reads, (n,) each, for places drawn uniformly in one range."""
    place = (level + uniform) / LEVELS
    if objective.prediction == "flow":
        times = EARLIEST + (1.0 - EARLIEST) * place
        return 1.0 - times, times, times * 1000.0
    steps = (place * len(bars)).long().clamp(max=len(bars) - 1)
    bar = bars[steps]
    return bar.sqrt().float(), (1.0 - bar).sqrt().float(), steps


def summarised(errors: np.ndarray) -> Losses:
    """Return means with normal intervals over samples, for errors (n, LEVELS)."""
    if len(errors) < 2:
        why = Unmeasurable("fewer than two samples")
        return Losses(why, [why] * LEVELS)
    return Losses(mean_of(errors.mean(axis=1)), [mean_of(column) for column in errors.T])


def mean_of(values: np.ndarray) -> Measured:
    """Return the mean of two values or more with its normal interval."""
    return normal(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))), len(values))


def gap(unseen: np.ndarray, seen: np.ndarray) -> Measured:
    """Return how much larger the loss is on unseen samples, for errors (n, LEVELS) and (m, LEVELS).

    Above 0 with its interval: the training has learnt its samples by heart to some degree. Welch's standard error.
    """
    if min(len(unseen), len(seen)) < 2:
        return Unmeasurable("fewer than two samples on one side")
    a, b = unseen.mean(axis=1), seen.mean(axis=1)
    error = float(np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)))
    return normal(float(a.mean() - b.mean()), error, len(a) + len(b))
