"""How far all shares of a group are from a reference, and how evenly they are spread.

Intervals are by the delta method for a multinomial (Agresti, Categorical Data Analysis, 3rd ed., §16.1): the variance
of f(p) is (sum p g^2 - (sum p g)^2) / n with g the gradient of f. Where p equals the reference the gradient vanishes
and such an interval is too short; p of `kl` (the G test) is then the figure to read.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import special

from audit.metrics.estimate import Estimate, Measured, Unmeasurable, Z, check_counts, finite


def _vectors(counts: Mapping[str, int], reference: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray, int] | str:
    """Return p, r (both over all values of either) and n, or why there are none."""
    check_counts(counts)
    n = sum(counts.values())
    total = sum(reference.values())
    if n == 0:
        return "no sample has a value of this group"
    if not total > 0:
        return "there is no reference to compare with"
    values = sorted({*counts, *reference})
    p = np.array([counts.get(value, 0) for value in values]) / n
    r = np.array([reference.get(value, 0.0) for value in values]) / total
    return p, r, n


def _delta(
    value: float, p: np.ndarray, gradient: np.ndarray, n: int, bounds: tuple[float, float], test: float | None
) -> Measured:
    """Return the value with its delta-method interval, cut to `bounds`."""
    variance = max(0.0, float(p @ gradient**2 - (p @ gradient) ** 2)) / n
    half = Z * variance**0.5
    return finite(value, max(bounds[0], value - half), min(bounds[1], value + half), test, n)


def kl(counts: Mapping[str, int], reference: Mapping[str, float]) -> Measured:
    """Return the Kullback-Leibler divergence of the shares from the reference, in bits (Kullback & Leibler 1951).

    p is the G test of equality (2 n KL in nats, chi-squared with one degree less than values; Wilks 1938).
    Not measurable where the reference has none of a value that is there.
    """
    found = _vectors(counts, reference)
    if isinstance(found, str):
        return Unmeasurable(found)
    p, r, n = found
    if np.any((r == 0) & (p > 0)):
        return Unmeasurable("samples have a value that the reference has none of")
    if np.count_nonzero(r) < 2:
        return Unmeasurable("the reference has one value only")
    seen = p > 0
    logs = np.log2(p[seen] / r[seen])
    value = float(p[seen] @ logs)
    test = float(special.chdtrc(np.count_nonzero(r) - 1, 2 * n * value * np.log(2)))
    return _delta(max(0.0, value), p[seen], logs, n, (0.0, float("inf")), test)


def js(counts: Mapping[str, int], reference: Mapping[str, float]) -> Measured:
    """Return the Jensen-Shannon divergence, in bits: 0 equal, 1 nothing in common (Lin 1991)."""
    found = _vectors(counts, reference)
    if isinstance(found, str):
        return Unmeasurable(found)
    p, r, n = found
    m = (p + r) / 2
    seen, known = p > 0, r > 0
    own = np.log2(p[seen] / m[seen])
    value = float(p[seen] @ own + r[known] @ np.log2(r[known] / m[known])) / 2
    return _delta(min(1.0, max(0.0, value)), p[seen], own / 2, n, (0.0, 1.0), None)


def total_variation(counts: Mapping[str, int], reference: Mapping[str, float]) -> Measured:
    """Return half the sum of |p - r|: the share of samples that would have to change value (Levin & Peres §4.1)."""
    found = _vectors(counts, reference)
    if isinstance(found, str):
        return Unmeasurable(found)
    p, r, n = found
    return _delta(float(np.abs(p - r).sum()) / 2, p, np.sign(p - r) / 2, n, (0.0, 1.0), None)


def _entropy(counts: Mapping[str, int]) -> tuple[float, float, int] | str:
    """Return the entropy in nats, its standard error (Basharin 1959) and n, or why there is none."""
    check_counts(counts)
    n = sum(counts.values())
    if n == 0:
        return "no sample has a value of this group"
    p = np.array([count for count in counts.values() if count > 0]) / n
    logs = np.log(p)
    value = max(0.0, -float(p @ logs))
    return value, (max(0.0, float(p @ logs**2) - value**2) / n) ** 0.5, n


def entropy(counts: Mapping[str, int], values: int | None = None) -> Measured:
    """Return Shannon's entropy over the logarithm of the number of values: 0 one value has all, 1 all have the same.

    `values` is how many there could be (default: how many `counts` names, those with zero included).
    """
    found = _entropy(counts)
    if isinstance(found, str):
        return Unmeasurable(found)
    size = max(len(counts), values or 0)
    if size < 2:
        return Unmeasurable("there is one value only: nothing can be spread")
    value, error, n = found
    top = float(np.log(size))
    return Estimate(
        min(1.0, value / top), max(0.0, (value - Z * error) / top), min(1.0, (value + Z * error) / top), None, n
    )


def effective_number(counts: Mapping[str, int]) -> Measured:
    """Return exp(entropy): how many equally frequent values would be as spread as these (Hill 1973, order 1)."""
    found = _entropy(counts)
    if isinstance(found, str):
        return Unmeasurable(found)
    value, error, n = found
    there = sum(1 for count in counts.values() if count > 0)
    low, high = np.exp(value - Z * error), np.exp(value + Z * error)
    number = float(np.exp(value))
    return Estimate(number, max(1.0, float(low)), max(number, min(float(high), there)), None, n)


def concentration(counts: Mapping[str, int]) -> Measured:
    """Return the Herfindahl-Hirschman index, the sum of squared shares: 1 one source has all (Hirschman 1964)."""
    check_counts(counts)
    n = sum(counts.values())
    if n == 0:
        return Unmeasurable("no sample has a value of this group")
    p = np.array(list(counts.values())) / n
    return _delta(float(p @ p), p, 2 * p, n, (0.0, 1.0), None)


def gini(counts: Mapping[str, int]) -> Measured:
    """Return Gini's coefficient of samples a value: 0 all the same, towards 1 one has all (Gini 1912); no interval."""
    check_counts(counts)
    n = sum(counts.values())
    if n == 0 or len(counts) < 2:
        return Unmeasurable("fewer than two values have samples")
    ordered = np.sort(np.array(list(counts.values()), dtype=np.float64))
    ranks = np.arange(1, len(ordered) + 1)
    return Estimate(float(2 * (ranks @ ordered) / (len(ordered) * n) - (len(ordered) + 1) / len(ordered)), n=n)
