"""Thinning: one number a sample serves every epsilon and every size, and the better one stays."""

import numpy as np
import pytest

from filters.duplicates_thinning import redundancies, thin

RANDOM = np.random.default_rng(0)
VECTORS = (RANDOM.normal(size=(1, 16)) + RANDOM.normal(size=(400, 16)) * 0.7).astype(np.float16)


def exact(vectors):
    found = vectors.astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_redundancy_is_the_largest_cosine_to_a_better_one():
    largest, before = redundancies(VECTORS)
    cosine = exact(VECTORS) @ exact(VECTORS).T
    want = [-np.inf] + [cosine[row, :row].max() for row in range(1, 400)]
    assert np.allclose(largest, want, atol=1e-5)
    assert (before[1:] < np.arange(1, 400)).all()
    assert before[0] == 0


@pytest.mark.parametrize("epsilon", [0.05, 0.2, 0.5])
def test_what_stays_at_an_epsilon_is_what_the_paper_keeps(epsilon):
    cosine = np.triu(exact(VECTORS) @ exact(VECTORS).T, 1)
    found = thin(VECTORS, epsilon, None)
    assert (found.gone == (cosine.max(axis=0) > 1 - epsilon)).all()
    assert not found.gone[found.stays].any()
    assert (found.stays[~found.gone] == np.flatnonzero(~found.gone)).all()


@pytest.mark.parametrize("target", [1, 100, 399, 400, 1000])
def test_a_target_is_met(target):
    found = thin(VECTORS, None, target)
    assert (~found.gone).sum() == min(target, 400)


def test_rows_without_a_vector_stay_and_equal_ones_go_together():
    vectors = np.tile(VECTORS[:1], (10, 1))
    vectors[4] = 0
    assert thin(vectors, 0.1, None).gone.tolist() == [False, *[True] * 3, False, *[True] * 5]
    assert len(thin(np.zeros((0, 4), np.float16), 0.1, None).gone) == 0
    assert not thin(np.full((3, 4), np.nan, np.float16), 0.1, None).gone.any()
