"""A membership survives the way into a parquet column and back."""

import numpy as np
import pyarrow as pa
import pytest

from audit.groups import Assigner, Group, Membership
from audit.groups.columns import from_column, to_column


def pairs(membership):
    return sorted((int(r), membership.values[int(c)]) for r, c in zip(membership.rows, membership.codes, strict=True))


def test_values_of_a_sample_are_sorted_and_none_is_an_empty_list():
    membership = Membership("g", ("b", "a"), np.array([0, 0, 2]), np.array([0, 1, 0]))
    assert to_column(membership, 4).to_pylist() == [["a", "b"], [], ["b"], []]


@pytest.mark.parametrize("seed", range(20))
def test_there_and_back_says_the_same(seed):
    random = np.random.default_rng(seed)
    names = [f"v{i}" for i in random.permutation(random.integers(1, 8))]
    found = sorted(
        {(int(random.integers(50)), int(random.integers(len(names)))) for _ in range(random.integers(0, 90))}
    )
    rows = np.array([r for r, _ in found], dtype=np.int64)
    codes = np.array([c for _, c in found], dtype=np.int64)
    membership = Membership("g", tuple(names), rows, codes)
    column = to_column(membership, 50)
    # a slice of a larger array, and several chunks, as parquet gives them
    chunked = pa.chunked_array([column.slice(0, 20), column.slice(20)])
    assert pairs(from_column("g", chunked)) == pairs(membership)
    assert pairs(from_column("g", column)) == pairs(membership)


def test_no_rows_and_no_values():
    empty = Assigner([Group("g", "place")]).assign(pa.table({"caption": pa.array([], pa.string())}))[0]
    assert to_column(empty, 0).to_pylist() == []
    assert pairs(from_column("g", to_column(empty, 3))) == []
