"""Temperature: values in proportion to n^tau instead of n (Devlin et al. 2018, multilingual BERT, by exponents).

tau = 1 leaves the values as they are, 0 makes them equal; between, small ones gain on large ones.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def tempered(counts: Mapping[str, int], tau: float, total: int) -> dict[str, int]:
    """Return how many of each value stay: min(n_v, c n_v^tau), with c so that `total` stay (0 to the sum of counts).

    Whole numbers by the largest remainder, ties to the larger value, then by name. `tau` is 0 to 1.
    """
    names = sorted((value for value, count in counts.items() if count > 0), key=lambda v: (-counts[v], v))
    n = np.array([counts[value] for value in names], dtype=np.float64)
    if not 0 <= total <= n.sum() or not 0 <= tau <= 1:
        raise ValueError(f"total {total} of {int(n.sum())}, tau {tau}: out of range")
    exact = _scaled(n, n**tau, float(total))
    keep = np.floor(exact + 1e-9)
    order = np.argsort(-(exact - keep), kind="stable")
    order = order[keep[order] < n[order]]
    keep[order[: total - int(keep.sum())]] += 1
    return dict(zip(names, keep.astype(np.int64).tolist(), strict=True))


def _scaled(n: np.ndarray, wanted: np.ndarray, total: float) -> np.ndarray:
    """Return min(n, c wanted) with sum `total`: values are capped one after another, in the order they fill."""
    if len(n) == 0:
        return n
    order = np.argsort(n / wanted, kind="stable")
    filled = np.r_[0.0, np.cumsum(n[order])]
    free = np.r_[np.cumsum(wanted[order][::-1])[::-1], 0.0]
    for capped in range(len(n)):
        factor = (total - filled[capped]) / free[capped]
        if factor * wanted[order[capped]] <= n[order[capped]]:
            found: np.ndarray = np.minimum(n, factor * wanted)
            return found
    return n


def temperature_weights(counts: Mapping[str, int], tau: float) -> dict[str, float]:
    """Return the weight of a sample of each value, n^(tau - 1) over its mean, so that weighted shares go as n^tau."""
    n = {value: float(count) for value, count in sorted(counts.items()) if count > 0}
    scale = sum(n.values()) / sum(count**tau for count in n.values()) if n else 1.0
    return {value: scale * count ** (tau - 1) for value, count in n.items()}
