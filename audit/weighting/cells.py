"""Samples that weights cannot tell apart, as one cell: what raking and moment matching work on instead of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from audit.weighting.choice import Coded


@dataclass(frozen=True)
class Cells:
    """`of` (n,): the cell of each sample; `counts` (c,): samples of each; `first` (c,): one sample of each."""

    of: np.ndarray
    counts: np.ndarray
    first: np.ndarray


def cells(columns: Sequence[np.ndarray], samples: int) -> Cells:
    """Return the cells of `samples` samples by integer columns (n,); the same cells in whatever order samples come."""
    key = np.zeros(samples, dtype=np.int64)
    for column in columns:
        distinct, codes = np.unique(column, return_inverse=True)
        key = np.unique(key * max(1, len(distinct)) + codes.reshape(-1), return_inverse=True)[1].reshape(-1)
    _, first, of, counts = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
    return Cells(of.reshape(-1), counts, first)


@dataclass(frozen=True)
class Margin:
    """A group as raking sees it: `codes` (n,) are 0 to k - 1 for the named values, k for its other values, k + 1 for
    samples that the targets do not speak of."""

    names: tuple[str, ...]
    codes: np.ndarray
    shares: tuple[float, ...]

    def target(self, codes: np.ndarray, mass: np.ndarray) -> np.ndarray:
        """Return the target shares of the k + 2 codes for cells with `codes` (c,) that weigh `mass` (c,).

        The samples that the targets do not speak of keep their share. What a value without samples should have had
        goes to the group's other values in proportion.
        """
        found = np.bincount(codes, weights=mass, minlength=len(self.names) + 2)
        outside = found[-1] / found.sum()
        inside = np.where(found[:-1] > 0, np.r_[self.shares, max(0.0, 1 - sum(self.shares))], 0.0)
        if inside.sum() > 0:
            inside *= (1 - outside) / inside.sum()
        target = np.r_[inside, outside]
        whole: np.ndarray = target / target.sum()
        return whole


def margin(group: Coded, shares: Mapping[str, float], closed: bool) -> Margin:
    """Return the margin of a group for target shares by value; `closed`: they speak of the named values only."""
    names = tuple(sorted(shares))
    place = {name: at for at, name in enumerate(names)}
    unnamed = len(names) + (1 if closed else 0)
    codes = np.array([*(place.get(value, unnamed) for value in group.values), len(names) + 1], dtype=np.int64)
    return Margin(names, codes[group.codes], tuple(shares[name] for name in names))
