"""Near pairs of embeddings: found through cells as by comparing all, and broken vectors join nothing."""

import numpy as np
import pytest

from filters import semantic
from filters.duplicates import cluster
from filters.semantic import cell_edges, near_across, semantic_edges, signatures, usable


def vectors(count, copies, dimension=64, seed=0):
    """Unit vectors in topics; the last `copies` are copies of the first ones, at a cosine of about 0.97."""
    random = np.random.default_rng(seed)
    topics = random.normal(size=(count // 40 + 1, dimension))
    found = topics[random.integers(0, len(topics), count)] + random.normal(size=(count, dimension)) * 0.9
    found[count - copies :] = found[:copies] + random.normal(size=(copies, dimension)) * 0.3
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found.astype(np.float16)


def pairs(edges):
    return set(zip(edges.a.tolist(), edges.b.tolist(), strict=True))


def brute_force(found, bound):
    exact = found.astype(np.float32)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    return {(a, b) for a, b in zip(*np.nonzero(exact @ exact.T >= np.float32(bound)), strict=True) if a < b}


def test_a_small_set_is_compared_as_a_whole():
    found = vectors(800, 200)
    assert pairs(semantic_edges(found, 0.9)) == brute_force(found, 0.9) != set()


def test_cells_find_at_least_99_of_100_pairs(monkeypatch):
    monkeypatch.setattr(semantic, "SMALL", 500)
    monkeypatch.setattr(semantic, "CELL", 100)
    found = vectors(5000, 1500)
    want, got = brute_force(found, 0.93), pairs(semantic_edges(found, 0.93))
    assert got <= want
    assert len(got) >= 0.99 * len(want) > 500


def test_a_large_cell_is_split_and_still_finds_its_pairs(monkeypatch):
    monkeypatch.setattr(semantic, "MAX_WORK", 90_000)
    monkeypatch.setattr(semantic, "CELL", 100)
    found = vectors(2000, 600)
    got = pairs(cell_edges(found, np.arange(2000), np.ones(2000, bool), 0.93))
    want = brute_force(found, 0.93)
    assert got <= want
    assert len(got) >= 0.99 * len(want)


def test_only_pairs_with_a_new_row_are_returned():
    found = vectors(900, 300)
    want = {pair for pair in brute_force(found, 0.9) if pair[1] >= 700}
    assert pairs(semantic_edges(found, 0.9, since=700)) == want != set()


def test_a_large_base_is_searched_by_cells(monkeypatch):
    monkeypatch.setattr(semantic, "SMALL", 400)
    monkeypatch.setattr(semantic, "CELL", 100)
    found = vectors(4000, 1200)
    want = {(a, b) for a, b in brute_force(found, 0.93) if a < 1200 <= b}
    got = {
        (int(i), int(j) + 1200)
        for a, b, _ in near_across(found[:1200], found[1200:], 0.93)
        for i, j in zip(a, b, strict=True)
    }
    assert got <= want
    assert len(got) >= 0.99 * len(want) > 0


def test_equal_vectors_are_one_star_and_zero_or_nan_join_nothing():
    found = np.tile(vectors(1, 0), (300, 1))
    found[3], found[5], found[7, 2] = 0, np.nan, np.inf
    edges = semantic_edges(found, 0.99)
    assert len(edges) == 296
    assert set(edges.distance.tolist()) == {0.0}
    assert (cluster(300, [edges])[[3, 5, 7]] == -1).all()
    assert usable(found).sum() == 297
    assert len(semantic_edges(np.zeros((50, 8), np.float16), 0.9)) == 0
    assert len(semantic_edges(vectors(1, 0), 0.9)) == 0


def test_signatures_tell_vectors_apart_by_value_and_place():
    one = np.array([[1, 2, 3], [1, 2, 3], [2, 1, 3], [1, 2, 3.001], [0, 0, 0]], dtype=np.float16)
    marks = [tuple(row) for row in signatures(one).tolist()]
    assert marks[0] == marks[1]
    assert len(set(marks)) == 4


@pytest.mark.parametrize("bound", [0.999, 0.95])
def test_distances_are_one_minus_the_cosine(bound):
    found = vectors(200, 60)
    edges = semantic_edges(found, bound)
    exact = found.astype(np.float32) / np.linalg.norm(found.astype(np.float32), axis=1, keepdims=True)
    cosines = np.einsum("ij,ij->i", exact[edges.a], exact[edges.b])
    assert np.allclose(edges.distance, 1 - cosines, atol=1e-6)


def test_of_more_pairs_than_fit_those_are_left_that_hold_the_same_rows_together(monkeypatch):
    random = np.random.default_rng(4)
    base = random.normal(size=(3, 32))
    found = (np.repeat(base, 200, axis=0) + random.normal(size=(600, 32)) * 0.05).astype(np.float16)
    whole = semantic_edges(found, 0.9)
    assert not whole.thinned
    monkeypatch.setattr(semantic, "MAX_PAIRS", 100)
    monkeypatch.setattr(semantic, "_BLOCK_PAIRS", 20_000)
    few = semantic_edges(found, 0.9)
    assert few.thinned
    assert len(few) == 597 < len(whole)
    assert pairs(few) <= pairs(whole)
    assert cluster(600, [few]).tolist() == cluster(600, [whole]).tolist()


def test_no_cell_draws_what_is_in_none_of_the_topics(monkeypatch):
    """With a direction that all vectors share, and more topics than cells, no cell holds many times its share."""
    random = np.random.default_rng(6)
    topics = random.normal(size=(300, 128))
    found = (
        random.normal(size=128) + 0.7 * topics[random.integers(0, 300, 6000)] + 0.7 * random.normal(size=(6000, 128))
    )
    whole = semantic.unit(found)
    cells = semantic.train(whole, 60)
    sizes = np.bincount(semantic.nearest(whole, cells, 0.95)[:, 0], minlength=60)
    assert sizes.max() < 220  # 327 without the mean taken away
