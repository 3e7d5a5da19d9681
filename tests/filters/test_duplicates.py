"""Duplicate search is exact: it equals brute force, for random and for clustered codes."""

import numpy as np
import pytest

from filters.duplicates import cluster, equal_edges, hamming_edges


def brute_force(codes, valid, radius):
    """Connected components by comparing every pair."""
    parent = list(range(len(codes)))

    def root(i):
        while parent[i] != i:
            i = parent[i]
        return i

    for i in range(len(codes)):
        for j in range(i):
            if valid[i] and valid[j] and int(codes[i] ^ codes[j]).bit_count() <= radius:
                a, b = sorted((root(i), root(j)))
                parent[b] = a
    sizes = [sum(root(j) == root(i) for j in range(len(codes))) for i in range(len(codes))]
    return [root(i) if size > 1 else -1 for i, size in enumerate(sizes)]


@pytest.mark.parametrize("radius", [0, 1, 4, 8])
def test_components_equal_brute_force(radius):
    random = np.random.default_rng(radius)
    centres = random.integers(0, 2**63, 20, dtype=np.uint64)
    flips = np.bitwise_or.reduce(
        np.uint64(1) << random.integers(0, 64, (180, 3)).astype(np.uint64), axis=1
    ) * random.integers(0, 2, 180).astype(np.uint64)
    codes = np.concatenate([random.integers(0, 2**63, 60, dtype=np.uint64), np.repeat(centres, 9) ^ flips])
    valid = random.random(len(codes)) > 0.1
    assert cluster(len(codes), [hamming_edges(codes, valid, radius)]).tolist() == brute_force(codes, valid, radius)


def test_edges_carry_true_distances():
    codes = np.array([0, 3, 3, 2**40, 7], dtype=np.uint64)
    edges = hamming_edges(codes, np.ones(5, bool), 2)
    for a, b, distance in zip(edges.a, edges.b, edges.distance, strict=True):
        assert a < b
        assert int(codes[a] ^ codes[b]).bit_count() == distance <= 2


def test_rows_without_a_value_join_nothing():
    hashes = np.array(["x", "", "", "x"])
    edges = equal_edges(hashes, hashes != "")
    assert list(zip(edges.a.tolist(), edges.b.tolist(), strict=True)) == [(0, 3)]
    assert cluster(4, [edges]).tolist() == [0, -1, -1, 0]
    assert cluster(2, []).tolist() == [-1, -1]
