"""Near pairs of embeddings by cosine, and SemDeDup thinning: k-means cells, searched one by one.

A cell's centre comes from k-means over a sample, after the mean of all has been taken away. Every vector goes to its
nearest cells; in a cell, the vectors whose nearest it is are compared with all that came there. Cells that grow too
large are split in the same way. So the cost grows a little faster than the number of vectors, and a pair is missed
only where neither vector's nearest cell is among those that the other goes to (measured: benchmarks/README.md). Up to
`SMALL` vectors, everything is compared.

Vectors are unit vectors; float16 as stored, compared in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from filters.duplicates import Edges, equal_edges, firsts, joined

#: Vectors up to which everything is compared with everything.
SMALL = 4096
#: Vectors that a cell should hold, comparisons above which it is split, and the number of cells of one level.
CELL, MAX_WORK, MAX_CELLS = 1000, 20_000_000, 4096
#: Cells that a vector goes to, at most; and the part of the possible distance within which it goes to a further one.
#: Measured at cells of 1,000: all of 71,888 pairs over 0.95 of the sample corpus found, each vector in 1.6 cells.
NEAREST, MARGIN = 6, 0.4
#: A split that leaves more than this share of the comparisons is not worth its own cost.
_WORTH = 0.7
#: Sample of the k-means, vectors a cell; its rounds.
_SAMPLE, _ROUNDS = 64, 8
#: Vectors compared at once with a whole cell or level.
_BLOCK = 1024
#: Pairs that one block of a cell may have at most.
_BLOCK_PAIRS = 1 << 23
#: Pairs of one cell, at least and for each vector, above which only a spanning forest of them is kept;
#: `Edges.thinned` tells.
MAX_PAIRS, ROW_PAIRS = 1 << 16, 64

#: Rows a, rows b, and the distance or cosine of each pair.
_Near = tuple[np.ndarray, np.ndarray, np.ndarray]


def usable(vectors: np.ndarray) -> np.ndarray:
    """Return (n,) bool: vectors (n, d) that are finite and not zero. Embeddings that are absent are zero."""
    good = np.zeros(len(vectors), dtype=bool)
    for start in range(0, len(vectors), 1 << 16):
        lengths = np.einsum("ij,ij->i", *(vectors[start : start + (1 << 16)].astype(np.float32),) * 2)
        good[start : start + (1 << 16)] = np.isfinite(lengths) & (lengths > 1e-6)
    return good


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return usable vectors (n, d) as float32 of length 1."""
    found = vectors.astype(np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found


def signatures(vectors: np.ndarray) -> np.ndarray:
    """Return uint64 (n, 2) by which equal float16 vectors (n, d) are known; unequal ones meet once in 2^100 pairs."""
    halves = np.ascontiguousarray(vectors, dtype=np.float16).view(np.uint16)
    weights = np.random.default_rng(0).integers(1, 2**63, (halves.shape[1], 2), dtype=np.uint64) | np.uint64(1)
    found = np.empty((len(halves), 2), dtype=np.uint64)
    for start in range(0, len(halves), 4096):
        block = halves[start : start + 4096].astype(np.uint64) + np.uint64(1)
        # squares, so that sums of the same numbers in other places differ
        for column in range(2):
            mixed = (block * weights[:, column]) ^ (block << np.uint64(17))
            found[start : start + 4096, column] = (mixed * (mixed | np.uint64(1))).sum(axis=1, dtype=np.uint64)
    return found


def cells_for(count: int) -> int:
    """Return how many cells the top level has for `count` vectors."""
    return 1 if count <= SMALL else min(MAX_CELLS, -(-count // CELL))


@dataclass(frozen=True)
class Cells:
    """Centres float32 (cells, d) of length 1, for vectors less their mean; `offsets` (cells,): centre times mean.

    Without the mean taken away, a cell with a bit of everything lies nearest to the direction that all pictures
    share, and draws a tenth of all vectors (measured on made-up topics), which no further split takes apart.
    """

    centres: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.centres)

    def likeness(self, vectors: np.ndarray) -> np.ndarray:
        """Return (n, cells): how near unit vectors (n, d) float32 are to each centre."""
        found: np.ndarray = vectors @ self.centres.T - self.offsets
        return found

    def apart(self) -> np.ndarray:
        """Return (cells, cells): the distance between any two centres."""
        found: np.ndarray = np.sqrt(np.maximum(2 - 2 * (self.centres @ self.centres.T), 0))
        return found


def train(sample: np.ndarray, cells: int, seed: int = 0) -> Cells:
    """Return the cells that unit vectors (n, d) fall into: spherical k-means around their mean, seeded."""
    import faiss  # slow to import, and small runs do without

    sample = np.asarray(sample, dtype=np.float32)
    mean = sample.mean(axis=0)
    own = sample - mean
    own /= np.maximum(np.linalg.norm(own, axis=1, keepdims=True), np.float32(1e-6))
    means = faiss.Kmeans(
        own.shape[1],
        cells,
        niter=_ROUNDS,
        spherical=True,
        seed=seed + 1,
        max_points_per_centroid=_SAMPLE,
        min_points_per_centroid=1,
    )
    means.train(np.ascontiguousarray(own))
    centres = np.array(means.centroids, dtype=np.float32)
    return Cells(centres, centres @ mean)


def sampled(count: int, cells: int, seed: int = 0) -> np.ndarray:
    """Return the sorted rows (of `count`) that a k-means of so many cells is trained on."""
    size = min(count, cells * _SAMPLE)
    rows = np.random.default_rng(seed).choice(count, size, replace=False)
    return np.sort(rows)


def nearest(vectors: np.ndarray, cells: Cells, bound: float) -> np.ndarray:
    """Return int32 (n, min(NEAREST, cells)): each vector's nearest cells, nearest first; -1 for no further one.

    A further cell c counts where a vector within the bound could have its home: x(c1 - c) <= e |c1 - c|, with c1 the
    nearest cell and e the distance that the bound allows. `MARGIN` takes a part of that e, since the difference of two
    pictures seldom points straight from one centre to another.
    """
    width = min(NEAREST, len(cells))
    found = np.empty((len(vectors), width), dtype=np.int32)
    reach = MARGIN * np.sqrt(max(0.0, 2 - 2 * bound))
    between = cells.apart()
    for start in range(0, len(vectors), _BLOCK):
        likeness = cells.likeness(unit(vectors[start : start + _BLOCK]))
        top = np.argpartition(-likeness, width - 1, axis=1)[:, :width]
        order = np.argsort(-np.take_along_axis(likeness, top, axis=1), axis=1, kind="stable")
        top = np.take_along_axis(top, order, axis=1)
        near = np.take_along_axis(likeness, top, axis=1)
        apart = between[top, top[:, :1]]
        found[start : start + _BLOCK] = np.where(near[:, :1] - near <= reach * apart + 1e-6, top, -1)
    return found


def semantic_edges(vectors: np.ndarray, bound: float, since: int = 0) -> Edges:
    """Join vectors float16 (n, d) whose cosine is at least `bound`; absent and broken ones join nothing.

    Equal vectors give a star around their first. `since`: only pairs with a row at or after it; the others are not
    compared again.
    """
    good = usable(vectors)
    marks = signatures(vectors)
    star, first = equal_edges(marks, good), firsts(marks, good)
    rows = np.flatnonzero(good & (first == np.arange(len(vectors))))
    if since:
        late = star.b >= since
        star = Edges(star.a[late], star.b[late], star.distance[late])
        old, new = rows[rows < since], rows[rows >= since]
        return joined([star, *across(vectors, new, old, bound), *_search(vectors, new, bound)])
    return joined([star, *_search(vectors, rows, bound)])


def across(vectors: np.ndarray, new: np.ndarray, old: np.ndarray, bound: float) -> Iterator[Edges]:
    """Yield the near pairs between two sets of rows."""
    for a, b, distance in near_across(vectors[new], vectors[old], bound):
        yield Edges.of(new[a], old[b], distance)


def near_across(
    queries: np.ndarray, base: np.ndarray, bound: float
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield row of `queries`, row of `base` and 1 - cosine of the near pairs of usable vectors (n, d) and (m, d).

    A small base is compared as a whole; of a large one, the cells nearest to each query.
    """
    if len(queries) == 0 or len(base) == 0:
        return
    if len(base) <= 4 * SMALL:
        for start in range(0, len(queries), 8 * _BLOCK):
            a, b, cosine = _compare(unit(queries[start : start + 8 * _BLOCK]), unit(base), bound)
            yield a + start, b, 1 - cosine
        return
    number = cells_for(len(base))
    cells = train(unit(base[sampled(len(base), number)]), number)
    order, starts = by_cell(np.ascontiguousarray(nearest(base, cells, bound)[:, :2]), number)
    asked = nearest(queries, cells, bound)
    turn, begins = by_cell(asked, number)
    for cell in range(number):
        rows = turn[begins[cell] : begins[cell + 1]] // asked.shape[1]
        there = order[starts[cell] : starts[cell + 1]] // 2
        if len(rows) and len(there):
            a, b, cosine = _compare(unit(queries[rows]), unit(base[there]), bound)
            yield rows[a], there[b], 1 - cosine


def _search(vectors: np.ndarray, rows: np.ndarray, bound: float) -> Iterator[Edges]:
    """Yield the near pairs among some rows, cell by cell."""
    number = cells_for(len(rows))
    if number == 1:
        yield cell_edges(vectors[rows], rows, np.ones(len(rows), dtype=bool), bound)
        return
    cells = train(unit(vectors[rows[sampled(len(rows), number)]]), number)
    places = nearest_of(vectors, rows, cells, bound)
    order, starts = by_cell(places, number)
    for cell in range(number):
        members = order[starts[cell] : starts[cell + 1]]
        local, rank = members // places.shape[1], members % places.shape[1]
        yield cell_edges(vectors[rows[local]], rows[local], rank == 0, bound)


def nearest_of(vectors: np.ndarray, rows: np.ndarray, cells: Cells, bound: float) -> np.ndarray:
    """Return `nearest` of some rows without a copy of them all."""
    step = 1 << 16
    return np.concatenate(
        [nearest(vectors[rows[start : start + step]], cells, bound) for start in range(0, len(rows), step)]
    )


def by_cell(places: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the flat places (row x rank) that have a cell, sorted by it, and where each cell starts (cells + 1,)."""
    flat = places.reshape(-1)
    none = int((flat < 0).sum())
    starts = np.concatenate([[0], np.cumsum(np.bincount(flat[flat >= 0], minlength=cells))])
    return np.argsort(flat, kind="stable")[none:], starts


def cell_edges(vectors: np.ndarray, names: np.ndarray, home: np.ndarray, bound: float, split: int = 6) -> Edges:
    """Return the near pairs of one cell, of which at least one is at home there. A large cell is split.

    `vectors` (n, d), `names` (n,) int64 the positions they stand for, `home` (n,) bool.
    """
    if len(vectors) == 0 or not home.any():
        return joined([])
    if int(home.sum()) * len(vectors) > MAX_WORK and split:
        parts = _split(vectors, home, bound)
        if parts is not None:
            return joined(cell_edges(vectors[p], names[p], own, bound, split - 1) for p, own in parts)
    found, thinned = _few(_pairs(vectors, home, bound), len(vectors))
    return replace(Edges.of(names[found[0]], names[found[1]], found[2]), thinned=thinned)


def _pairs(vectors: np.ndarray, home: np.ndarray, bound: float) -> Iterator[_Near]:
    """Yield the near pairs of a cell's rows, of which at least one is at home there, in blocks of bounded memory."""
    here, guests = np.flatnonzero(home), np.flatnonzero(~home)
    own, others = unit(vectors[here]), unit(vectors[guests]) if len(guests) else None
    step = int(np.clip(_BLOCK_PAIRS // len(vectors), 1, _BLOCK))
    for start in range(0, len(here), step):
        block = own[start : start + step]
        a, b, cosine = _compare(block, own[start:], bound)
        once = a < b
        yield here[start + a[once]], here[start + b[once]], 1 - cosine[once]
        if others is not None:
            a, b, cosine = _compare(block, others, bound)
            yield here[start + a], guests[b], 1 - cosine


def _few(blocks: Iterator[_Near], rows: int) -> tuple[_Near, bool]:
    """Return the pairs of all blocks, and whether they were too many: then some that hold the same rows together."""
    found: list[_Near] = []
    labels: np.ndarray | None = None
    count = 0
    for block in blocks:
        if labels is not None:
            new = labels[block[0]] != labels[block[1]]
            block = (block[0][new], block[1][new], block[2][new])
        found.append(block)
        count += len(block[0])
        if count > max(MAX_PAIRS, ROW_PAIRS * rows) or (labels is not None and len(block[0])):
            a, b, distance = _merged(found)
            # a weight of 0 would be no edge
            graph = coo_matrix((distance.astype(np.float64) + 1, (a, b)), shape=(rows, rows))
            tree = minimum_spanning_tree(graph).tocoo()
            labels = connected_components(tree, directed=False)[1]
            found = [(tree.row.astype(np.int64), tree.col.astype(np.int64), (tree.data - 1).astype(np.float32))]
            count = len(tree.row)
    return _merged(found), labels is not None


def _merged(found: list[_Near]) -> _Near:
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    a, b, distance = (np.concatenate([block[i] for block in found]) for i in range(3))
    return a, b, distance


def _split(vectors: np.ndarray, home: np.ndarray, bound: float) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """Return the rows of each smaller cell, and which of them have their home there; None where that saves little."""
    number = -(-2 * len(vectors) // CELL)
    cells = train(unit(vectors[sampled(len(vectors), number)]), number)
    places = nearest(vectors, cells, bound)
    order, starts = by_cell(places, number)
    found = []
    for cell in range(number):
        rows, rank = np.divmod(order[starts[cell] : starts[cell + 1]], places.shape[1])
        found.append((rows, rank == 0))
    work = sum(int(own.sum()) * len(rows) for rows, own in found)
    return found if work <= _WORTH * int(home.sum()) * len(vectors) else None


def _compare(one: np.ndarray, other: np.ndarray, bound: float) -> _Near:
    """Return rows of one, rows of the other, and the cosine of the pairs that reach the bound."""
    found: list[_Near] = []
    for start in range(0, len(one), _BLOCK):
        cosine = one[start : start + _BLOCK] @ other.T
        # of one dimension: numpy takes a quarter of the time
        near = np.flatnonzero((cosine >= np.float32(bound)).reshape(-1))
        a, b = np.divmod(near, cosine.shape[1])
        found.append((a + start, b, np.minimum(cosine.reshape(-1)[near], np.float32(1))))
    return _merged(found)
