"""Quotas keep as many samples as whole numbers allow, leave out over-full values only, and say what cannot be."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from audit.weighting.quotas import fill, fraction, level


def shares(**given_):
    return {value: fraction(share) for value, share in given_.items()}


def test_a_fifth_of_each_by_hand():
    # 20 of Africa are a fifth of 100; the other three share 80 places, of which Asia keeps its fifth
    found = fill({"Africa": 20, "Asia": 30, "Europe": 500, "Americas": 60}, shares(Africa=0.2, Asia=0.2))
    assert found.keep == {"Africa": 20, "Asia": 26, "Europe": 27, "Americas": 27}
    assert (found.reached, found.total, found.short) == (True, 100, {})


def test_a_quota_that_holds_already_leaves_nothing_out():
    counts = {"a": 50, "b": 30, "c": 20}
    assert fill(counts, shares(a=0.4, c=0.2)).keep == counts


def test_parity_is_exact():
    assert fill({"f": 37, "m": 90}, {"f": Fraction(1, 2), "m": Fraction(1, 2)}).keep == {"f": 37, "m": 37}
    assert fill({"a": 10, "b": 11, "c": 12}, dict.fromkeys("abc", Fraction(1, 3))).keep == {"a": 10, "b": 10, "c": 10}


def test_small_values_without_a_minimum_stay_whole():
    found = fill({"Africa": 10, "Oceania": 3, "Europe": 1000}, shares(Africa=0.2))
    assert found.keep == {"Africa": 10, "Oceania": 3, "Europe": 37}


def test_a_value_without_samples_is_named_and_costs_nothing():
    found = fill({"Europe": 10}, shares(Africa=0.2))
    assert (found.keep, found.reached, found.absent, found.short) == (
        {"Europe": 10},
        False,
        ("Africa",),
        {"Africa": 0},
    )


def test_what_would_cost_too_much_comes_as_near_as_allowed():
    # a fifth of all would leave 5 * 4 = 20 of 1,004; half of all must stay, so 4 of 502
    found = fill({"Africa": 4, "Europe": 1000}, shares(Africa=0.2), least=502)
    assert found.keep == {"Africa": 4, "Europe": 498}
    assert not found.reached
    assert found.short == {"Africa": pytest.approx(4 / 502, abs=1e-12)}
    assert found.absent == ()


def test_no_samples_and_no_minimum():
    assert fill({}, {}).keep == {}
    assert fill({}, {}).reached
    assert not fill({"a": 0}, shares(a=0.5)).reached
    assert fill({"a": 3}, {}).keep == {"a": 3}


@pytest.mark.parametrize("minimum", [{"a": Fraction(0)}, {"a": Fraction(3, 5), "b": Fraction(1, 2)}])
def test_shares_that_are_none_are_refused(minimum):
    with pytest.raises(ValueError, match="minimum shares"):
        fill({"a": 1, "b": 1}, minimum)


CASES = st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(1, 400), min_size=n, max_size=n),
        st.lists(st.integers(0, 20), min_size=n, max_size=n),
        st.integers(20, 60),
    )
)


@settings(max_examples=150, deadline=None)
@given(CASES)
def test_no_choice_of_whole_samples_keeps_more(case):
    counts, parts, whole = case
    asked = [Fraction(part, max(whole, sum(parts))) for part in parts]
    names = [f"v{i}" for i in range(len(counts))]
    found = fill(dict(zip(names, counts, strict=True)), {n: m for n, m in zip(names, asked, strict=True) if m > 0})
    keep = np.array([found.keep[name] for name in names])
    # m_v T - k_v <= 0 for every v, 0 <= k_v <= n_v
    rows = np.outer([float(m) for m in asked], np.ones(len(names))) - np.eye(len(names))
    solved = milp(-np.ones(len(names)), constraints=LinearConstraint(rows, ub=1e-9), integrality=np.ones(len(names)),
                  bounds=Bounds(0, counts))  # fmt: skip
    best = round(-solved.fun)
    relaxed = -linprog(-np.ones(len(names)), A_ub=rows, b_ub=np.zeros(len(names)), bounds=[(0, n) for n in counts]).fun
    assert best <= relaxed + 1e-6
    if best == 0:
        # not one whole sample fits: the quota says so and leaves what it must
        assert not found.reached
        return
    assert found.reached
    assert found.total == best
    assert all(k >= m * found.total for k, m in zip(keep.tolist(), asked, strict=True))
    assert (keep <= counts).all()


@settings(max_examples=150, deadline=None)
@given(CASES, st.floats(0, 1))
def test_only_values_above_the_level_give(case, where):
    counts = {f"v{i}": count for i, count in enumerate(case[0])}
    lower = {name: min(count, case[1][i]) for i, (name, count) in enumerate(counts.items())}
    total = sum(lower.values()) + round(where * (sum(counts.values()) - sum(lower.values())))
    keep = level(counts, lower, total)
    assert sum(keep.values()) == total
    given_up = [name for name in counts if keep[name] < counts[name]]
    # water-filling: who gave has, but for one sample, no more than whoever stands above its lower bound
    for name in given_up:
        assert all(keep[name] + 1 >= keep[other] for other in counts if keep[other] > lower[other])
    assert all(lower[name] <= keep[name] <= counts[name] for name in counts)


def test_the_level_refuses_what_cannot_be():
    with pytest.raises(ValueError, match="no 7 samples"):
        level({"a": 3, "b": 3}, {}, 7)
    with pytest.raises(ValueError, match="no 1 samples"):
        level({"a": 3, "b": 3}, {"a": 2}, 1)
