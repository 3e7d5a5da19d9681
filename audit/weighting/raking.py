"""Raking: weights under which several margins have their target shares (Deming and Stephan 1940, IPF), trimmed.

Every round scales the weights to each margin in turn, then clips them to [1 / trim, trim] times their mean. Without
trimming, the weights of the limit are those nearest to the starting ones in Kullback-Leibler divergence (Csiszár
1975). Trimming at about 5 is survey practice (DeBell and Krosnick 2009, ANES weighting).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

#: Rounds after which raking gives up, and the largest |reached / target - 1| that counts as reached.
ROUNDS = 500
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Raked:
    """Weights (c,) of cells, mean 1 over samples, and how it went.

    `deviation` is the largest |reached - target| of a share that can be reached, infinite where margins that
    contradict each other leave no sample a weight; `trimmed` the share of samples whose weight stands at a bound;
    `unreachable` the (margin, value) with a target and no sample: their share went to the margin's other values in
    proportion.
    """

    weights: np.ndarray
    converged: bool
    rounds: int
    deviation: float
    trimmed: float
    unreachable: tuple[tuple[int, int], ...]


def rake(
    counts: np.ndarray,
    base: np.ndarray,
    codes: np.ndarray,
    targets: Sequence[np.ndarray],
    trim: float | None = None,
    rounds: int = ROUNDS,
    tolerance: float = TOLERANCE,
) -> Raked:
    """Rake cells with `counts` (c,) samples each, that start at the weights `base` (c,), all above 0.

    `codes` (c, m): value of each cell in each margin. `targets`: for each margin the shares by code, sum 1. `trim`
    (above 1) bounds the weights. Raises `ValueError` for targets that are no shares.
    """
    for target in targets:
        if (target < 0).any() or abs(float(target.sum()) - 1) > 1e-9:
            raise ValueError(f"targets must be shares with sum 1: {target}")
    share = counts / counts.sum()
    reachable, unreachable = _reachable(share, codes, targets)
    weights = base / float(share @ base)
    done, deviation, converged = 0, _deviation(share, weights, codes, reachable), False
    while not converged and done < rounds:
        done += 1
        for margin, target in enumerate(reachable):
            found = np.bincount(codes[:, margin], weights=share * weights, minlength=len(target))
            factor = np.divide(target, found, out=np.zeros(len(target)), where=found > 0)
            weights = weights * factor[codes[:, margin]]
        if trim is not None:
            weights = bounded(share, weights, 1 / trim, trim)
        before, deviation = deviation, _deviation(share, weights, codes, reachable)
        converged = deviation <= tolerance
        if not converged and (deviation == inf or abs(before - deviation) < 1e-14):
            break
    bound = np.zeros(len(weights), dtype=bool)
    if trim is not None:
        bound = (weights <= 1 / trim * (1 + 1e-9)) | (weights >= trim * (1 - 1e-9))
    return Raked(weights, converged, done, deviation, float(share[bound].sum()), unreachable)


def bounded(share: np.ndarray, weights: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return c * weights, clipped to [low, high], with c so that the mean is 1; needs low <= 1 <= high."""
    least, most = low / max(float(weights.max()), 1e-300), high / max(float(weights.min()), 1e-300)
    for _ in range(200):
        middle = (least * most) ** 0.5
        if float(share @ np.clip(middle * weights, low, high)) < 1:
            least = middle
        else:
            most = middle
        if most / least < 1 + 1e-15:
            break
    found: np.ndarray = np.clip(most * weights, low, high)
    return found


def _reachable(
    share: np.ndarray, codes: np.ndarray, targets: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], tuple[tuple[int, int], ...]]:
    """Return the targets without the values that no sample has, and those values."""
    found, gone = [], []
    for margin, target in enumerate(targets):
        there = np.bincount(codes[:, margin], weights=share, minlength=len(target)) > 0
        gone += [(margin, int(code)) for code in np.flatnonzero(~there & (target > 0))]
        left = np.where(there, target, 0.0)
        if left.sum() <= 0:
            raise ValueError(f"margin {margin}: no value with a target has a sample")
        found.append(left / left.sum())
    return found, tuple(gone)


def _deviation(share: np.ndarray, weights: np.ndarray, codes: np.ndarray, targets: list[np.ndarray]) -> float:
    """Return the largest |reached - target| over all margins; infinite where nothing weighs anything."""
    worst = 0.0
    for margin, target in enumerate(targets):
        found = np.bincount(codes[:, margin], weights=share * weights, minlength=len(target))
        total = found.sum()
        worst = max(worst, float(np.abs(found / total - target).max()) if total > 0 else inf)
    return worst
