"""Duplicate pairs and clusters: equal values, hashes within a number of bits, and what hangs together.

Bits are searched in `filters.duplicates_hamming`, embeddings in `filters.semantic`; the star algorithm for
graphs beyond one machine stands in `filters.duplicates_stars`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from filters.duplicates_colours import agree, turned_layouts
from filters.duplicates_hamming import Accept, Band, Pairs, bands, between, within
from filters.duplicates_turns import INVERSE, ITSELF, Turn, turned

#: Edges that one step of the union-find takes; bounds its memory (about 24 bytes an edge, 12 a row).
STEP = 1 << 24

#: How two pictures were found to be the same, strongest first. The first one that holds is a duplicate's evidence.
METHODS = ("sha256", "pixels", "phash", "pdq", "pdq_dihedral", "embedding")


@dataclass(frozen=True)
class Edges:
    """Pairs of positions a < b (int64), sorted, with their distance (float32).

    Distance: differing bits of a hash, 1 - cosine of embeddings, 0 where values are equal. `thinned`: there were too
    many; these hold the same rows together.
    """

    a: np.ndarray
    b: np.ndarray
    distance: np.ndarray
    thinned: bool = False

    def __len__(self) -> int:
        return len(self.a)

    @classmethod
    def of(cls, a: np.ndarray, b: np.ndarray, distance: np.ndarray) -> Edges:
        """Return pairs in any order and direction as sorted edges."""
        low, high = np.minimum(a, b).astype(np.int64), np.maximum(a, b).astype(np.int64)
        order = np.lexsort([high, low])
        return cls(low[order], high[order], distance[order].astype(np.float32))


def joined(parts: Iterable[Edges]) -> Edges:
    """Return several edge lists as one; a pair that stands in more than one keeps its smallest distance."""
    found = list(parts)
    if not found:
        return Edges.of(*(np.empty(0, np.int64),) * 3)
    edges = Edges.of(*(np.concatenate([getattr(part, name) for part in found]) for name in ("a", "b", "distance")))
    thinned = any(part.thinned for part in found)
    if len(edges) == 0:
        return edges
    order = np.lexsort([edges.distance, edges.b, edges.a])
    a, b, distance = edges.a[order], edges.b[order], edges.distance[order]
    first = np.concatenate([[True], (np.diff(a) != 0) | (np.diff(b) != 0)])
    return Edges(a[first], b[first], distance[first], thinned)


def firsts(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return for each row (n,) int64 the first valid row with the same value; -1 where not valid.

    `values`: (n,) of anything that sorts, or (n, words) of numbers.
    """
    found = np.full(len(values), -1, dtype=np.int64)
    rows = np.flatnonzero(valid)
    if len(rows) == 0:
        return found
    some = values[rows]
    keys = [some] if some.ndim == 1 else [some[:, word] for word in reversed(range(some.shape[1]))]
    order = np.lexsort([rows, *keys])  # rows last in weight: the first of a group comes first
    ranked = some[order]
    differs = ranked[1:] != ranked[:-1]
    new = np.concatenate([[True], differs if differs.ndim == 1 else differs.any(axis=1)])
    found[rows[order]] = rows[order][np.flatnonzero(new)[np.cumsum(new) - 1]]
    return found


def equal_edges(values: np.ndarray, valid: np.ndarray) -> Edges:
    """Join each valid row to the first valid row with the same value (a star a group). Distance 0."""
    return _stars(firsts(values, valid))


def _stars(first: np.ndarray) -> Edges:
    later = np.flatnonzero((first >= 0) & (first != np.arange(len(first))))
    return Edges.of(first[later], later, np.zeros(len(later)))


def hamming_edges(codes: np.ndarray, valid: np.ndarray, radius: int, since: int = 0) -> Edges:
    """Join rows whose codes differ in at most `radius` bits: exact, whatever the codes.

    `codes`: uint64 (n,) or (n, words). Equal codes give a star around their first row; distinct codes give one
    edge for each pair within the radius, between first rows. So the connected components are those of all pairs,
    at a fraction of them. `since`: only edges with a row at or after it, without a search among the others.
    """
    coded = Codes.of(codes, valid)
    return joined([coded.star(since), *(search.run(coded, radius)[0] for search in searches(coded, radius, since))])


@dataclass(frozen=True)
class Codes:
    """Hashes ready for a search: the distinct ones uint64 (k, words), the row that each stands for, and the stars.

    With `colours` int8 (k, 48), coarse layouts, a hash is distinct by both, and pairs count whose colours agree within
    `bound` (`filters.duplicates_colours`).
    """

    codes: np.ndarray
    rows: np.ndarray
    stars: Edges
    colours: np.ndarray | None = None
    bound: float = np.inf

    @classmethod
    def of(
        cls, codes: np.ndarray, valid: np.ndarray, colours: np.ndarray | None = None, bound: float = np.inf
    ) -> Codes:
        """Return the distinct codes (n, words) of the valid rows."""
        words = codes if codes.ndim == 2 else codes[:, None]
        whole = words if colours is None else np.concatenate([words, colours.view(np.uint64)], axis=1)
        first = firsts(whole, valid)
        rows = np.flatnonzero((first >= 0) & (first == np.arange(len(first))))
        some = None if colours is None else colours[rows]
        return cls(np.ascontiguousarray(words[rows]), rows, _stars(first), some, bound)

    def star(self, since: int = 0) -> Edges:
        """Return the edges between equal codes, those with a row at or after `since`."""
        late = self.stars.b >= since
        return Edges(self.stars.a[late], self.stars.b[late], self.stars.distance[late])

    def split(self, since: int) -> tuple[Codes, Codes]:
        """Return the codes of rows before `since` and of those from there on; neither with stars."""
        old = self.rows < since
        return self._taken(old), self._taken(~old)

    def _taken(self, some: np.ndarray) -> Codes:
        colours = None if self.colours is None else self.colours[some]
        return Codes(self.codes[some], self.rows[some], joined([]), colours, self.bound)

    def accept(self, other: Codes, radius: int, turn: Turn = ITSELF) -> Accept | None:
        """Return what counts of the pairs of this one's turned codes and the other's; None for everything.

        Of a flip or turn, what is no picture with itself, and not alike without the turn.
        """
        if turn == ITSELF:
            return self.agreeing(other, ITSELF)
        plain, there = self.agreeing(other, ITSELF), self.agreeing(other, turn)

        def counts(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            keep: np.ndarray = self.rows[a] != other.rows[b]
            already: np.ndarray = np.bitwise_count(self.codes[a] ^ other.codes[b]).sum(axis=1) <= radius
            if plain is not None and there is not None:
                keep &= there(a, b)
                already &= plain(a, b)
            keep &= ~already
            return keep

        return counts

    def agreeing(self, other: Codes, turn: Turn) -> Accept | None:
        """Tell which pairs of this one's turned pictures and the other's agree in colour; None: none are known."""
        if self.colours is None or other.colours is None:
            return None
        mine, theirs, bound = turned_layouts(self.colours, turn), other.colours, self.bound
        return lambda a, b: agree(mine[a], theirs[b], bound)


def searches(codes: Codes, radius: int, since: int = 0, turns: tuple[Turn, ...] = (ITSELF,)) -> list[Search]:
    """Return the units of the search for pairs within `radius` bits; their edges together are the answer."""
    if radius <= 0 and turns == (ITSELF,) and codes.colours is None:
        return []
    if since:
        return [Search(turn, None, since) for turn in turns]
    return [Search(turn, band) for turn in turns for band in _bands(codes, radius)]


def _bands(codes: Codes, radius: int) -> list[Band]:
    # equal codes of other colours are candidates too; bands for one bit find them without comparing everything
    return bands(codes.codes, max(radius, 1))


@dataclass(frozen=True)
class Search:
    """One unit of a search among codes, all of one kind: itself (`ITSELF`) or against a flip or turn of the others.

    `band` None stands for all bands of what is new (`since`) against everything.
    """

    turn: Turn
    band: Band | None
    since: int = 0

    def run(self, codes: Codes, radius: int) -> tuple[Edges, bool]:
        """Return the unit's edges, and whether they were so many that only some are left (`Pairs.thinned`)."""
        if self.band is not None:
            return self._among(codes, radius, [self.band])
        old, new = codes.split(self.since)
        parts = [self._among(new, radius, _bands(new, radius))]
        for turn in {self.turn, INVERSE.get(self.turn, self.turn)}:
            parts.append(Search(turn, None)._turned(new, old, radius, _bands(old, radius)))
        return joined(edges for edges, _ in parts), any(thinned for _, thinned in parts)

    def _among(self, codes: Codes, radius: int, units: list[Band]) -> tuple[Edges, bool]:
        if self.turn != ITSELF:
            return self._turned(codes, codes, radius, units)
        accept = codes.accept(codes, radius)
        parts = [_named(within(codes.codes, radius, band, accept), codes, codes) for band in units]
        return joined(edges for edges, _ in parts), any(thinned for _, thinned in parts)

    def _turned(self, queries: Codes, base: Codes, radius: int, units: list[Band]) -> tuple[Edges, bool]:
        """Return pairs of a turned query and a code; those that are alike without the turn are left out."""
        asked, accept = turned(queries.codes, self.turn), queries.accept(base, radius, self.turn)
        parts = [_named(between(asked, base.codes, radius, band, accept), queries, base) for band in units]
        return joined(edges for edges, _ in parts), any(thinned for _, thinned in parts)


def _named(pairs: Pairs, one: Codes, other: Codes) -> tuple[Edges, bool]:
    return Edges.of(one.rows[pairs.a], other.rows[pairs.b], pairs.distance), pairs.thinned


def cluster(count: int, edges: Iterable[Edges]) -> np.ndarray:
    """Return (count,) int64: the smallest position of each row's connected component; -1 for single rows.

    Takes the edges in steps, so that a file of 1e8 edges never stands in memory as a whole.
    """
    labels: np.ndarray = np.arange(count, dtype=np.int32 if count < 2**31 else np.int64)
    for part in edges:
        for start in range(0, len(part), STEP):
            a, b = labels[part.a[start : start + STEP]], labels[part.b[start : start + STEP]]
            new = a != b
            if new.any():
                graph = coo_matrix((np.ones(int(new.sum()), dtype=np.int8), (a[new], b[new])), shape=(count, count))
                labels = connected_components(graph, directed=False)[1][labels]
    return smallest_members(labels)


def smallest_members(labels: np.ndarray) -> np.ndarray:
    """Return for each row (n,) int64 the smallest row with its label; -1 where no other row has it."""
    if len(labels) == 0:
        return np.empty(0, dtype=np.int64)
    top = int(labels.max()) + 1
    first = np.zeros(top, dtype=np.int64)
    first[labels[::-1]] = np.arange(len(labels) - 1, -1, -1)
    sizes = np.bincount(labels, minlength=top)
    return np.where(sizes[labels] > 1, first[labels], -1).astype(np.int64)
