"""Which sample stays: deterministic, by the stated order, and only among the living."""

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from filters.selection import over_cap, preference_key, repeated, representatives


def all_near(row, others):
    return np.ones(len(others), bool)


def test_the_ends_of_a_chain_both_stay():
    codes = np.array([0b0011, 0b0001, 0b0000, 0b1111])
    order = np.array([0, 1, 2, 3])

    def near(row, others):
        return np.bitwise_count(codes[others] ^ codes[row]) <= 1

    assert representatives(np.zeros(4, int), np.ones(4, bool), [order], near).tolist() == [0, 0, 2, 3]


def test_the_first_living_row_of_a_uid_stays():
    uids = np.array(["a", "b", "a", "a"])
    assert repeated(uids, np.array([True] * 4)).tolist() == [0, 1, 0, 0]
    assert repeated(uids, np.array([False, True, True, True])).tolist() == [0, 1, 2, 2]


def test_the_best_living_member_stays_and_nan_is_worst():
    clusters = np.array([0, 0, 0, -1, 4, 4])
    similarity = preference_key("similarity", {"similarity": np.array([np.nan, 0.2, 0.9, 0.1, 0.5, 0.5])})
    uid = np.array(["f", "e", "d", "c", "b", "a"])
    alive = np.array([True, True, False, True, True, True])
    assert representatives(clusters, alive, [similarity, uid], all_near).tolist() == [1, 1, -1, 3, 5, 5]


def test_resolution_is_the_number_of_pixels():
    key = preference_key("resolution", {"width": np.array([10, 20.0]), "height": np.array([10, 4.0])})
    assert representatives(np.array([0, 0]), np.array([True, True]), [key], all_near).tolist() == [0, 0]


@given(st.lists(st.tuples(st.sampled_from(["x", "y", ""]), st.booleans()), min_size=1, max_size=60), st.integers(1, 9))
def test_a_cap_leaves_exactly_the_cap_and_does_not_depend_on_the_order(rows, cap):
    groups = np.array([group for group, _ in rows], dtype=object)
    alive = np.array([living for _, living in rows])
    uids = np.array([f"{i:032x}" for i in range(len(rows))])
    over = over_cap(groups, uids, alive, cap, seed=1)
    for group in ("x", "y"):
        members = alive & (groups == group)
        assert (members & ~over).sum() == min(cap, members.sum())
    assert not over[~alive].any()
    assert not over[groups == ""].any()
    back = np.arange(len(rows))[::-1]
    assert (over_cap(groups[back], uids[back], alive[back], cap, seed=1)[back] == over).all()


def test_another_seed_draws_other_samples():
    groups, uids = np.array(["g"] * 100, dtype=object), np.array([f"{i:032x}" for i in range(100)])
    alive = np.ones(100, bool)
    draws = {over_cap(groups, uids, alive, 50, seed).tobytes() for seed in range(4)}
    assert len(draws) == 4


def test_the_member_of_the_rarest_group_stays_and_counts_go_on():
    clusters = np.array([-1, -1, 2, 2, 4, 4, 6, 6, 6])
    groups = np.array(["x", "x", "x", "y", "x", "y", "y", "x", ""], dtype=object)
    key = np.array([0, 0, 0, 1, 0, 1, 0, 1, 0])
    alive = np.ones(9, bool)
    stays = representatives(clusters, alive, [key], all_near, groups)
    # y has none, so 3; then one of y and two of x, so 5; then both have two, so the better one
    assert stays.tolist() == [0, 1, 3, 3, 5, 5, 6, 6, 6]
    assert representatives(clusters, alive, [key], all_near).tolist() == [0, 1, 2, 2, 4, 4, 6, 6, 6]


def test_a_row_without_a_group_stays_only_where_nobody_has_one():
    groups = np.array(["", "x", "", ""], dtype=object)
    stays = representatives(np.array([0, 0, 2, 2]), np.ones(4, bool), [np.arange(4)], all_near, groups)
    assert stays.tolist() == [1, 1, 2, 2]


def test_a_smaller_rank_of_licence_and_an_earlier_date_are_better():
    for name in ("licence", "date"):
        key = preference_key(name, {name: np.array([3.0, 1.0, np.nan])})
        assert representatives(np.zeros(3, int), np.ones(3, bool), [key], all_near).tolist() == [1, 1, 1]
    key = preference_key("aesthetic", {"aesthetic": np.array([3.0, 5.0, np.nan])})
    assert representatives(np.zeros(3, int), np.ones(3, bool), [key], all_near).tolist() == [1, 1, 1]


def test_one_very_long_name_costs_no_more_than_its_own_length():
    groups = np.array(["flower"] * 20_000, dtype=object)
    groups[7] = "name" * 4000
    uids = np.array([f"{i:032x}" for i in range(len(groups))])
    tracemalloc.start()
    over = over_cap(groups, uids, np.ones(len(groups), dtype=bool), 40, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert over.sum() == len(groups) - 1 - 40
    assert not over[7]
    assert peak < 20_000_000
