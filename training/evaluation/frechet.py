"""The Fréchet distance of two sets of features, and what it comes to between real pictures alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Pictures a dimension below which the distance is called biased: for Inception's 2,048 dimensions 10,240, where
#: Heusel et al. (arXiv:1706.08500) ask for 10,000 at least.
PER_DIMENSION = 5

#: How often the real pictures are split for the baseline.
SPLITS = 5


@dataclass(frozen=True)
class Split:
    """The baseline: mean, least and largest distance of as many real pictures from the other real ones."""

    mean: float
    low: float
    high: float
    pictures: int


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the Fréchet distance of normal distributions fitted to features (n, d) and (m, d), at least 2 rows each.

    |mean - mean'|^2 + tr(C + C' - 2 (C C')^(1/2)) (Dowson and Landau 1982; arXiv:1706.08500). With centred rows X and
    X', the last trace is the sum of the singular values of X X'^T / ((n - 1)(m - 1))^(1/2), which needs no root of a
    matrix and is exact where there are fewer rows than dimensions.
    """
    (mean, root), (mean_other, root_other) = _moments(one), _moments(other)
    cross = np.linalg.svd(root @ root_other.T, compute_uv=False).sum()
    value = ((mean - mean_other) ** 2).sum() + (root**2).sum() + (root_other**2).sum() - 2 * cross
    return max(0.0, float(value))


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (d,) and a root R (min(n, d), d) of the covariance: C = R^T R."""
    if len(features) < 2:
        raise ValueError("a covariance needs two rows or more")
    rows = features.astype(np.float64)
    mean = rows.mean(axis=0)
    root: np.ndarray = np.linalg.qr((rows - mean) / np.sqrt(len(rows) - 1), mode="reduced").R
    return mean, root


def split_baseline(real: np.ndarray, pictures: int, seed: int) -> Split | None:
    """Return the distance of `pictures` real rows from the others, over a few splits; None where there are too few.

    It is what a perfect model would come to with so many pictures: the bias of small sets, and their chance.
    """
    if pictures < 2 or len(real) - pictures < pictures:
        return None
    random = np.random.default_rng(seed)
    found = []
    for _ in range(SPLITS):
        order = random.permutation(len(real))
        found.append(frechet_distance(real[order[:pictures]], real[order[pictures:]]))
    return Split(float(np.mean(found)), min(found), max(found), pictures)


def biased(pictures: int, dimension: int) -> bool:
    """Tell whether so many pictures are too few for features of `dimension` values."""
    return pictures < PER_DIMENSION * dimension
