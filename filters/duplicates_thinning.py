"""SemDeDup: thin out what is merely alike, to a distance or to a size.

Every sample's *redundancy* is its largest cosine to a sample of its cell that ranks before it. A sample is dropped
where that is above 1 - epsilon; so one number a sample serves every epsilon, and a target size is a quantile of it.

Source: Abbas et al., SemDeDup: Data-efficient learning at web-scale through semantic deduplication (2023),
algorithm A.1, with the recipe's order of preference in place of the distance from the centre.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from filters.semantic import CELL, by_cell, nearest_of, sampled, train, unit, usable

#: Vectors of a cell that are compared at once.
_BLOCK = 1024


@dataclass(frozen=True)
class Thinned:
    """Which rows go, and for each the row that stays for it (itself where it stays), with 1 - cosine to that one.

    `epsilon` is the one that was applied.
    """

    gone: np.ndarray
    stays: np.ndarray
    distance: np.ndarray
    epsilon: float


def thin(vectors: np.ndarray, epsilon: float | None, target: int | None) -> Thinned:
    """Thin vectors (n, d), best first, at `epsilon` or so far that about `target` rows stay.

    Rows without a vector stay. A target is met from above where equal redundancies stand at its bound.
    """
    redundancy, before = redundancies(vectors)
    if epsilon is None:
        surplus = len(vectors) - (len(vectors) if target is None else target)
        ranked = np.sort(redundancy)[::-1]
        limit = ranked[surplus] if 0 < surplus < len(ranked) else (np.inf if surplus <= 0 else -np.inf)
        # float steps make equal pictures differ: never below what any two vectors may have
        epsilon = float(np.clip(1 - limit, -1, 2))
        gone = redundancy > limit
    else:
        gone = redundancy > 1 - epsilon
    stays = np.arange(len(vectors))
    for row in np.flatnonzero(gone):  # in order: the row before it has its answer
        stays[row] = stays[before[row]]
    distance = np.zeros(len(vectors), dtype=np.float32)
    rows = np.flatnonzero(gone)
    for start in range(0, len(rows), 1 << 14):
        some = rows[start : start + (1 << 14)]
        distance[some] = 1 - np.einsum("ij,ij->i", unit(vectors[some]), unit(vectors[stays[some]]))
    return Thinned(gone, stays, np.maximum(distance, 0), epsilon)


def redundancies(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each vector (n, d) the largest cosine to an earlier one of its cell, and that one's row.

    -inf and its own row where there is none: the first of a cell, and rows without a vector.
    """
    largest = np.full(len(vectors), -np.inf, dtype=np.float32)
    before = np.arange(len(vectors))
    rows = np.flatnonzero(usable(vectors))
    cells = max(1, len(rows) // CELL)
    if cells == 1:
        places = np.zeros((len(rows), 1), dtype=np.int32)
    else:
        places = nearest_of(vectors, rows, train(unit(vectors[rows[sampled(len(rows), cells)]]), cells), 1)[:, :1]
    order, starts = by_cell(np.ascontiguousarray(places), cells)
    for cell in range(cells):
        members = rows[order[starts[cell] : starts[cell + 1]]]
        own = unit(vectors[members]) if len(members) else np.empty((0, 1), np.float32)
        for start in range(0, len(members), _BLOCK):
            stop = min(start + _BLOCK, len(members))
            cosine = own[start:stop] @ own[:stop].T
            cosine[np.arange(stop)[None, :] >= np.arange(start, stop)[:, None]] = -np.inf
            best = cosine.argmax(axis=1)
            largest[members[start:stop]] = cosine[np.arange(stop - start), best]
            some = np.isfinite(largest[members[start:stop]])
            before[members[start:stop][some]] = members[best[some]]
    return largest, before
