"""What weights cost: the effective sample size and the design effect (Kish 1965, Survey Sampling, section 11.7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Effect:
    """Weights over n samples: effective sample size (0 to n), design effect (1 or more), smallest and largest."""

    samples: int
    ess: float
    design_effect: float
    low: float
    high: float


def effect(weights: np.ndarray, counts: np.ndarray | None = None) -> Effect:
    """Return Kish's ESS = (sum w)^2 / sum w^2 and n / ESS of weights (c,), each carried by `counts` (c,) samples.

    Without samples, or with weights that are all zero, ESS is 0 and the design effect 1.
    """
    many = np.ones(len(weights)) if counts is None else counts.astype(np.float64)
    samples = int(many.sum())
    squares = float((many * weights**2).sum())
    if samples == 0 or squares == 0:
        return Effect(samples, 0.0, 1.0, 0.0, 0.0)
    ess = float((many * weights).sum()) ** 2 / squares
    held = weights[many > 0]
    return Effect(samples, ess, samples / ess, float(held.min()), float(held.max()))
