"""Near pairs of embeddings by cosine, and SemDeDup thinning: k-means cells, searched one by one.

A cell's centre comes from k-means over a sample. Every vector goes to its nearest cells; in a cell, the vectors whose
nearest it is are compared with all that came there. Cells that grow too large are split in the same way. So the cost
grows a little faster than the number of vectors, and a pair is missed only where neither vector's nearest cell is
among those that the other goes to (measured: benchmarks/README.md). Up to `SMALL` vectors, everything is compared.

Vectors are unit vectors; float16 as stored, compared in float32.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from filters.duplicates import Edges, equal_edges, firsts, joined

#: Vectors up to which everything is compared with everything.
SMALL = 4096
#: Vectors that a cell should hold, comparisons above which it is split, and the number of cells of one level.
CELL, MAX_WORK, MAX_CELLS = 1000, 2_000_000, 4096
#: Cells that a vector goes to, at most; and the part of the possible distance within which it goes to a further one.
NEAREST, MARGIN = 4, 0.3
#: Sample of the k-means, vectors a cell; its rounds.
_SAMPLE, _ROUNDS = 64, 8
#: Vectors compared at once with a whole cell or level.
_BLOCK = 1024


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


def train(sample: np.ndarray, cells: int, seed: int = 0) -> np.ndarray:
    """Return the centres (cells, d) of unit vectors (n, d), float32: spherical k-means, seeded."""
    import faiss  # slow to import, and small runs do without

    centres = faiss.Kmeans(
        sample.shape[1],
        cells,
        niter=_ROUNDS,
        spherical=True,
        seed=seed + 1,
        max_points_per_centroid=_SAMPLE,
        min_points_per_centroid=1,
    )
    centres.train(np.ascontiguousarray(sample, dtype=np.float32))
    found: np.ndarray = np.asarray(centres.centroids)
    return found


def sampled(count: int, cells: int, seed: int = 0) -> np.ndarray:
    """Return the sorted rows (of `count`) that a k-means of so many cells is trained on."""
    size = min(count, cells * _SAMPLE)
    rows = np.random.default_rng(seed).choice(count, size, replace=False)
    return np.sort(rows)


def nearest(vectors: np.ndarray, centres: np.ndarray, bound: float) -> np.ndarray:
    """Return int32 (n, min(NEAREST, cells)): each vector's nearest cells, nearest first; -1 for no further one.

    A further cell c counts where a vector within the bound could have its home: x(c1 - c) <= e |c1 - c|, with c1 the
    nearest cell and e the distance that the bound allows. `MARGIN` takes a part of that e, since the difference of two
    pictures seldom points straight from one centre to another. Without the margin, cells near to the mean of all
    vectors would get a visit from every one of them.
    """
    width = min(NEAREST, len(centres))
    found = np.empty((len(vectors), width), dtype=np.int32)
    reach = MARGIN * np.sqrt(max(0.0, 2 - 2 * bound))
    for start in range(0, len(vectors), _BLOCK):
        likeness = unit(vectors[start : start + _BLOCK]) @ centres.T
        top = np.argpartition(-likeness, width - 1, axis=1)[:, :width]
        order = np.argsort(-np.take_along_axis(likeness, top, axis=1), axis=1, kind="stable")
        top = np.take_along_axis(top, order, axis=1)
        near = np.take_along_axis(likeness, top, axis=1)
        apart = np.linalg.norm(centres[top] - centres[top[:, :1]], axis=2)
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
        star = Edges(*(column[star.b >= since] for column in (star.a, star.b, star.distance)))
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
    cells = cells_for(len(base))
    centres = train(unit(base[sampled(len(base), cells)]), cells)
    order, starts = by_cell(np.ascontiguousarray(nearest(base, centres, bound)[:, :2]), cells)
    asked = nearest(queries, centres, bound)
    turn, begins = by_cell(asked, cells)
    for cell in range(cells):
        rows = turn[begins[cell] : begins[cell + 1]] // asked.shape[1]
        there = order[starts[cell] : starts[cell + 1]] // 2
        if len(rows) and len(there):
            a, b, cosine = _compare(unit(queries[rows]), unit(base[there]), bound)
            yield rows[a], there[b], 1 - cosine


def _search(vectors: np.ndarray, rows: np.ndarray, bound: float) -> Iterator[Edges]:
    """Yield the near pairs among some rows, cell by cell."""
    cells = cells_for(len(rows))
    if cells == 1:
        yield cell_edges(vectors[rows], rows, np.ones(len(rows), dtype=bool), bound)
        return
    centres = train(unit(vectors[rows[sampled(len(rows), cells)]]), cells)
    places = nearest_of(vectors, rows, centres, bound)
    order, starts = by_cell(places, cells)
    for cell in range(cells):
        members = order[starts[cell] : starts[cell + 1]]
        local, rank = members // places.shape[1], members % places.shape[1]
        yield cell_edges(vectors[rows[local]], rows[local], rank == 0, bound)


def nearest_of(vectors: np.ndarray, rows: np.ndarray, centres: np.ndarray, bound: float) -> np.ndarray:
    """Return `nearest` of some rows without a copy of them all."""
    step = 1 << 16
    return np.concatenate(
        [nearest(vectors[rows[start : start + step]], centres, bound) for start in range(0, len(rows), step)]
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
        cells = -(-2 * len(vectors) // CELL)
        centres = train(unit(vectors[sampled(len(vectors), cells)]), cells)
        places = nearest(vectors, centres, bound)
        order, starts = by_cell(places, len(centres))
        found = []
        for cell in range(len(centres)):
            local, rank = np.divmod(order[starts[cell] : starts[cell + 1]], places.shape[1])
            found.append(cell_edges(vectors[local], names[local], rank == 0, bound, split - 1))
        return joined(found)
    here, guests = np.flatnonzero(home), np.flatnonzero(~home)
    own, others = unit(vectors[here]), unit(vectors[guests]) if len(guests) else None
    found = []
    for start in range(0, len(here), _BLOCK):
        block = own[start : start + _BLOCK]
        a, b, cosine = _compare(block, own[start:], bound)
        once = a < b
        found.append(Edges.of(names[here[start + a[once]]], names[here[start + b[once]]], 1 - cosine[once]))
        if others is not None:
            a, b, cosine = _compare(block, others, bound)
            found.append(Edges.of(names[here[start + a]], names[guests[b]], 1 - cosine))
    return joined(found)


def _compare(one: np.ndarray, other: np.ndarray, bound: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for start in range(0, len(one), _BLOCK):
        cosine = one[start : start + _BLOCK] @ other.T
        a, b = np.nonzero(cosine >= np.float32(bound))
        found.append((a + start, b, np.minimum(cosine[a, b], np.float32(1))))
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    return (
        np.concatenate([f[0] for f in found]),
        np.concatenate([f[1] for f in found]),
        np.concatenate([f[2] for f in found]),
    )
