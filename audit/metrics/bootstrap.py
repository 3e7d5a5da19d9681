"""Intervals for samples that are not independent: resampling whole domains or clusters of duplicates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from audit.metrics.estimate import LEVEL, Estimate, Measured, Unmeasurable

#: Fewer clusters than this say too little about how clusters differ.
LEAST_CLUSTERS = 10
#: Least share of resamples that must have a value.
_LEAST_VALUED = 0.9


def by_cluster(
    counts: np.ndarray, statistic: Callable[[np.ndarray], float | None], seed: int = 0, resamples: int = 2000
) -> Measured:
    """Return a statistic of summed counts, with the percentile interval over resampled clusters.

    The cluster bootstrap (Davison & Hinkley 1997, §3.8; Field & Welsh 2007): `counts` (clusters, cells) are summed
    over clusters drawn with replacement. Many small clusters may be put together at random into buckets first (random
    groups, Wolter 2007, ch. 2). `statistic` takes the sums (cells,) and returns None where it is not defined. `n` is
    the sum of all cells: a caller whose cells overlap states its own.
    """
    counts = np.asarray(counts)
    counts = counts[counts.sum(axis=1) > 0]
    if len(counts) < LEAST_CLUSTERS:
        return Unmeasurable(f"{len(counts)} clusters have samples, {LEAST_CLUSTERS} are needed to resample them")
    value = statistic(counts.sum(axis=0))
    if value is None or not np.isfinite(value):
        return Unmeasurable("the figure is not defined for these counts")
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=resamples)
    found = [statistic(sums) for sums in drawn @ counts]
    valued = np.array([item for item in found if item is not None and np.isfinite(item)])
    if len(valued) < _LEAST_VALUED * resamples:
        return Unmeasurable("the figure is not defined in too many of the resamples")
    low, high = np.quantile(valued, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(
        float(value), min(float(low), float(value)), max(float(high), float(value)), None, int(counts.sum())
    )
