"""What a metric returns: an estimate with its interval, or the reason why there is none. Never NaN, never infinite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np
from scipy import special

#: Two-sided level of all intervals.
LEVEL = 0.95
#: Standard normal quantile of that level.
Z = float(special.ndtri(0.5 + LEVEL / 2))


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval. `low`, `high` and `p` are None where the metric has none; `n` is its base."""

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    n: int = 0

    def __post_init__(self) -> None:
        """Refuse anything that is no number: a metric must say `Unmeasurable` instead."""
        if not all(isfinite(x) for x in (self.value, self.low, self.high, self.p) if x is not None):
            raise ValueError(f"an estimate must be finite: {self}")


@dataclass(frozen=True)
class Unmeasurable:
    """Why there is no figure, in a sentence for people."""

    why: str


Measured = Estimate | Unmeasurable


def finite(value: float, low: float, high: float, p: float | None = None, n: int = 0) -> Measured:
    """Return the estimate, or `Unmeasurable` where floating point could not hold it (overflow at extreme counts)."""
    if not all(isfinite(x) for x in (value, low, high, 0.0 if p is None else p)):
        return Unmeasurable("the figure is too extreme for its counts to give an interval")
    return Estimate(value, low, high, p, n)


def normal(value: float, error: float, n: int, null: float = 0.0) -> Measured:
    """Return value +- z standard errors, and the two-sided Wald test of `null` (normal approximation)."""
    if error <= 0:
        return Estimate(value, value, value, 1.0 if value == null else None, n)
    p = 2 * float(special.ndtr(-abs(value - null) / error))
    return finite(value, value - Z * error, value + Z * error, p, n)


def check_counts(counts: Mapping[str, int] | tuple[int, ...]) -> None:
    """Refuse negative counts: they come from no tally. Raises `ValueError`."""
    numbers = counts.values() if isinstance(counts, Mapping) else counts
    if any(count < 0 for count in numbers):
        raise ValueError(f"counts must be 0 or more: {counts}")


def two_shares_p(k1: int, n1: int, k2: int, n2: int) -> float:
    """Return the two-sided p of k1 of n1 against k2 of n2, both n above 0.

    Fisher's exact test where an expected count is below 5 (Cochran 1954), else Pearson's chi-squared test without
    continuity correction, which is the score test of two proportions.
    """
    check_counts((k1, n1 - k1, k2, n2 - k2))
    pooled = (k1 + k2) / (n1 + n2)
    if pooled in (0.0, 1.0):
        return 1.0
    if min(n1, n2) * min(pooled, 1 - pooled) < 5:
        return _fisher(k1, n1, k1 + k2, n1 + n2)
    z = (k1 / n1 - k2 / n2) / sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n2))
    return 2 * float(special.ndtr(-abs(z)))


def _fisher(k: int, n: int, marked: int, total: int) -> float:
    """Return the two-sided p of Fisher's exact test: tables as likely as the one seen, or less (Fisher 1935).

    For tables with an expected count below 5: that cell is the one counted, so that all but its first thousand values
    have no probability in double precision. Ratios of neighbours, since logarithms of factorials of large counts have
    no digits to spare; time does not grow with the counts.
    """
    if 2 * n > total:
        k, n = marked - k, total - n
    if 2 * marked > total:
        k, marked = n - k, total - marked
    i = np.arange(min(n, marked, max(1000, min(k, 2000))), dtype=np.float64)
    ratios = (marked - i) * (n - i) / ((i + 1) * (total - marked - n + i + 1))
    weights = np.r_[1.0, np.cumprod(ratios)]
    if k >= len(weights):
        return 0.0
    return min(1.0, float(weights[weights <= weights[k] * (1 + 1e-7)].sum() / weights.sum()))
