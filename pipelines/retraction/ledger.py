"""The ledger while a retraction works on it: parts are read when asked for, and only changed ones are written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from filters.reasons import BY_CODE, PRECEDENCE, Reason
from filters.rules import mask, masks_of_lists, primary_codes, reason_lists
from pipelines.jobs.decide import content_digest
from pipelines.jobs.dedup_choice import DUPLICATE
from pipelines.run.directory import Run
from pipelines.run.parts import PartWriter, part_name


@dataclass
class _Part:
    """One part's columns that a retraction changes, rows as in `samples`."""

    table: pa.Table
    masks: np.ndarray
    duplicate_of: list[str | None]
    methods: list[str | None]
    distances: list[float | None]
    shards: list[int | None]
    weights: list[float | None]
    alike: list[str | None]
    changed: bool = False


@dataclass
class LedgerEditor:
    """Reads and edits single rows of a run's ledger by position (rows of all parts in order)."""

    run: Run
    starts: np.ndarray
    _parts: dict[int, _Part] = field(default_factory=dict)
    #: Samples that left and came by primary reason; None stands for kept.
    delta: Counter[str | None] = field(default_factory=Counter)

    @classmethod
    def open(cls, run: Run) -> LedgerEditor:
        """Return the editor of a run's ledger; reads only the parts' markers."""
        rows = [run.marker("ledger", index).rows for index in run.parts("ledger")]
        return cls(run, np.concatenate([[0], np.cumsum(rows, dtype=np.int64)]))

    def place(self, position: int) -> tuple[int, int]:
        """Return part and row of a position."""
        part = int(np.searchsorted(self.starts, position, side="right")) - 1
        return part, position - int(self.starts[part])

    def position(self, part: int, row: int) -> int:
        """Return the position of a row of a part."""
        return int(self.starts[part]) + row

    def row(self, position: int) -> dict[str, Any]:
        """Return uid, group, cluster and the state as it is by now of one row."""
        index, row = self.place(position)
        part = self._part(index)
        fixed = {name: part.table.column(name)[row].as_py() for name in ("uid", "group", "cluster")}
        state: dict[str, Any] = {"duplicate_of": part.duplicate_of[row], "shard": part.shards[row]}
        state |= {"duplicate_method": part.methods[row], "duplicate_distance": part.distances[row]}
        state["alike_opt_out"] = part.alike[row]
        return {**fixed, **state, "mask": part.masks[row]}

    def drop(self, position: int, reasons: np.uint64) -> int | None:
        """Add reasons to a row; return the shard that held it, None where it was dropped before."""
        index, row = self.place(position)
        part = self._part(index)
        shard = part.shards[row]
        self._set(part, row, part.masks[row] | reasons)
        part.shards[row] = part.weights[row] = part.alike[row] = None
        return shard

    def promote(self, position: int, shard: int) -> None:
        """Keep a row that was a duplicate, in an output shard."""
        index, row = self.place(position)
        part = self._part(index)
        self._set(part, row, np.uint64(0))
        part.duplicate_of[row], part.shards[row], part.weights[row] = None, shard, 1.0
        part.methods[row] = part.distances[row] = None

    def flag_alike(self, position: int, uid: str) -> None:
        """Note for whoever judges look-alikes that a kept row is a duplicate of the opted-out sample `uid`."""
        index, row = self.place(position)
        part = self._part(index)
        part.alike[row], part.changed = uid, True

    def stand_behind(self, position: int, uid: str, reason: Reason, method: str, distance: float) -> None:
        """Let a dropped duplicate name another sample as the one that is kept in its place, and how it is known."""
        index, row = self.place(position)
        part = self._part(index)
        self._set(part, row, (part.masks[row] & ~DUPLICATE) | mask(reason))
        part.duplicate_of[row], part.methods[row], part.distances[row] = uid, method, distance

    def _set(self, part: _Part, row: int, new: np.uint64) -> None:
        self.delta[_primary(part.masks[row])] -= 1
        self.delta[_primary(new)] += 1
        part.masks[row] = new
        part.changed = True

    def changed(self) -> list[int]:
        """Return the parts that have changed rows."""
        return sorted(index for index, part in self._parts.items() if part.changed)

    def write(self, run: Run) -> None:
        """Write the changed parts to `run` (its store is the staged one)."""
        for index in self.changed():
            part = self._parts[index]
            marker = self.run.marker("ledger", index)
            table = _rebuilt(part)
            writer = PartWriter(run.store, part_name("ledger", index, ""), marker.fingerprint)
            writer.add_table(part_name("ledger", index), table)
            kept = int((part.masks == 0).sum())
            writer.commit(marker.rows, {**marker.facts, "kept": kept, "content": content_digest(table)})

    def _part(self, index: int) -> _Part:
        if index not in self._parts:
            table = self.run.table("ledger", index)
            names = ("duplicate_of", "duplicate_method", "duplicate_distance", "shard", "weight", "alike_opt_out")
            lists = [table.column(name).to_pylist() for name in names]
            self._parts[index] = _Part(table, masks_of_lists(table.column("reasons")), *lists)
        return self._parts[index]


def _primary(found: np.uint64) -> str | None:
    code: str | None = primary_codes(np.array([found], dtype=np.uint64))[0].as_py()
    return code


def _rebuilt(part: _Part) -> pa.Table:
    kept = part.masks == 0
    decision = pa.DictionaryArray.from_arrays(
        pa.array(np.where(kept, 0, 1).astype(np.int8)), pa.array(["kept", "dropped"])
    )
    new = {
        "decision": decision,
        "primary_reason": primary_codes(part.masks),
        "reasons": reason_lists(part.masks),
        "weight": pa.array(part.weights, pa.float32()),
        "duplicate_of": pa.array(part.duplicate_of, pa.string()),
        "duplicate_method": pa.array(part.methods, part.table.schema.field("duplicate_method").type),
        "duplicate_distance": pa.array(part.distances, pa.float32()),
        "shard": pa.array(part.shards, pa.int32()),
        "alike_opt_out": pa.array(part.alike, pa.string()),
    }
    table = part.table
    for name, column in new.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), column)
    return table


def counts_after(before: dict[str, Any], delta: Counter[str | None]) -> dict[str, Any]:
    """Return a manifest's counts after the changes: samples stay, kept and dropped move."""
    dropped: Counter[str] = Counter(before["dropped"])
    dropped.update({code: number for code, number in delta.items() if code is not None})
    kept = int(before["kept"]) + delta[None]
    ordered = sorted((code for code in dropped if dropped[code]), key=lambda code: PRECEDENCE[BY_CODE[code]])
    return {"samples": before["samples"], "kept": kept, "dropped": {code: dropped[code] for code in ordered}}
