"""The Fréchet distance: its formula, sets smaller than their dimension, and the baseline of real pictures."""

import numpy as np
import pytest
from scipy import linalg

from training.evaluation.frechet import biased, frechet_distance, split_baseline


def by_root(one, other):
    """The distance by a root of the product of covariances, as most programs compute it."""
    a, b = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    gap = ((one.mean(axis=0) - other.mean(axis=0)) ** 2).sum()
    return gap + np.trace(a + b - 2 * np.real(linalg.sqrtm(a @ b)))


def rows(count, dimension, seed, shift=0.0, scale=1.0):
    return np.random.default_rng(seed).normal(shift, scale, (count, dimension))


def test_equals_the_formula_with_a_matrix_root():
    one, other = rows(300, 8, 0), rows(200, 8, 1, 0.5, 2.0) @ rows(8, 8, 2)
    assert frechet_distance(one, other) == pytest.approx(by_root(one, other), rel=1e-8)


def test_is_the_squared_distance_of_the_means_where_covariances_are_equal():
    one = rows(50, 5, 0)
    assert frechet_distance(one, one + 3.0) == pytest.approx(5 * 9.0)
    assert frechet_distance(one, one) == pytest.approx(0.0, abs=1e-9)


def test_holds_for_fewer_pictures_than_dimensions():
    one, other = rows(6, 40, 0), rows(9, 40, 1)
    a, b = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    roots = np.sqrt(np.clip(np.real(np.linalg.eigvals(a @ b)), 0, None)).sum()
    expected = ((one.mean(axis=0) - other.mean(axis=0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * roots
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-5)


def test_the_baseline_shows_the_bias_of_small_sets():
    real = rows(2000, 16, 0)
    few, many = split_baseline(real, 20, 0), split_baseline(real, 900, 0)
    assert few.mean > 5 * many.mean > 0
    assert few.low <= few.mean <= few.high
    # as many pictures of the same kind come to the same as the baseline
    assert few.low * 0.5 < frechet_distance(rows(20, 16, 9), real) < few.high * 2


def test_no_baseline_where_too_few_pictures_would_be_left():
    assert split_baseline(rows(19, 4, 0), 10, 0) is None
    assert split_baseline(rows(20, 4, 0), 10, 0) is not None


def test_says_when_a_distance_is_biased():
    assert biased(10_239, 2048)
    assert not biased(10_240, 2048)
