"""How well duplicate detection finds the pairs of labelled groups: recall and precision by method.

Every pair of pictures is compared, so the figures are of the bounds themselves, with no search in between.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from filters.duplicates import METHODS
from filters.duplicates_likeness import Bounds, Features, Likeness
from filters.duplicates_turns import TURNS, turned
from filters.semantic import unit

#: Rows that are compared with all others at once.
_BLOCK = 256


@dataclass(frozen=True)
class Figures:
    """Pairs that are of one group (`true`), that were found, and that are both. Ratios are None where undefined."""

    true: int
    found: int
    both: int

    @property
    def recall(self) -> float | None:
        """Share of the true pairs that were found."""
        return self.both / self.true if self.true else None

    @property
    def precision(self) -> float | None:
        """Share of the found pairs that are true."""
        return self.both / self.found if self.found else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of recall and precision."""
        return 2 * self.both / (self.true + self.found) if self.true + self.found else None


def methods_of(features: Features, bounds: Bounds) -> list[str]:
    """Return the methods that the bounds ask for and that some of the pictures can be compared by."""
    able = {
        "sha256": bounds.exact and bool((features.sha256 >= 0).any()),
        "pixels": bounds.exact and bool((features.pixels >= 0).any()),
        "phash": bounds.phash is not None and bool(features.has_phash.any()),
        "pdq": bounds.pdq is not None and bool(features.has_pdq.any()),
        "pdq_dihedral": bounds.pdq is not None and bounds.dihedral and bool(features.has_pdq.any()),
        "embedding": bounds.cosine is not None and bool((features.vector >= 0).any()),
    }
    return [method for method in METHODS if able[method]]


def evaluate_pairs(features: Features, bounds: Bounds, groups: np.ndarray) -> dict[str, Figures]:
    """Return the figures by method, and under "all" those of all methods together.

    `groups` (n,): pictures of one group are duplicates, all others are not. `pdq_dihedral` contains `pdq`.
    """
    methods = methods_of(features, bounds)
    counts = {name: np.zeros(3, dtype=np.int64) for name in [*methods, "all"]}
    _, labels = np.unique(groups, return_inverse=True)
    for start in range(0, len(labels), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(labels)))
        later = np.arange(start, len(labels))
        once = later[None, :] > rows[:, None]
        true = (labels[rows][:, None] == labels[later][None, :]) & once
        every = np.zeros_like(true)
        for method in methods:
            near = within_bound(features, bounds, method, rows, later) & once
            every |= near
            counts[method] += (true.sum(), near.sum(), (near & true).sum())
        counts["all"] += (true.sum(), every.sum(), (every & true).sum())
    return {name: Figures(*(int(number) for number in found)) for name, found in counts.items()}


def within_bound(features: Features, bounds: Bounds, method: str, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return (r, m) bool: which of `others` are near to each of `rows` by one method."""
    if method in ("sha256", "pixels"):
        values: np.ndarray = getattr(features, method)
        known: np.ndarray = (values[rows] >= 0)[:, None]
        same: np.ndarray = known & (values[rows][:, None] == values[others][None, :])
        return same
    if method == "embedding":
        return _alike(features, float(bounds.cosine or 1), rows, others)
    words, has = (features.phash, features.has_phash) if method == "phash" else (features.pdq, features.has_pdq)
    radius = bounds.phash if method == "phash" else bounds.pdq
    near, likeness = np.zeros((len(rows), len(others)), dtype=bool), Likeness(features, bounds)
    for turn in TURNS if method == "pdq_dihedral" else TURNS[:1]:
        asked = turned(np.ascontiguousarray(words[rows]), turn)
        bits = np.zeros(near.shape, dtype=np.int16)
        for word in range(words.shape[1]):
            bits += np.bitwise_count(asked[:, word][:, None] ^ words[others, word][None, :])
        here = (bits <= (radius or 0)) & has[rows][:, None] & has[others][None, :]
        a, b = np.nonzero(here)
        asked_for = likeness.confirmed(rows[a], others[b]) if method == "phash" else np.ones(len(a), dtype=bool)
        here[a, b] = likeness.colours_agree(rows[a], others[b], turn, asked_for)
        near |= here
    return near


def _alike(features: Features, bound: float, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    near = np.zeros((len(rows), len(others)), dtype=bool)
    mine, theirs = np.flatnonzero(features.vector[rows] >= 0), np.flatnonzero(features.vector[others] >= 0)
    if len(mine) and len(theirs):
        one = unit(features.vectors[features.vector[rows[mine]]])
        other = unit(features.vectors[features.vector[others[theirs]]])
        near[np.ix_(mine, theirs)] = one @ other.T >= np.float32(bound - 1e-6)
    return near
