"""Moment matching reaches shares of attributes, and their shares within labels, on data with planted associations."""

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, minimize

from audit.weighting.moments import Attribute, match


def planted(seed=0, n=60_000):
    """Cells of gender by occupation: nurses 91 % feminine, CEOs 13 %, the rest 35 %."""
    random = np.random.default_rng(seed)
    job = random.choice(3, n, p=[0.1, 0.1, 0.8])
    feminine = random.random(n) < np.array([0.91, 0.13, 0.35])[job]
    cells, counts = np.unique(np.c_[job, feminine], axis=0, return_counts=True)
    return cells, counts.astype(float)


def within(cells, counts, weights, job=None):
    mine = np.ones(len(cells), dtype=bool) if job is None else cells[:, 0] == job
    return float((counts * weights)[mine & (cells[:, 1] == 1)].sum() / (counts * weights)[mine].sum())


def solve(cells, counts, first=0.0, second=0.0, bounds=(0.0, 10.0), penalty=1000.0):
    one = np.ones(len(cells))
    attribute = Attribute((cells[:, 1] == 1).astype(float), one, 0.5)
    labels = [(cells[:, 0] == job).astype(float) for job in (0, 1)]
    return match(counts, [attribute], labels, first, second, bounds, penalty)


def test_planted_associations_are_gone_under_the_weights():
    cells, counts = planted()
    assert within(cells, counts, np.ones(len(cells)), 0) > 0.9
    found = solve(cells, counts)
    assert found.converged
    for job in (None, 0, 1):
        assert within(cells, counts, found.weights, job) == pytest.approx(0.5, abs=1e-4)
    assert float(counts @ found.weights / counts.sum()) == pytest.approx(1, abs=1e-12)


def test_tolerances_are_used_and_not_exceeded():
    cells, counts = planted(1)
    found = solve(cells, counts, first=0.02, second=0.1)
    assert found.converged
    assert within(cells, counts, found.weights, 0) == pytest.approx(0.6, abs=2e-4)
    assert within(cells, counts, found.weights, 1) == pytest.approx(0.4, abs=2e-4)
    assert within(cells, counts, found.weights) == pytest.approx(0.48, abs=2e-4)


def test_the_weights_are_the_nearest_to_one():
    cells, counts = planted(2)
    found = solve(cells, counts, first=0.01, second=0.05)
    p = counts / counts.sum()
    rows, low, high = [p], [1.0], [1.0]
    for among, tolerance in ((np.ones(len(p)), 0.01), (cells[:, 0] == 0, 0.05), (cells[:, 0] == 1, 0.05)):
        for sign in (1, -1):
            rows.append(p * among * (sign * ((cells[:, 1] == 1) - 0.5) - tolerance))
            low.append(-np.inf)
            high.append(0.0)
    other = minimize(
        lambda q: 0.5 * p @ (q - 1) ** 2,
        np.ones(len(p)),
        jac=lambda q: p * (q - 1),
        bounds=[(0, 10)] * len(p),
        constraints=LinearConstraint(np.array(rows), low, high),
        method="trust-constr",
        options={"gtol": 1e-10, "xtol": 1e-12, "maxiter": 3000},
    )
    assert 0.5 * p @ (found.weights - 1) ** 2 == pytest.approx(other.fun, rel=1e-3)
    assert found.weights == pytest.approx(other.x, abs=5e-3)


def test_nothing_to_do_leaves_ones():
    cells, counts = planted(3)
    found = solve(cells, counts, first=1.0, second=1.0)
    assert found.weights == pytest.approx(np.ones(len(cells)), abs=1e-12)


def test_what_the_bounds_forbid_is_met_as_nearly_as_they_let():
    cells, counts = planted(4)
    found = solve(cells, counts, bounds=(0.5, 2.0))
    assert not found.converged
    assert found.violation > 0.05
    assert found.weights.min() >= 0.5 - 1e-6
    assert found.weights.max() <= 2 + 1e-6
    assert within(cells, counts, found.weights, 0) < within(cells, counts, np.ones(len(cells)), 0)


def test_a_label_that_nobody_has_says_nothing():
    cells, counts = planted(5)
    attribute = Attribute((cells[:, 1] == 1).astype(float), np.ones(len(cells)), 0.5)
    found = match(counts, [attribute], [np.zeros(len(cells))], 0.0, 0.0, (0.0, 10.0), 100.0)
    assert found.empty == 1
    assert within(cells, counts, found.weights) == pytest.approx(0.5, abs=1e-4)


def test_samples_outside_the_group_are_no_base():
    # half of the samples have no gender term: the share among the others is what is matched
    cells = np.array([[0, 1], [0, 0], [0, 2]])
    counts = np.array([10.0, 40.0, 50.0])
    attribute = Attribute(np.array([1.0, 0, 0]), np.array([1.0, 1, 0]), 0.5)
    found = match(counts, [attribute], [], 0.0, 0.0, (0.0, 10.0), 100.0)
    p = counts * found.weights
    assert p[0] == pytest.approx(p[1], rel=1e-3)
    assert cells.shape == (3, 2)


@pytest.mark.parametrize("bad", [{"first": -0.1}, {"bounds": (1.5, 2.0)}, {"penalty": 0.0}])
def test_impossible_settings_are_refused(bad):
    cells, counts = planted(6)
    with pytest.raises(ValueError, match="bounds must hold 1"):
        solve(cells, counts, **bad)
