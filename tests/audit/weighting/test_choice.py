"""The choice by lottery: only samples of over-full values go, whoever stays is the same however rows are ordered."""

import numpy as np
import pytest

from audit.weighting.choice import Coded, Quota, choose, last_in_line, parity
from audit.weighting.quotas import fraction


def coded(values, names):
    order = sorted(set(names))
    return Coded(tuple(order), np.array([order.index(v) if v else -1 for v in values]))


def population(seed=0, n=4000):
    random = np.random.default_rng(seed)
    region = random.choice(["Africa", "Asia", "Europe", ""], n, p=[0.05, 0.15, 0.5, 0.3])
    gender = random.choice(["feminine", "masculine", "mixed", ""], n, p=[0.1, 0.3, 0.05, 0.55])
    lottery = random.integers(0, 2**63, (2, n), dtype=np.uint64)
    groups = {
        "region": coded(region, ["Africa", "Asia", "Europe"]),
        "gender": coded(gender, ["feminine", "masculine", "mixed"]),
    }
    return groups, lottery


def test_the_first_by_ticket_stay():
    group = coded(["a", "a", "b", "", "a"], ["a", "b"])
    alive = np.array([True, True, True, True, True])
    tickets = np.array([5, 1, 0, 9, 3], dtype=np.uint64)
    assert last_in_line(group, alive, {"a": 1}, tickets).tolist() == [True, False, False, False, True]
    assert last_in_line(group, alive, {"a": 0, "b": 0}, tickets).tolist() == [True, True, True, False, True]
    alive[1] = False
    assert last_in_line(group, alive, {"a": 1}, tickets).tolist() == [True, False, False, False, False]


def test_two_quotas_are_both_reached_and_who_has_no_value_stays():
    groups, lottery = population()
    alive = np.ones(4000, dtype=bool)
    quotas = [
        Quota("region", {"Africa": fraction(0.2), "Asia": fraction(0.2)}, None, 0.9),
        parity("gender", ["feminine", "masculine"], 0.9),
    ]
    found = choose(groups, alive, quotas, lottery)
    assert found.settled
    assert all(one.reached for one in found.filled)
    left = alive & ~found.dropped[0] & ~found.dropped[1]
    regions, genders = groups["region"].counts(left), groups["gender"].counts(left)
    assert regions["Africa"] >= 0.2 * sum(regions.values())
    assert regions["Asia"] >= 0.2 * sum(regions.values())
    assert genders["feminine"] == genders["masculine"]
    nobody = (groups["region"].codes < 0) & (groups["gender"].codes < 0)
    assert left[nobody].all()
    assert left[groups["gender"].codes == 2][groups["region"].codes[groups["gender"].codes == 2] < 0].all()


def test_one_quota_never_takes_from_the_value_that_it_is_for():
    groups, lottery = population(1)
    found = choose(groups, np.ones(4000, dtype=bool), [Quota("region", {"Africa": fraction(0.2)}, None, 0.9)], lottery)
    assert not found.dropped[0][groups["region"].codes == 0].any()
    assert found.turns == 2


def test_what_a_quota_may_leave_out_is_bounded():
    groups, lottery = population(2)
    had = sum(groups["region"].counts(np.ones(4000, dtype=bool)).values())
    found = choose(
        groups, np.ones(4000, dtype=bool), [Quota("region", {"Africa": fraction(0.5)}, None, 0.25)], lottery
    )
    assert not found.filled[0].reached
    assert found.dropped[0].sum() == int(0.25 * had)
    assert found.filled[0].short["Africa"] == pytest.approx(groups["region"].counts(~found.dropped[0])["Africa"] / (
        had - found.dropped[0].sum()))  # fmt: skip
    assert found.settled


def test_the_order_of_rows_changes_nothing():
    groups, lottery = population(3)
    quotas = [Quota("region", {"Africa": fraction(0.2)}, None, 0.9), parity("gender", ["feminine", "masculine"], 0.9)]
    one = choose(groups, np.ones(4000, dtype=bool), quotas, lottery)
    order = np.random.default_rng(9).permutation(4000)
    turned = {name: Coded(group.values, group.codes[order]) for name, group in groups.items()}
    other = choose(turned, np.ones(4000, dtype=bool), quotas, lottery[:, order])
    for mine, theirs in zip(one.dropped, other.dropped, strict=True):
        assert (mine[order] == theirs).all()


def test_nobody_alive_and_no_quota():
    groups, lottery = population(4)
    nobody = np.zeros(4000, dtype=bool)
    found = choose(groups, nobody, [Quota("region", {"Africa": fraction(0.2)}, None, 0.9)], lottery)
    assert found.settled
    assert not found.dropped[0].any()
    assert choose(groups, ~nobody, [], []).settled
