"""Values of a group as bits: a row's list becomes one number, by which samples are counted faster than by lists."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: Values that one number has room for. A group with more is counted by its lists.
MOST = 63


class Marks:
    """The bits of one group's values, in the order in which they first appear. Parts come in the order of the run."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._full = False

    @property
    def values(self) -> list[str]:
        """The values by bit; empty where there are more than `MOST`."""
        return [] if self._full else list(self._places)

    def of(self, lists: pa.Array | pa.ChunkedArray) -> pa.Array:
        """Return uint64 (n,) for lists of strings (n,): 0 for an empty list or none, nulls once there are too many.

        Rows before the value that was too many have bits; nobody reads them, as `values` is empty then.
        """
        rows = len(lists)
        if self._full:
            return pa.nulls(rows, pa.uint64())
        whole = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
        coded = pc.list_flatten(whole).dictionary_encode()
        for value in coded.dictionary.to_pylist():
            if value is not None:
                self._places.setdefault(value, len(self._places))
        if len(self._places) > MOST:
            self._full = True
            return pa.nulls(rows, pa.uint64())
        bits = np.array([1 << self._places[value] for value in coded.dictionary.to_pylist()] or [0], np.uint64)
        found = np.zeros(rows, np.uint64)
        valid = coded.is_valid().to_numpy(zero_copy_only=False)
        parents = pc.list_parent_indices(whole).to_numpy()[valid]
        np.bitwise_or.at(found, parents, bits[coded.indices.drop_null().to_numpy()])
        return pa.array(found)
