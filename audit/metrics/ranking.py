"""Rankings by a score, such as aesthetics or similarity: who stands at their top (Geyik, Ambler & Kenthapadi 2019).

The ranking is given as the code of the group's value of each sample, best first; -1 where a sample has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log

import numpy as np

from audit.metrics.estimate import Estimate, Measured, Unmeasurable, check_counts, finite
from audit.metrics.shares import share, wilson


def ranked(scores: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return the codes (n,) by falling score (n,), without samples that have no value or no finite score.

    Equal scores keep their order in the run, so that the ranking is the same on every machine.
    """
    use = (codes >= 0) & np.isfinite(scores)
    ordered: np.ndarray = codes[use][np.argsort(-scores[use], kind="stable")]
    return ordered


def skew_at_k(in_top: int, k: int, desired: float) -> Measured:
    """Return ln(share among the top k / desired share), natural logarithm: 0 fair, below 0 too few (eq. 2 there).

    The interval is that of Wilson. Not measurable where none is in the top k: the logarithm has no value.
    """
    check_counts((in_top, k - in_top))
    if not 0 < desired <= 1:
        return Unmeasurable("the desired share is not above 0")
    found = share(in_top, k, desired)
    if isinstance(found, Unmeasurable):
        return Unmeasurable("the ranking is empty")
    if in_top == 0:
        return Unmeasurable(f"none is among the top {k}; the share wanted is {desired:.4f}")
    low, high = wilson(in_top, k)
    return finite(log(found.value / desired), log(low / desired), log(high / desired), found.p, k)


def skews(ranking: np.ndarray, k: int, values: Sequence[str], desired: Mapping[str, float]) -> dict[str, Measured]:
    """Return the skew at k of each value; k is cut to the ranking's length. `desired` shares may leave values out."""
    top = np.bincount(ranking[: max(0, k)], minlength=len(values))
    size = int(top.sum())
    return {value: skew_at_k(int(top[code]), size, desired.get(value, 0.0)) for code, value in enumerate(values)}


def ndkl(ranking: np.ndarray, values: Sequence[str], desired: Mapping[str, float]) -> Measured:
    """Return the normalised discounted cumulative KL divergence, in nats: 0 every prefix has the desired shares.

    (1/Z) sum over i of KL(shares of the first i, desired) / log2(i + 1) (eq. 5 there). It has no interval: even a fair
    ranking is above 0 at its first places; compare it with `ndkl` of shuffled rankings. O(n values).
    """
    n = len(ranking)
    if n == 0:
        return Unmeasurable("the ranking is empty")
    weights = 1 / np.log2(np.arange(2, n + 2))
    places = np.arange(1, n + 1)
    total = sum(desired.get(value, 0.0) for value in values)
    divergence = np.zeros(n)
    for code, value in enumerate(values):
        present = np.cumsum(ranking == code)
        if not present[-1]:
            continue
        wanted = desired.get(value, 0.0) / total if total > 0 else 0.0
        if not wanted > 0:
            return Unmeasurable(f"the desired shares have none of {value}, which is in the ranking")
        shares = present / places
        divergence += np.where(present > 0, shares * np.log(np.where(present > 0, shares, 1.0) / wanted), 0.0)
    return Estimate(max(0.0, float(divergence @ weights / weights.sum())), n=n)
