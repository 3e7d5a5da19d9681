"""Whether two samples count as the same picture, by which method, and how far apart they are.

The search for pairs and the choice who stays use the same bounds, over the same stored columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from filters.duplicates import METHODS
from filters.duplicates_colours import agree, turned_layouts
from filters.duplicates_turns import TURNS, Turn, turned
from filters.semantic import unit

#: Least PDQ quality (0 to 100) at which a hash says anything. Source: ThreatExchange pdq/README, "discard <= 49".
PDQ_QUALITY = 50

_PAIRS = 1 << 16


@dataclass(frozen=True)
class Bounds:
    """What counts as the same picture. Bits, cosine and colour are inclusive; None turns a method off.

    `colour`: largest distance in CIELAB's a and b of any part, between pictures that a perceptual hash takes for one.
    `confirm`: most differing bits of PDQ between pictures that pHash takes for one, where both have a PDQ hash of any
    quality: pHash says the same of all small drawings on a large white page.
    """

    exact: bool = True
    phash: int | None = None
    pdq: int | None = None
    dihedral: bool = False
    cosine: float | None = None
    colour: float | None = None
    confirm: int | None = None


@dataclass(frozen=True)
class Features:
    """What samples are compared by; every array has the same length n.

    `sha256`, `pixels`: int64, equal where the values are, -1 where there is none. `phash`: uint64 (n, 1), `pdq`:
    uint64 (n, 4), each with the rows that have one. `vector`: row of `vectors` (m, d), -1 where there is none.
    `colours`: coarse layouts int8 (n, 48), None where there are none. `pdq` has hashes of low quality too, which
    `has_pdq` leaves out, and zeros where there is none.
    """

    sha256: np.ndarray
    pixels: np.ndarray
    phash: np.ndarray
    has_phash: np.ndarray
    pdq: np.ndarray
    has_pdq: np.ndarray
    vectors: np.ndarray
    vector: np.ndarray
    colours: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.sha256)


@dataclass(frozen=True)
class Likeness:
    """Compares samples by their features and the bounds."""

    features: Features
    bounds: Bounds

    def near(self, row: int, others: np.ndarray) -> np.ndarray:
        """Return (m,) bool: which of the rows `others` (m,) are the same picture as `row`, by any method."""
        return self.explain(others, np.full(len(others), row, dtype=np.int64))[0] >= 0

    def explain(self, rows: np.ndarray, heads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return for each pair the first method that holds (place in `METHODS`, int8, -1 for none) and the distance.

        The distance (float32) is in the unit of the method, as in `filters.duplicates.Edges`.
        """
        method = np.full(len(rows), -1, dtype=np.int8)
        distance = np.zeros(len(rows), dtype=np.float32)
        for start in range(0, len(rows), _PAIRS):
            part = slice(start, start + _PAIRS)
            for name, limit in self._limits():
                left = np.flatnonzero(method[part] < 0) + start
                found = self._distance(name, rows[left], heads[left], limit)
                holds = found <= limit
                method[left[holds]] = METHODS.index(name)
                distance[left[holds]] = found[holds]
        return method, distance

    def _limits(self) -> Iterator[tuple[str, float]]:
        bounds = self.bounds
        if bounds.exact:
            yield from (("sha256", 0), ("pixels", 0))
        if bounds.phash is not None:
            yield "phash", bounds.phash
        if bounds.pdq is not None:
            yield "pdq", bounds.pdq
            if bounds.dihedral:
                yield "pdq_dihedral", bounds.pdq
        if bounds.cosine is not None:
            # the search and this comparison may round the last bits of a cosine differently
            yield "embedding", 1 - bounds.cosine + 1e-6

    def _distance(self, name: str, a: np.ndarray, b: np.ndarray, limit: float) -> np.ndarray:
        """Return the distance of each pair, infinite where one has nothing to compare or the colours are others."""
        found = np.full(len(a), np.inf)
        features = self.features
        if name in ("sha256", "pixels"):
            values: np.ndarray = getattr(features, name)
            found[(values[a] == values[b]) & (values[a] >= 0)] = 0
            return found
        if name == "embedding":
            some = np.flatnonzero((features.vector[a] >= 0) & (features.vector[b] >= 0))
            if len(some):
                one, other = (unit(features.vectors[features.vector[rows[some]]]) for rows in (a, b))
                found[some] = np.maximum(1 - np.einsum("ij,ij->i", one, other), 0)
            return found
        codes, has = (features.phash, features.has_phash) if name == "phash" else (features.pdq, features.has_pdq)
        some = np.flatnonzero(has[a] & has[b])
        others, bits = codes[b[some]], np.full(len(some), np.inf)
        for turn in TURNS if name == "pdq_dihedral" else TURNS[:1]:
            here = np.bitwise_count(turned(codes[a[some]], turn) ^ others).sum(axis=1).astype(float)
            here[~self.colours_agree(a[some], b[some], turn, here <= limit)] = np.inf
            bits = np.minimum(bits, here)
        if name == "phash":
            bits[~self.confirmed(a[some], b[some])] = np.inf
        found[some] = bits
        return found

    def colours_agree(self, a: np.ndarray, b: np.ndarray, turn: Turn, asked: np.ndarray) -> np.ndarray:
        """Return (n,) bool: of the pairs that are `asked` for (n,) bool, those whose colours agree under a turn of a.

        All of them where colours are unknown or do not count.
        """
        found: np.ndarray = asked.copy()
        colours, bound = self.features.colours, self.bounds.colour
        if colours is not None and bound is not None:
            rows = np.flatnonzero(asked)
            found[rows] = agree(turned_layouts(colours[a[rows]], turn), colours[b[rows]], bound)
        return found

    def confirmed(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return (n,) bool: the pairs whose PDQ hashes do not speak against what pHash says of them."""
        if self.bounds.confirm is None:
            return np.ones(len(a), dtype=bool)
        one, other = self.features.pdq[a], self.features.pdq[b]
        unknown = ~(one.any(axis=1) & other.any(axis=1))
        found: np.ndarray = unknown | (np.bitwise_count(one ^ other).sum(axis=1) <= self.bounds.confirm)
        return found
