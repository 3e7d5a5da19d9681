"""Who is in it: shares, and shares against a reference."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt

from audit.metrics.estimate import Estimate, Measured, Unmeasurable, Z, check_counts


def wilson(k: float, n: float) -> tuple[float, float]:
    """Return the 95 % score interval of k of n, n above 0 (Wilson 1927)."""
    p = k / n
    centre = p + Z * Z / (2 * n)
    half = Z * sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    # the bounds at 0 and n are exact; rounding must not move them
    low = 0.0 if k == 0 else (centre - half) / (1 + Z * Z / n)
    high = 1.0 if k == n else (centre + half) / (1 + Z * Z / n)
    return low, high


def _binomial(k: int, n: int, expected: float) -> float:
    # scipy.stats takes 0.4 s to load, and a run without a reference has no use for it
    from scipy.stats import binomtest

    return float(binomtest(k, n, expected).pvalue)


def share(k: int, n: int, expected: float | None = None) -> Measured:
    """Return k of n with Wilson's interval; p is the exact binomial test of `expected`, where that is given."""
    check_counts((k, n - k))
    if n == 0:
        return Unmeasurable("no sample has a value of this group")
    low, high = wilson(k, n)
    p = None if expected is None else _binomial(k, n, expected)
    return Estimate(k / n, low, high, p, n)


def disparity_ratio(k: int, n: int, expected: float) -> Measured:
    """Return (k / n) / expected: 1 is parity, 0.5 half of what the reference says.

    The reference is taken as exact, so that the interval is Wilson's over it; p is the exact binomial test of parity.
    """
    if not expected > 0:
        return Unmeasurable("the reference has none of this value, so there is nothing to compare with")
    found = share(k, n, min(expected, 1.0))
    if isinstance(found, Unmeasurable):
        return found
    low, high = wilson(k, n)
    return Estimate(found.value / expected, low / expected, high / expected, found.p, n)


def shares(counts: Mapping[str, int]) -> dict[str, Measured]:
    """Return the share of each value among all that have one, with Wilson's intervals."""
    check_counts(counts)
    total = sum(counts.values())
    return {value: share(count, total) for value, count in counts.items()}
