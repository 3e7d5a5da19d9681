"""Cells hold like samples whatever the order; margins keep the share of whom their targets do not speak of."""

import numpy as np
import pytest

from audit.weighting.cells import cells, margin
from audit.weighting.choice import Coded
from audit.weighting.statement import View, value_table

GROUP = Coded(("Africa", "Asia", "Europe"), np.array([0, 1, 1, 2, 2, 2, 2, -1, -1, -1]))


def test_cells_count_like_samples_and_do_not_depend_on_order():
    random = np.random.default_rng(0)
    columns = [random.integers(0, 4, 500), random.integers(-1, 3, 500)]
    found = cells(columns, 500)
    assert found.counts.sum() == 500
    for cell in range(len(found.counts)):
        mine = found.of == cell
        assert mine.sum() == found.counts[cell]
        assert all((column[mine] == column[found.first[cell]]).all() for column in columns)
    order = random.permutation(500)
    other = cells([column[order] for column in columns], 500)
    assert (other.of == found.of[order]).all()
    assert cells([], 3).counts.tolist() == [3]


def test_targets_below_one_leave_the_rest_its_place():
    one = margin(GROUP, {"Africa": 0.5}, closed=False)
    assert one.codes.tolist() == [0, 1, 1, 1, 1, 1, 1, 2, 2, 2]
    assert one.target(one.codes, np.ones(10)) == pytest.approx([0.35, 0.35, 0.3], abs=1e-12)


def test_targets_that_add_up_to_one_speak_of_the_named_values():
    one = margin(GROUP, {"Africa": 0.5, "Asia": 0.5}, closed=True)
    assert one.codes.tolist() == [0, 1, 1, 3, 3, 3, 3, 3, 3, 3]
    assert one.target(one.codes, np.ones(10)) == pytest.approx([0.15, 0.15, 0.0, 0.7], abs=1e-12)


def test_a_value_without_samples_leaves_its_share_to_the_group_and_not_to_those_outside():
    one = margin(GROUP, {"Oceania": 0.5, "Africa": 0.1}, closed=False)
    found = one.target(one.codes, np.ones(10))
    assert found == pytest.approx([0.7 * 0.2, 0, 0.7 * 0.8, 0.3], abs=1e-12)


def test_a_table_of_values_by_hand():
    before = np.ones(10, dtype=bool)
    after = np.array([1, 1, 1, 1, 0, 0, 0, 1, 1, 1], dtype=bool)
    view = View(before, after, np.where(after, 1.0, 0.0) + np.r_[2.0, np.zeros(9)])
    table = value_table("region", GROUP, view, {"Oceania": {"least": 0.1}})
    found = {row["value"]: row for row in table["values"]}
    assert list(found) == ["Oceania", "Europe", "Asia", "Africa"]
    assert found["Oceania"]["before"] == {"count": 0, "share": 0.0}
    assert found["Europe"]["before"] == {"count": 4, "share": pytest.approx(4 / 7)}
    assert found["Africa"]["after"] == {"count": 1, "share": 0.25}
    assert found["Africa"]["weighted"]["share"] == pytest.approx(3 / 6)
    nobody = value_table("region", GROUP, View(~before, ~before, np.zeros(10)), {"Asia": {"least": 0.1}})
    assert nobody["values"][0]["after"]["share"] is None
