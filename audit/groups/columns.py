"""A group's values as a parquet column: one sorted list of strings a sample, empty where it has none."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from audit.groups.assign import Membership


def to_column(membership: Membership, rows: int) -> pa.ListArray:
    """Return the values of `rows` samples as list<string>, the values of each sorted."""
    order = sorted(range(len(membership.values)), key=membership.values.__getitem__)
    rank = np.zeros(max(1, len(order)), dtype=np.int64)
    rank[order] = np.arange(len(order))
    ranks = rank[membership.codes]
    sorting = np.lexsort((ranks, membership.rows))
    offsets = np.searchsorted(membership.rows[sorting], np.arange(rows + 1)).astype(np.int32)
    values = pa.array([membership.values[i] for i in order], pa.string())
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values.take(pa.array(ranks[sorting])))


def from_column(group: str, column: pa.Array | pa.ChunkedArray) -> Membership:
    """Return what `to_column` wrote as a membership; its values are sorted."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    encoded = pc.dictionary_encode(pc.list_flatten(column))
    named = encoded.dictionary.to_pylist()
    values = tuple(sorted(named))
    code = {value: i for i, value in enumerate(values)}
    codes = np.array([code[value] for value in named], dtype=np.int64)
    rows = pc.list_parent_indices(column).to_numpy(zero_copy_only=False).astype(np.int64)
    index = encoded.indices.to_numpy(zero_copy_only=False)
    return Membership(group, values, rows, codes[index] if len(codes) else np.zeros(0, dtype=np.int64))
