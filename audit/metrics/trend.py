"""Trends over an ordered group, such as ten tones of skin by labels, or bins of income."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from scipy import special

from audit.metrics.estimate import Measured, Unmeasurable, Z, check_counts, finite
from audit.metrics.impact import Passed


def cochran_armitage(groups: Sequence[Passed], scores: Sequence[float] | None = None) -> Measured:
    """Return the change of the pass rate for one step of the score, and the p of the test for trend.

    Cochran 1954 and Armitage 1955: the value is the least-squares slope of the rates over the scores (default 0, 1, 2,
    …), weighted by counts; z^2 is their statistic with the pooled variance (n). The interval uses each group's own
    variance, so that it also holds where there is a trend.
    """
    x = np.arange(len(groups), dtype=np.float64) if scores is None else np.array(scores, dtype=np.float64)
    if len(x) != len(groups):
        raise ValueError(f"{len(groups)} groups and {len(x)} scores")
    n = np.array([group.seen for group in groups], dtype=np.float64)
    k = np.array([group.passed for group in groups], dtype=np.float64)
    check_counts(tuple(int(v) for v in n))
    there = n > 0
    if there.sum() < 2 or len(set(x[there].tolist())) < 2:
        return Unmeasurable("fewer than two steps have samples")
    total = float(n.sum())
    mean = float(n @ x / total)
    spread = float(n @ (x - mean) ** 2)
    pooled = float(k.sum() / total)
    slope = float((x - mean) @ k / spread)
    if pooled in (0.0, 1.0):
        return Unmeasurable("all pass, or none does: there is no trend to see")
    p = 2 * float(special.ndtr(-abs(slope) / sqrt(pooled * (1 - pooled) / spread)))
    rates = np.divide(k, n, out=np.zeros_like(k), where=there)
    half = Z * sqrt(float(((x - mean) ** 2) @ (n * rates * (1 - rates)))) / spread
    return finite(slope, slope - half, slope + half, p, int(total))


def z_statistic(groups: Sequence[Passed], scores: Sequence[float] | None = None) -> float | None:
    """Return z of the Cochran-Armitage test, with the sign of the trend; None where it is not defined."""
    measured = cochran_armitage(groups, scores)
    if isinstance(measured, Unmeasurable):
        return None
    x = np.arange(len(groups), dtype=np.float64) if scores is None else np.array(scores, dtype=np.float64)
    n = np.array([group.seen for group in groups], dtype=np.float64)
    pooled = sum(group.passed for group in groups) / float(n.sum())
    spread = float(n @ (x - n @ x / n.sum()) ** 2)
    return measured.value / sqrt(pooled * (1 - pooled) / spread)
