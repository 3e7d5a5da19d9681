"""Match probability is calibrated, monotone, and turns into a bound on any encoder's scale."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.calibration import fit, mismatches
from filters.evaluation import auc


def pairs(scale=1.0, shift=0.0, n=20_000):
    random = np.random.default_rng(0)
    return random.normal(0.23, 0.12, n) * scale + shift, random.normal(0.02, 0.12, n) * scale + shift


def test_the_probability_is_the_true_share_of_matched_pairs():
    found = fit(*pairs())
    random = np.random.default_rng(1)
    matched, mismatched = random.normal(0.23, 0.12, 50_000), random.normal(0.02, 0.12, 50_000)
    p = found.probability(np.concatenate([matched, mismatched]))
    truth = np.r_[np.ones(50_000), np.zeros(50_000)]
    for low in np.arange(0, 1, 0.1):
        inside = (p >= low) & (p < low + 0.1)
        assert abs(p[inside].mean() - truth[inside].mean()) < 0.02


def test_the_same_probability_keeps_the_same_pairs_on_another_scale():
    here, there = fit(*pairs()), fit(*pairs(scale=0.4, shift=0.17))
    assert here.bound(0.5) * 0.4 + 0.17 == pytest.approx(there.bound(0.5), abs=1e-6)
    assert here.auc == pytest.approx(there.auc)
    assert here.probability(np.array([here.bound(0.8)]))[0] == pytest.approx(0.8)


def test_an_encoder_that_knows_nothing_keeps_nothing_above_one_half():
    random = np.random.default_rng(2)
    found = fit(-random.normal(0.3, 0.1, 5000), random.normal(0, 0.1, 5000))
    assert found.bound(0.5) == float("inf")


def test_separable_classes_and_constant_values_stay_finite():
    assert np.isfinite(fit(np.full(50, 0.9), np.full(50, 0.1)).slope)
    constant = fit(np.full(50, 0.5), np.full(50, 0.5))
    assert constant.probability(np.array([0.5]))[0] == pytest.approx(0.5, abs=1e-3)
    with pytest.raises(ValueError, match="needs"):
        fit(np.array([np.nan]), np.array([0.1]))


@given(st.integers(2, 60), st.integers(0, 5))
def test_no_row_is_its_own_partner_and_each_is_a_partner_once(count, seed):
    for partners in mismatches(count, 3, seed):
        assert (partners != np.arange(count)).all()
        assert sorted(partners) == list(range(count))


def test_area_under_curve_counts_ties_for_one_half():
    assert auc(np.array([1.0, 2.0]), np.array([0.0])) == 1.0
    assert auc(np.array([1.0, 1.0]), np.array([1.0, 1.0])) == 0.5
