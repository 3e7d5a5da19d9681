"""Counts of a run by group, from parts of ledger and samples: small, exact, and added up in any order.

A part gives a `Counter` whose keys are `Key`s; adding counters (in Beam: CombinePerKey(sum)) gives the run's counts.
Cells that are zero are not stored. What is counted (`outcome`):

- `all`: samples; `kept`: those that the ledger keeps
- `first:CODE`: dropped with that primary reason; over all codes these add up to `all` - `kept`
- `reached:STAGE`: samples that no reason of an earlier stage (`filters.reasons.Stage`) stopped; a later stage may
never
  have looked at the others (what cannot be decoded has no score), so they are no base for its rates
- `failed:CODE`: of those that reached the code's stage, samples that the reason applies to, whatever else does
- `only:CODE`: the reason applies and no other one does: what the rule alone removes
- `weight`, `weight2`: the ledger's weights of the kept samples, and their squares, in units of 1 / `UNIT`: whole
  numbers, so that their sums do not depend on the order either
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from audit.groups.assign import Membership
from filters.errors import BadInput
from filters.reasons import Reason, Stage
from filters.rules import mask, masks_of_lists

_CODES = [reason.value for reason in Reason]
_STAGES = [stage.value for stage in Stage]
_OUTCOMES = [
    "all",
    "kept",
    *(f"reached:{stage}" for stage in _STAGES),
    *(f"{how}:{code}" for how in ("first", "failed", "only") for code in _CODES),
    "weight",
    "weight2",
]
#: What one is counted as in the sums of weights.
UNIT = 1 << 20
#: Sums of so many units are refused: half of what 64 bits hold, so that no rounding of single squares gets past it.
_MOST = 1 << 62
#: The value that `Tally.listing` makes of many. Values of samples have no space at their ends.
OTHERS = " others"
_REACHED = 2
_FIRST, _FAILED, _ONLY = (_REACHED + len(_STAGES) + i * len(_CODES) for i in range(3))
_STAGE_OF_CODE = np.array([_STAGES.index(reason.stage.value) for reason in Reason])
#: For each stage the reasons of all stages before it, as a mask.
_EARLIER = np.array(
    [mask(*(r for r in Reason if _STAGES.index(r.stage.value) < number)) for number in range(len(_STAGES))],
    dtype=np.uint64,
)


class Key(NamedTuple):
    """What one count is of: a value of a group, or a pair of values of two groups; empty strings where not."""

    group: str
    value: str
    other: str
    other_value: str
    outcome: str


TABLE = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in Key._fields),
        pa.field("count", pa.int64(), nullable=False),
    ]
)


def tally(ledger: pa.Table, memberships: Sequence[Membership], pairs: Iterable[tuple[str, str]] = ()) -> Counter[Key]:
    """Count one part. `ledger` (n rows) has `decision`, `reasons` and, where samples are weighed, `weight`;
    memberships speak of the same rows.

    `pairs` names the groups to cross, such as (concepts, groups) or two groups for an intersection. Raises `BadInput`
    for weights whose squares do not add up in 64 bits.
    """
    outcomes = _outcomes(ledger)
    by_name = {membership.group: membership for membership in memberships}
    counts: Counter[Key] = Counter()
    _add(counts, sparse.csr_matrix(np.ones((1, ledger.num_rows), dtype=np.int64)) @ outcomes, [("", "", "", "")])
    for membership in memberships:
        cells = [(membership.group, value, "", "") for value in membership.values]
        _add(counts, _indicator(membership, ledger.num_rows).T @ outcomes, cells)
    for one, other in pairs:
        crossed, cells = _crossed(by_name[one], by_name[other], ledger.num_rows)
        _add(counts, crossed.T @ outcomes, cells)
    return counts


def _outcomes(ledger: pa.Table) -> sparse.csr_matrix:
    """Return the outcomes of each row as a matrix of 0 and 1 (rows, outcomes)."""
    masks = masks_of_lists(ledger.column("reasons"))
    kept = pc.equal(ledger.column("decision").cast(pa.string()), "kept").to_numpy()
    bits = (masks[:, None] >> np.arange(len(_CODES), dtype=np.uint64)) & np.uint64(1)
    rows, codes = np.nonzero(bits)
    first = np.r_[True, rows[1:] != rows[:-1]] if len(rows) else np.zeros(0, dtype=bool)
    only = first & np.r_[first[1:], True] if len(rows) else first
    reached = (masks[:, None] & _EARLIER) == 0
    reached_rows, stages = np.nonzero(reached)
    failed = reached[rows, _STAGE_OF_CODE[codes]]
    everyone = np.arange(len(masks))
    row = np.concatenate([everyone, everyone[kept], reached_rows, rows[first], rows[failed], rows[only]])
    column = np.concatenate(
        [
            np.zeros(len(masks), dtype=np.int64),
            np.ones(int(kept.sum()), dtype=np.int64),
            stages + _REACHED,
            codes[first] + _FIRST,
            codes[failed] + _FAILED,
            codes[only] + _ONLY,
        ]
    )
    data = np.ones(len(row), dtype=np.int64)
    weighed, weights = _weights(ledger, kept)
    row, data = np.concatenate([row, weighed, weighed]), np.concatenate([data, *_units(weights)])
    column = np.concatenate([column, np.repeat([len(_OUTCOMES) - 2, len(_OUTCOMES) - 1], len(weighed))])
    return sparse.csr_matrix((data, (row, column)), shape=(len(masks), len(_OUTCOMES)))


def _weights(ledger: pa.Table, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the kept rows and their weights; none where the ledger has no weights."""
    if "weight" not in ledger.column_names:
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    weights = pc.fill_null(ledger.column("weight").cast(pa.float64()), 0.0).to_numpy()
    rows = np.flatnonzero(kept & (weights > 0) & np.isfinite(weights))
    return rows, weights[rows]


def _units(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weights and their squares in whole units. Raises `BadInput` where these do not add up in 64 bits."""
    _check_squares(float(weights @ weights) * UNIT)
    return np.rint(weights * UNIT).astype(np.int64), np.rint(weights**2 * UNIT).astype(np.int64)


def _check_squares(units: float) -> None:
    if units >= _MOST:
        raise BadInput(
            f"the squares of the weights add up to {units / UNIT:.3g}, the audit can count to {_MOST / UNIT:.3g}:"
            " bound the weights by balance.rake.trim or by smaller factors in balance.by_group"
        )


def _indicator(membership: Membership, rows: int) -> sparse.csr_matrix:
    ones = np.ones(len(membership.rows), dtype=np.int64)
    shape = (rows, max(1, len(membership.values)))
    return sparse.csr_matrix((ones, (membership.rows, membership.codes)), shape=shape)


def _crossed(
    one: Membership, other: Membership, rows: int
) -> tuple[sparse.csr_matrix, list[tuple[str, str, str, str]]]:
    """Return the pairs of values that samples have as an indicator (rows, pairs), and what each pair is."""
    start = np.searchsorted(other.rows, np.arange(rows + 1))
    repeats = (start[1:] - start[:-1])[one.rows]
    row = np.repeat(one.rows, repeats)
    offset = np.arange(len(row)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    theirs = other.codes[start[row] + offset] if len(row) else np.zeros(0, dtype=np.int64)
    width = max(1, len(other.values))
    distinct, cell = np.unique(np.repeat(one.codes, repeats) * width + theirs, return_inverse=True)
    shape = (rows, max(1, len(distinct)))
    matrix = sparse.csr_matrix((np.ones(len(row), dtype=np.int64), (row, cell.reshape(-1))), shape=shape)
    named = [(one.group, one.values[pair // width], other.group, other.values[pair % width]) for pair in distinct]
    return matrix, named


def _add(counts: Counter[Key], matrix: sparse.csr_matrix, cells: Sequence[tuple[str, str, str, str]]) -> None:
    found = matrix.tocoo()
    for cell, outcome, count in zip(found.row.tolist(), found.col.tolist(), found.data.tolist(), strict=True):
        counts[Key._make((*cells[cell], _OUTCOMES[outcome]))] += count


@dataclass(frozen=True)
class Tally:
    """All counts of a run, with the ways to ask for them. A cell that is not there counts zero."""

    counts: Mapping[Key, int]

    @staticmethod
    def of(parts: Iterable[Mapping[Key, int]]) -> Tally:
        """Add the counts of parts, in any order."""
        total: Counter[Key] = Counter()
        for part in parts:
            total.update(part)
        return Tally(total)

    @cached_property
    def _values(self) -> dict[str, list[str]]:
        found: dict[str, set[str]] = {}
        for key in self.counts:
            if key.group and not key.other:
                found.setdefault(key.group, set()).add(key.value)
        return {group: sorted(values) for group, values in found.items()}

    @property
    def groups(self) -> list[str]:
        """The groups that at least one sample has a value of, sorted."""
        return sorted(self._values)

    def values(self, group: str) -> list[str]:
        """Return the values that samples have, sorted; none for a group that no sample is in."""
        return self._values.get(group, [])

    def total(self, outcome: str = "all") -> int:
        """Return the count over all samples, in a group or not."""
        return self.counts.get(Key("", "", "", "", outcome), 0)

    def count(self, group: str, value: str, outcome: str = "all") -> int:
        """Return the count of samples with a value."""
        return self.counts.get(Key(group, value, "", "", outcome), 0)

    def both(self, one: tuple[str, str], other: tuple[str, str], outcome: str = "all") -> int:
        """Return the count of samples with both values, each (group, value); the groups must have been crossed."""
        found = self.counts.get(Key(*one, *other, outcome))
        return self.counts.get(Key(*other, *one, outcome), 0) if found is None else found

    def weight(self, group: str = "", value: str = "", squared: bool = False) -> float:
        """Return the sum of the kept samples' weights (or their squares) with a value; over all without one."""
        return self.count(group, value, "weight2" if squared else "weight") / UNIT

    def by(self, group: str, outcome: str = "all") -> dict[str, int]:
        """Return the counts by value, sorted by value."""
        return {value: self.count(group, value, outcome) for value in self.values(group)}

    def without(self, group: str, value: str) -> Tally:
        """Return the counts but for those of a value, crosses included; the counts over all samples stay."""
        gone = (group, value)
        return Tally(
            {k: n for k, n in self.counts.items() if gone not in ((k.group, k.value), (k.other, k.other_value))}
        )

    def listing(self, group: str, values: Collection[str]) -> Tally:
        """Return the counts with all values of a group but `values` as one, `OTHERS`, in crosses too."""
        kept = set(values)
        found: Counter[Key] = Counter()
        for key, count in self.counts.items():
            if key.group == group and key.value not in kept:
                key = key._replace(value=OTHERS)
            if key.other == group and key.other_value not in kept:
                key = key._replace(other_value=OTHERS)
            found[key] += count
        return Tally(found)

    def reasons(self) -> list[str]:
        """Return the codes of the reasons that stopped a sample where it got to them, in order of precedence."""
        return [code for code in _CODES if self.total(f"failed:{code}")]

    def table(self) -> pa.Table:
        """Return the counts as a table of schema `TABLE`, sorted by key: the same run gives the same bytes.

        Raises `BadInput` where the squares of all weights are more than 64 bits hold.
        """
        _check_squares(self.total("weight2"))
        ordered = sorted(self.counts.items())
        columns = [pa.array([key[i] for key, _ in ordered], pa.string()) for i in range(len(Key._fields))]
        return pa.table([*columns, pa.array([count for _, count in ordered], pa.int64())], schema=TABLE)

    @staticmethod
    def from_table(table: pa.Table) -> Tally:
        """Read what `table` wrote."""
        columns = [table.column(name).to_pylist() for name in TABLE.names]
        return Tally({Key(*row[:-1]): row[-1] for row in zip(*columns, strict=True)})
