"""The funnel: from the samples that came in, by each reason, to the shards."""

from __future__ import annotations

from dataclasses import dataclass

from audit.counts import Counts
from audit.counts import funnel as steps_of
from dashboards.web.catalogue import Opened
from dashboards.web.query.samples import codes
from filters.reasons import BY_CODE
from filters.reasons import Reason as Reasons


@dataclass(frozen=True)
class Step:
    """One primary reason: how many it took, how many were left; to how many it applies at all, or alone."""

    reason: str
    stage: str
    meaning: str
    dropped: int
    left: int
    applies: int
    alone: int


@dataclass(frozen=True)
class Funnel:
    """All counts of a run. `adds_up`: samples = kept + dropped, and the shards hold what is kept.

    `shipped` is None where no shards were written yet.
    """

    samples: int
    kept: int
    dropped: int
    shipped: int | None
    shards: int
    adds_up: bool
    problems: list[str]
    steps: list[Step]


def counts_of(opened: Opened) -> Counts:
    """Return the ledger's counts by primary reason. A row that is neither kept nor has a reason does not add up."""
    rows = opened.reader.rows("SELECT kept, reason, sum(n) FROM counts GROUP BY ALL")
    kept = sum(int(n) for is_kept, _, n in rows if is_kept)
    reasons = list(Reasons)
    dropped = {reasons[reason].value: int(n) for is_kept, reason, n in rows if not is_kept and reason is not None}
    ordered = {reason.value: dropped[reason.value] for reason in reasons if reason.value in dropped}
    return Counts(sum(part.rows for part in opened.parts), kept, ordered)


def funnel(opened: Opened) -> Funnel:
    """Return the funnel, from the index's counts of the ledger and of the shards' rows."""
    counts = counts_of(opened)
    applies: dict[str, int] = {}
    alone: dict[str, int] = {}
    for bits, n in opened.reader.rows("SELECT mask, sum(n) FROM masks WHERE mask <> 0 GROUP BY mask"):
        found = codes(int(bits))
        for code in found:
            applies[code] = applies.get(code, 0) + int(n)
        if len(found) == 1:
            alone[found[0]] = alone.get(found[0], 0) + int(n)
    steps = [
        Step(
            s.reason,
            s.stage,
            BY_CODE[s.reason].meaning,
            s.dropped,
            s.left,
            applies.get(s.reason, 0),
            alone.get(s.reason, 0),
        )
        for s in steps_of(counts)
    ]
    ((shards, rows),) = opened.reader.rows("SELECT shards, rows FROM shards")
    shipped = int(rows) if shards or opened.run.finished() else None
    problems = _problems(counts, shipped)
    return Funnel(
        counts.samples,
        counts.kept,
        sum(counts.dropped.values()),
        shipped,
        int(shards),
        not problems,
        problems,
        steps,
    )


def _problems(counts: Counts, shipped: int | None) -> list[str]:
    found = []
    if not counts.balanced:
        known = counts.kept + sum(counts.dropped.values())
        found.append(f"{counts.samples:,} samples came in, the ledger accounts for {known:,}.")
    if shipped is not None and shipped != counts.kept:
        found.append(f"{counts.kept:,} samples are kept, the shards hold {shipped:,}.")
    return found
