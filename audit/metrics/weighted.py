"""Shares of samples that are drawn by weights, with the uncertainty that weighing adds."""

from __future__ import annotations

from audit.metrics.estimate import Estimate, Measured, Unmeasurable
from audit.metrics.shares import wilson


def effective_size(weight: float, squares: float) -> float:
    """Return Kish's effective sample size, (sum of weights)^2 / sum of squared weights (Kish 1965, §11.7).

    As many samples of equal weight say as much. 0 where there is no weight.
    """
    return weight * weight / squares if squares > 0 else 0.0


def weighted_share(part: float, whole: float, squares: float, n: int) -> Measured:
    """Return the weight of a part over that of the whole, from n samples whose squared weights add up to `squares`.

    Wilson's interval at the effective sample size (Kish 1965); it takes the weights as given.
    """
    size = effective_size(whole, squares)
    if not size > 0:
        return Unmeasurable("no sample has a weight and a value of this group")
    # fixed-point sums of parts may exceed the whole by rounding
    share = min(1.0, max(0.0, part / whole))
    low, high = wilson(share * size, size)
    return Estimate(share, min(low, share), max(high, share), None, n)
