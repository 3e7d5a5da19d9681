"""The review queue: pictures that may look like registered ones, and what people said about them. Append-only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import Any, NamedTuple

from filters.errors import BadInput
from filters.optout.entries import MAX_TEXT, read_stamp, stamp
from pipelines.registry.store import Registry

_PAGE = 1000


class Judgement(str, Enum):
    """What a person says about a pair: the registered work (out), or another one (in)."""

    SAME = "same"
    DIFFERENT = "different"


class Pair(NamedTuple):
    """A pair to judge: the entry's number, the picture by its SHA-256, one sample that holds it, the cosine."""

    entry: int
    picture: str
    uid: str
    cosine: float


@dataclass(frozen=True)
class Review:
    """One queued pair, and its latest verdict where there is one."""

    id: int
    entry: int
    picture: str
    uid: str
    cosine: float
    queued_at: datetime
    verdict: Judgement | None = None
    reviewer: str = ""
    note: str = ""
    decided_at: datetime | None = None


def queue(registry: Registry, pairs: Iterable[Pair], at: datetime | None = None) -> int:
    """Queue pairs that are not queued yet; return how many were new. Where none is, nothing is written."""
    now = stamp(at or datetime.now(timezone.utc))
    new = 0
    asked = [pair for pair in pairs if not _queued(registry, pair)]
    if not asked:
        return 0
    with registry.database.writing():
        last = registry.database.rows("SELECT coalesce(max(id), 0) FROM optout_reviews")[0][0]
        for pair in asked:
            if not _queued(registry, pair):  # by another process meanwhile, or twice among these
                new += 1
                row = (last + new, pair.entry, pair.picture, pair.uid, float(pair.cosine), now)
                registry.database.insert("optout_reviews", "id, entry, picture, uid, cosine, queued_at", [row])
    return new


def _queued(registry: Registry, pair: Pair) -> bool:
    sql = "SELECT 1 FROM optout_reviews WHERE entry = ? AND picture = ?"
    return bool(registry.database.rows(sql, (pair.entry, pair.picture)))


def judge(
    registry: Registry, review: int, verdict: Judgement, reviewer: str, note: str = "", at: datetime | None = None
) -> None:
    """Record a person's verdict; a later one of the same pair counts instead. Raises `BadInput`."""
    if not reviewer.strip():
        raise BadInput("a verdict names who gave it")
    if len(reviewer) > MAX_TEXT or len(note) > MAX_TEXT or not (reviewer + note).replace("\n", " ").isprintable():
        raise BadInput(f"reviewer and note are texts of at most {MAX_TEXT} characters without control characters")
    with registry.database.writing():
        if not registry.database.rows("SELECT 1 FROM optout_reviews WHERE id = ?", (review,)):
            raise BadInput(f"{registry.database.shown}: there is no review {review}")
        last = registry.database.rows("SELECT coalesce(max(id), 0) FROM optout_verdicts")[0][0]
        now = stamp(at or datetime.now(timezone.utc))
        row = (last + 1, review, verdict.value, reviewer, note, now)
        registry.database.insert("optout_verdicts", "id, review, verdict, reviewer, note, decided_at", [row])


def reviews(registry: Registry, pending_only: bool = False) -> Iterator[Review]:
    """Yield the queue in order, each pair with its latest verdict."""
    since = 0
    while True:
        found = registry.database.rows(
            "SELECT r.id, r.entry, r.picture, r.uid, r.cosine, r.queued_at, "
            "v.verdict, v.reviewer, v.note, v.decided_at FROM optout_reviews r LEFT JOIN optout_verdicts v ON v.id = "
            "(SELECT max(id) FROM optout_verdicts WHERE review = r.id) "
            f"WHERE r.id > ? ORDER BY r.id LIMIT {_PAGE}",
            (since,),
        )
        for row in found:
            if row[6] is None:
                yield Review(row[0], row[1], row[2], row[3], row[4], read_stamp(row[5]))
            elif not pending_only:
                yield _judged(row)
        if len(found) < _PAGE:
            return
        since = found[-1][0]


def _judged(row: tuple[Any, ...]) -> Review:
    number, entry, picture, uid, cosine, queued, verdict, reviewer, note, decided = row
    return Review(
        number,
        entry,
        picture,
        uid,
        cosine,
        read_stamp(queued),
        Judgement(verdict),
        reviewer,
        note,
        read_stamp(decided),
    )


def verdicts(registry: Registry, until: datetime) -> dict[tuple[int, str], Judgement]:
    """Return the verdicts given up to a time, by entry and picture; the latest of each pair."""
    found = registry.database.rows(
        "SELECT r.entry, r.picture, v.verdict FROM optout_verdicts v JOIN optout_reviews r ON r.id = v.review "
        "WHERE v.decided_at <= ? ORDER BY v.id",
        (stamp(until),),
    )
    return {(entry, picture): Judgement(verdict) for entry, picture, verdict in found}
