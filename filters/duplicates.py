"""Duplicate pairs and clusters: equal bytes, and perceptual hashes within a number of bits.

First version: the search is exact and quadratic in the number of *distinct* hashes (about 2e9 comparisons
a second a core), which holds to about a million samples on one machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

#: Queries a block of the search; bounds its memory.
_BLOCK = 4096


@dataclass(frozen=True)
class Edges:
    """Pairs of positions a < b (int64), sorted, with the distance in bits (int16)."""

    a: np.ndarray
    b: np.ndarray
    distance: np.ndarray

    def __len__(self) -> int:
        return len(self.a)


def equal_edges(values: np.ndarray, valid: np.ndarray) -> Edges:
    """Join each valid row to the first valid row with the same value (a star a group). Distance 0."""
    rows = np.flatnonzero(valid)
    _, index, inverse = np.unique(values[rows], return_index=True, return_inverse=True)
    first = rows[index[inverse]]
    later = first != rows
    return _sorted(first[later], rows[later], np.zeros(int(later.sum()), dtype=np.int16))


def hamming_edges(codes: np.ndarray, valid: np.ndarray, radius: int) -> Edges:
    """Join rows whose 64-bit codes differ in at most `radius` bits (0 to 64).

    Equal codes give a star around their first row; distinct codes give one edge for each pair within the
    radius, between first rows. So the connected components are those of all pairs, at a fraction of them.
    """
    import faiss  # slow to import, and only this function needs it

    star = equal_edges(codes, valid)
    rows = np.flatnonzero(valid)
    distinct, index = np.unique(codes[rows], return_index=True)
    if radius <= 0 or len(distinct) < 2:
        return star
    firsts = rows[index]
    packed = distinct.astype(">u8").view(np.uint8).reshape(-1, 8)
    search = faiss.IndexBinaryFlat(64)
    search.add(packed)
    found_a, found_b, found_d = [star.a], [star.b], [star.distance]
    for start in range(0, len(packed), _BLOCK):
        # faiss compares strictly (distance < radius), hence + 1
        limits, distances, labels = search.range_search(packed[start : start + _BLOCK], radius + 1)
        queries = start + np.repeat(np.arange(len(limits) - 1), np.diff(limits).astype(np.int64))
        once = queries < labels
        a, b = firsts[queries[once]], firsts[labels[once]]
        found_a.append(np.minimum(a, b))
        found_b.append(np.maximum(a, b))
        found_d.append(distances[once].astype(np.int16))
    return _sorted(np.concatenate(found_a), np.concatenate(found_b), np.concatenate(found_d))


def _sorted(a: np.ndarray, b: np.ndarray, distance: np.ndarray) -> Edges:
    order = np.lexsort([b, a])
    return Edges(a[order].astype(np.int64), b[order].astype(np.int64), distance[order].astype(np.int16))


def cluster(count: int, edges: list[Edges]) -> np.ndarray:
    """Return (count,) int64: the smallest position of each row's connected component; -1 for single rows."""
    a = np.concatenate([edge.a for edge in edges]) if edges else np.empty(0, np.int64)
    b = np.concatenate([edge.b for edge in edges]) if edges else np.empty(0, np.int64)
    if len(a) == 0:
        return np.full(count, -1, dtype=np.int64)
    graph = coo_matrix((np.ones(len(a), dtype=np.int8), (a, b)), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    _, first, inverse, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    return np.where(sizes[inverse] > 1, first[inverse], -1).astype(np.int64)
