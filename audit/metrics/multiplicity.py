"""Many tests at once: false discovery rates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Return q values, in the order of p: rejecting q <= 0.05 keeps the false discovery rate at 0.05.

    Benjamini & Hochberg 1995; for independent or positively dependent tests.
    """
    return _step_up(p, 1.0)


def benjamini_yekutieli(p: Sequence[float]) -> list[float]:
    """Return q values that hold under any dependence (Benjamini & Yekutieli 2001): larger by the harmonic number."""
    return _step_up(p, float(np.sum(1 / np.arange(1, len(p) + 1))))


def _step_up(p: Sequence[float], factor: float) -> list[float]:
    if len(p) == 0:
        return []
    values = np.array(p, dtype=np.float64)
    if not np.all((values >= 0) & (values <= 1)):
        raise ValueError("a p value is out of 0 to 1")
    order = np.argsort(values, kind="stable")
    scaled = values[order] * factor * len(values) / np.arange(1, len(values) + 1)
    adjusted = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    result = np.empty(len(values))
    result[order] = adjusted
    return [float(value) for value in result]
