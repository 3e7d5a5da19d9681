"""Counts of a run, all derived from ledger columns, and the check that they add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from filters.reasons import BY_CODE, PRECEDENCE


@dataclass(frozen=True)
class Counts:
    """Samples of a run by decision. `dropped` counts primary reasons, in order of precedence."""

    samples: int
    kept: int
    dropped: dict[str, int]

    @property
    def balanced(self) -> bool:
        """Tell whether samples = kept + the sum over primary reasons."""
        return self.samples == self.kept + sum(self.dropped.values())


@dataclass(frozen=True)
class Step:
    """One step of the funnel: the reason, how many it took, and how many were left after it."""

    reason: str
    stage: str
    dropped: int
    left: int


def count(ledger: Iterable[pa.Table], samples: int) -> Counts:
    """Count ledger parts. `samples` comes from the samples parts, so that a lost row shows.

    Rows are counted by their primary reason, and rows marked kept separately: a row that is neither (or
    both) makes the counts not balance.
    """
    kept = 0
    dropped: Counter[str] = Counter()
    for table in ledger:
        decision = table.column("decision").cast(pa.string())
        kept += pc.sum(pc.equal(decision, "kept")).as_py() or 0
        found = table.filter(pc.equal(decision, "dropped")).column("primary_reason").cast(pa.string())
        for item in pc.value_counts(found.combine_chunks()).to_pylist():
            if item["values"] is not None:
                dropped[item["values"]] += item["counts"]
    ordered = sorted(dropped, key=lambda code: PRECEDENCE[BY_CODE[code]])
    return Counts(samples, kept, {code: dropped[code] for code in ordered})


def funnel(counts: Counts) -> list[Step]:
    """Return what each primary reason took, in order of precedence, and what was left after it."""
    left = counts.samples
    steps = []
    for code, taken in counts.dropped.items():
        left -= taken
        steps.append(Step(code, BY_CODE[code].stage.value, taken, left))
    return steps
