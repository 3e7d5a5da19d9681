"""Raking reaches its margins by the known weights, stays in its bounds, and says what cannot be reached."""

import numpy as np
import pytest
from scipy.optimize import minimize

from audit.weighting.effect import effect
from audit.weighting.raking import bounded, rake

# 2 x 2: region by gender
CODES = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
COUNTS = np.array([40.0, 10.0, 30.0, 20.0])


def margin(found, codes, which):
    return np.bincount(codes[:, which], weights=COUNTS / COUNTS.sum() * found.weights)


def test_one_margin_by_hand():
    found = rake(COUNTS, np.ones(4), CODES, [np.array([0.2, 0.8])])
    assert found.weights == pytest.approx([0.4, 0.4, 1.6, 1.6], abs=1e-9)
    assert found.converged
    assert found.deviation < 1e-12


def test_independent_margins_have_product_weights():
    counts = np.array([42.0, 18.0, 28.0, 12.0])  # 0.6/0.4 x 0.7/0.3 exactly independent
    found = rake(counts, np.ones(4), CODES, [np.array([0.5, 0.5]), np.array([0.4, 0.6])])
    by_hand = [0.5 / 0.6 * 0.4 / 0.7, 0.5 / 0.6 * 0.6 / 0.3, 0.5 / 0.4 * 0.4 / 0.7, 0.5 / 0.4 * 0.6 / 0.3]
    assert found.weights == pytest.approx(by_hand, abs=1e-9)
    found_effect = effect(found.weights, counts)
    p = counts / 100
    assert found_effect.ess == pytest.approx(100 / float(p @ np.array(by_hand) ** 2), abs=1e-9)
    assert found_effect.design_effect == pytest.approx(float(p @ np.array(by_hand) ** 2), abs=1e-9)


def test_dependent_margins_are_the_nearest_weights_in_divergence():
    targets = [np.array([0.3, 0.7]), np.array([0.5, 0.5])]
    found = rake(COUNTS, np.ones(4), CODES, targets, tolerance=1e-13)
    p = COUNTS / 100
    # the known solution of a 2 x 2: one unknown a, odds ratio kept at 40 * 20 / (10 * 30)
    ratio = 40 * 20 / (10 * 30)

    def off(a):
        return (a * (0.7 - 0.5 + a) / ((0.3 - a) * (0.5 - a)) - ratio) ** 2

    a = minimize(off, 0.2, bounds=[(1e-6, 0.2999)], options={"ftol": 1e-30, "gtol": 1e-14}).x[0]
    assert (found.weights * p)[0] == pytest.approx(a, abs=1e-6)
    w = found.weights * p
    assert w[0] * w[3] / (w[1] * w[2]) == pytest.approx(ratio, abs=1e-9)
    for which, target in enumerate(targets):
        assert margin(found, CODES, which) == pytest.approx(target, abs=1e-9)


def test_trimming_holds_its_bounds_and_says_so():
    counts = np.array([990.0, 10.0])
    codes = np.array([[0], [1]])
    found = rake(counts, np.ones(2), codes, [np.array([0.5, 0.5])], trim=5)
    assert found.weights.max() <= 5 + 1e-9
    assert float(counts @ found.weights) == pytest.approx(1000, abs=1e-6)
    assert not found.converged
    assert found.deviation == pytest.approx(0.5 - 0.05, abs=1e-9)
    assert found.trimmed == pytest.approx(0.01)


def test_trimming_that_leaves_room_still_reaches_the_margins():
    random = np.random.default_rng(0)
    codes = np.array([[i, j, k] for i in range(4) for j in range(3) for k in range(5)])
    counts = random.integers(1, 300, len(codes)).astype(float)
    targets = [np.full(4, 0.25), np.array([0.3, 0.3, 0.4]), np.full(5, 0.2)]
    free = rake(counts, np.ones(len(codes)), codes, targets)
    trim = float(max(free.weights.max(), 1 / free.weights.min())) * 0.8
    found = rake(counts, np.ones(len(codes)), codes, targets, trim=trim)
    assert free.converged
    assert found.converged
    assert found.weights.max() <= trim + 1e-9
    assert found.weights.min() >= 1 / trim - 1e-9
    assert found.trimmed > 0


def test_a_target_without_samples_is_named_and_shared_out():
    codes = np.array([[0], [1]])
    found = rake(np.array([50.0, 50.0]), np.ones(2), codes, [np.array([0.4, 0.4, 0.2])])
    assert found.unreachable == ((0, 2),)
    assert found.weights == pytest.approx([1, 1], abs=1e-12)


def test_margins_that_contradict_each_other_through_empty_cells_do_not_converge():
    # every Africa is feminine and every Europe masculine, so the margins cannot differ
    codes = np.array([[0, 0], [1, 1]])
    found = rake(np.array([50.0, 50.0]), np.ones(2), codes, [np.array([0.2, 0.8]), np.array([0.5, 0.5])], rounds=50)
    assert not found.converged
    assert found.deviation == pytest.approx(0.3, abs=1e-9)
    assert np.isfinite(found.weights).all()


def test_margins_that_leave_no_sample_a_weight_are_not_called_reached():
    # the only cells are (0, 0) and (1, 1), and the margins want (0, 1) alone
    codes = np.array([[0, 0], [1, 1]])
    found = rake(np.array([50.0, 50.0]), np.ones(2), codes, [np.array([1.0, 0.0]), np.array([0.0, 1.0])])
    assert not found.converged
    assert (found.deviation, found.rounds) == (np.inf, 1)


def test_starting_weights_count():
    found = rake(
        np.array([1.0, 1.0, 2.0]), np.array([3.0, 1.0, 1.0]), np.array([[0], [0], [1]]), [np.array([0.5, 0.5])]
    )
    assert found.weights == pytest.approx([1.5, 0.5, 1.0], abs=1e-9)


def test_no_shares_are_refused():
    with pytest.raises(ValueError, match="sum 1"):
        rake(COUNTS, np.ones(4), CODES, [np.array([0.5, 0.6])])
    with pytest.raises(ValueError, match="no value with a target"):
        rake(np.array([5.0]), np.ones(1), np.array([[0]]), [np.array([0.0, 1.0])])


def test_clipping_keeps_the_mean():
    share = np.array([0.5, 0.3, 0.2])
    found = bounded(share, np.array([0.01, 1.0, 30.0]), 0.2, 3.0)
    assert float(share @ found) == pytest.approx(1, abs=1e-12)
    assert found.max() <= 3
    assert found.min() >= 0.2


def test_effect_of_no_and_of_equal_weights():
    assert effect(np.array([])).ess == 0
    assert effect(np.full(7, 2.5)).ess == pytest.approx(7)
    assert effect(np.array([1.0, 3.0])).ess == pytest.approx(1.6)
    assert effect(np.array([1.0, 3.0]), np.array([10, 0])).high == 1
