"""Improved precision and recall: how many generated pictures lie among the real ones, and the other way round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Neighbours that a picture's ball reaches (arXiv:1904.06991, section 3: k = 3).
NEIGHBOURS = 3

_BLOCK = 512


@dataclass(frozen=True)
class Overlap:
    """Numbers of pictures: of `generated` so many lie in a real one's ball, of `real` so many in a generated one's."""

    precise: int
    generated: int
    recalled: int
    real: int


def overlap(real: np.ndarray, generated: np.ndarray, k: int = NEIGHBOURS) -> Overlap:
    """Return precision and recall as counts, for features (n, d) and (m, d) with more than `k` rows each.

    A picture's ball reaches to its k-th nearest neighbour in its own set (arXiv:1904.06991, equations 1 to 3).
    """
    if min(len(real), len(generated)) <= k:
        raise ValueError(f"more than {k} rows are needed on both sides")
    precise = _covered(generated, real, radii(real, k))
    recalled = _covered(real, generated, radii(generated, k))
    return Overlap(precise, len(generated), recalled, len(real))


def radii(features: np.ndarray, k: int) -> np.ndarray:
    """Return the squared distance (n,) of each row to its k-th nearest other row."""
    found = []
    for start in range(0, len(features), _BLOCK):
        distance = squared_distances(features[start : start + _BLOCK], features)
        rows = np.arange(len(distance))
        distance[rows, start + rows] = np.inf  # itself
        found.append(np.partition(distance, k - 1, axis=1)[:, k - 1])
    return np.concatenate(found)


def _covered(points: np.ndarray, centres: np.ndarray, reach: np.ndarray) -> int:
    count = 0
    for start in range(0, len(points), _BLOCK):
        count += int((squared_distances(points[start : start + _BLOCK], centres) <= reach).any(axis=1).sum())
    return count


def squared_distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return float64 (n, m): squared Euclidean distances of rows (n, d) and (m, d), never below 0."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    found = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * (a @ b.T)
    clipped: np.ndarray = np.maximum(found, 0.0)
    return clipped
