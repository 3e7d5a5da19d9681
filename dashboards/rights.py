"""Rights in the report: what the signals said, what the registry named, what was taken out afterwards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from dashboards.text import clean
from pipelines.jobs.match import pinned
from pipelines.jobs.rights import matches_part
from pipelines.retraction.versions import retraction_records
from pipelines.run.directory import Run

#: Rows of a table that a page can bear.
ROWS = 40


@dataclass(frozen=True)
class ChannelRow:
    """One channel: how many signals of each kind it gave."""

    channel: str
    deny: int
    unreadable: int
    allow: int
    unknown: int


@dataclass(frozen=True)
class RetractionRow:
    """One retraction: when, for how many requests, who left and who followed, and the version that it made."""

    at: str
    requests: int
    left: int
    came: int
    after: str


@dataclass(frozen=True)
class RightsFacts:
    """All that the report tells of rights. `registry` says what was consulted; `matched` counts match rows."""

    channels: list[ChannelRow]
    registry: str
    matched: list[tuple[str, int]]
    retractions: list[RetractionRow]


def rights_facts(run: Run) -> RightsFacts:
    """Count the run's signals and matches, and read its registry state and retractions."""
    signals: Counter[tuple[str, str]] = Counter()
    matched: Counter[str] = Counter()
    for index in run.parts("samples"):
        signals += _count(run.table("signals", index, ["channel", "verdict", "unreadable"]))
        found = matches_part(run, index)
        for kind, outcome in zip(
            *(found.column(n).cast(pa.string()).to_pylist() for n in ("kind", "outcome")), strict=True
        ):
            matched[f"{clean(kind, 40)}, {clean(outcome, 20)}"] += 1
    names = sorted({channel for channel, _ in signals})
    channels = [
        ChannelRow(clean(name, 60), *(signals[name, word] for word in ("deny", "unreadable", "allow", "unknown")))
        for name in names[:ROWS]
    ]
    retractions = [
        RetractionRow(
            clean(record.get("at"), 30),
            len(record.get("entries", [])),
            len(record.get("left", [])),
            len(record["came"]),
            clean(record["after"], 64),
        )
        for record in retraction_records(run.store)[-ROWS:]
    ]
    return RightsFacts(channels, _registry(run), sorted(matched.items())[:ROWS], retractions)


def _registry(run: Run) -> str:
    state = pinned(run)
    if state is None:
        return "No opt-out registry was consulted."
    day = state.at.date().isoformat()
    return f"Registry consulted on {day}: {state.seq} entries, the last with hash {clean(state.hash, 64)}."


def _count(table: pa.Table) -> Counter[tuple[str, str]]:
    """Count signals by channel and verdict; unreadable ones apart."""
    verdict = table.column("verdict").cast(pa.string())
    word = pc.if_else(table.column("unreadable"), "unreadable", verdict)
    pairs = pa.table({"channel": table.column("channel").cast(pa.string()), "word": word})
    found = pairs.group_by(["channel", "word"]).aggregate([([], "count_all")])
    rows = zip(*(found.column(name).to_pylist() for name in ("channel", "word", "count_all")), strict=True)
    return Counter({(channel, word): count for channel, word, count in rows})
