"""Rights: what signals said by channel and verdict, what they cost, and what was taken out afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from dashboards.text import clean
from dashboards.web.catalogue import Opened
from dashboards.web.query.filters import BadFilter
from dashboards.web.query.rights_registry import RegistryFacts, registry_facts
from dashboards.web.query.rights_took import (
    CheckpointExposure,
    Receipt,
    Retraction,
    checkpoint_exposures,
    receipts,
    retractions,
)
from dashboards.web.query.signal_columns import SIGNAL, WORD
from filters.reasons import BY_CODE, Stage
from filters.reasons import Reason as Reasons

#: Kinds of signal, the strongest first; a signal that cannot be read counts as `unreadable` whatever its verdict.
VERDICTS = ("deny", "unreadable", "grant", "allow", "unknown")

#: Channels in the table, signals of one page.
_CHANNELS, _PAGE = 200, 50


@dataclass(frozen=True)
class ChannelCount:
    """Signals of one channel by kind, in the order of `VERDICTS`; `total` is their sum."""

    channel: str
    counts: dict[str, int]
    total: int

    @property
    def denying(self) -> int:
        """Return how many of them deny."""
        return self.counts.get("deny", 0)


@dataclass(frozen=True)
class RightsReason:
    """One reason of the rights stage: samples that it decided, and that it applies to at all."""

    reason: str
    meaning: str
    dropped: int
    applies: int


@dataclass(frozen=True)
class MatchCount:
    """Samples that the registry's entries of one kind name, by method and outcome."""

    kind: str
    method: str
    outcome: str
    samples: int


@dataclass(frozen=True)
class Rights:
    """All that the page tells. `signals` is counted apart from `channels`; `adds_up` tells whether they agree.

    `retractions` are the newest of `retractions_total`; `left_since` counts who left by all of them.
    """

    channels: list[ChannelCount]
    verdicts: list[str]
    signals: int
    adds_up: bool
    reasons: list[RightsReason]
    matches: list[MatchCount]
    registry: RegistryFacts
    receipts: list[Receipt]
    retractions: list[Retraction]
    retractions_total: int
    left_since: int
    checkpoints: list[CheckpointExposure]


def rights(opened: Opened, root: Path, now: datetime | None = None) -> Rights:
    """Return a run's rights. `root` is the folder that is served: nothing outside it is read."""
    channels, signals = _channels(opened)
    taken = retractions(opened)
    return Rights(
        channels,
        [word for word in VERDICTS if any(row.counts.get(word) for row in channels)] or ["deny", "allow", "unknown"],
        signals,
        signals == sum(row.total for row in channels),
        _reasons(opened),
        _matches(opened),
        registry_facts(opened, root, now or datetime.now(timezone.utc)),
        receipts(opened),
        taken.shown,
        taken.total,
        taken.left,
        checkpoint_exposures(opened),
    )


def _channels(opened: Opened) -> tuple[list[ChannelCount], int]:
    files = opened.files("signals")
    if not files:
        return [], 0
    rows = opened.reader.rows(
        f"SELECT channel::VARCHAR, {WORD} AS word, count(*) FROM read_parquet(?) GROUP BY ALL", [files]
    )
    ((signals,),) = opened.reader.rows("SELECT count(*) FROM read_parquet(?)", [files])
    found: dict[str, dict[str, int]] = {}
    for channel, word, count in rows:
        found.setdefault(str(channel), {})[str(word)] = int(count)
    ordered = sorted(found.items(), key=lambda item: (-item[1].get("deny", 0), item[0]))
    return [ChannelCount(name, counts, sum(counts.values())) for name, counts in ordered[:_CHANNELS]], int(signals)


def _reasons(opened: Opened) -> list[RightsReason]:
    order = list(Reasons)
    decided: dict[str, int] = {}
    for place, count in opened.reader.rows("SELECT reason, sum(n) FROM counts WHERE NOT kept GROUP BY reason"):
        if place is not None:
            decided[order[place].value] = int(count)
    found = []
    for place, reason in enumerate(order):
        if BY_CODE[reason.value].stage is not Stage.RIGHTS:
            continue
        ((applies,),) = opened.reader.rows(
            "SELECT coalesce(sum(n), 0) FROM masks WHERE mask & ?::UBIGINT <> 0", [1 << place]
        )
        if applies:
            dropped = decided.get(reason.value, 0)
            found.append(RightsReason(reason.value, BY_CODE[reason.value].meaning, dropped, int(applies)))
    return found


def _matches(opened: Opened) -> list[MatchCount]:
    files = opened.files("matches")
    if not files:
        return []
    rows = opened.reader.rows(
        "SELECT kind::VARCHAR, method::VARCHAR, outcome::VARCHAR, count(DISTINCT uid) FROM read_parquet(?) "
        "GROUP BY ALL ORDER BY 4 DESC, 1, 2, 3 LIMIT 60",
        [files],
    )
    return [
        MatchCount(clean(kind), clean(method), clean(outcome), int(count)) for kind, method, outcome, count in rows
    ]


@dataclass(frozen=True)
class SignalRow:
    """One signal as it was read. `evidence` is the SHA-256 of its document, empty where it has none."""

    uid: str
    channel: str
    verdict: str
    source: str
    raw: str
    spec: str
    detail: str
    evidence: str


@dataclass(frozen=True)
class SignalPage:
    """One page of signals; `after` leads to the next."""

    total: int
    signals: list[SignalRow]
    after: str


def signal_page(opened: Opened, channel: str, verdict: str, after: str = "") -> SignalPage:
    """Return signals of a channel and kind, each empty for all, in the order of the run. Raises `BadFilter`."""
    if verdict and verdict not in VERDICTS:
        raise BadFilter(f"verdict is one of {', '.join(VERDICTS)}")
    part_from, row_from = _place(after)
    test = f"(? = '' OR channel::VARCHAR = ?) AND (? = '' OR {WORD} = ?)"
    values = [channel, channel, verdict, verdict]
    found: list[SignalRow] = []
    files = opened.files("signals")
    total = opened.reader.rows(f"SELECT count(*) FROM read_parquet(?) WHERE {test}", [files, *values]) if files else []
    last = ""
    for at, part in enumerate(opened.parts):
        path = opened.file("signals", part) if at >= part_from else None
        if path is None:
            continue
        rows = opened.reader.rows(
            f"SELECT file_row_number, uid, {SIGNAL}, coalesce(evidence_sha256, '') "
            f"FROM read_parquet(?, file_row_number=true) WHERE {test} AND file_row_number > ? "
            "ORDER BY file_row_number LIMIT ?",
            [path, *values, row_from if at == part_from else -1, _PAGE + 1 - len(found)],
        )
        for row in rows:
            if len(found) == _PAGE:
                return SignalPage(int(total[0][0]), found, last)
            found.append(SignalRow(*(str(value) for value in row[1:])))
            last = f"{at}_{row[0]}"
    return SignalPage(int(total[0][0]) if total else 0, found, "")


def _place(after: str) -> tuple[int, int]:
    if not after:
        return 0, -1
    part, _, row = after.partition("_")
    if not (part.isdecimal() and row.isdecimal()) or len(after) > 30:
        raise BadFilter("after: not the end of a page")
    return int(part), int(row)
