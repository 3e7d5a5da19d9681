"""Search by exact keys: SHA-256 of a file, creator. Nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dashboards.web.catalogue import Opened
from dashboards.web.query.samples import Sample, fetch
from filters.optout.names import MAX_NAME, name_key
from filters.reasons import BY_CODE

#: Samples of an answer that are shown, names that are offered.
SHOWN, _NAMES = 24, 12

#: Positions that one statement counts: bounds the memory of an answer that is most of a run.
_AT_ONCE = 100_000

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Hit:
    """One sample that answers, and how: exact, near, alike, address, page, below, creator; `words` is the evidence."""

    sample: Sample
    how: str
    words: str


@dataclass(frozen=True)
class Found:
    """All that answer by one key: how many are kept, by which reasons others were dropped, some of them.

    `rows` int64 (n,) are the positions of all of them, of which `hits` shows the first few; empty for a creator's.
    """

    kept: int
    dropped: dict[str, int]
    hits: list[Hit]
    rows: np.ndarray

    @property
    def total(self) -> int:
        """All samples that answer."""
        return self.kept + sum(self.dropped.values())


#: Says of the n-th position how it answers, and the words for it.
Say = Callable[[int], tuple[str, str]]


def found_of(opened: Opened, rows: np.ndarray, say: Say) -> Found:
    """Return the samples at positions int64 (n,), none twice: all counted, those that are kept shown first."""
    kept_count, dropped = 0, dict[str, int]()
    first: dict[bool, list[int]] = {True: [], False: []}
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE].tolist()
        for kept, reason, count, places in opened.reader.rows(
            f"SELECT kept, reason, count(*), min(place, {SHOWN}) FROM samples JOIN (SELECT unnest(?::BIGINT[]) AS "
            "wanted, unnest(range(?, ?)) AS place) ON samples.rowid = wanted GROUP BY ALL",
            [some, start, start + len(some)],
        ):
            if kept:
                kept_count += int(count)
            else:
                dropped[_code(reason)] = dropped.get(_code(reason), 0) + int(count)
            first[bool(kept)] = sorted([*first[bool(kept)], *places])[:SHOWN]
    shown = [*first[True], *first[False]][:SHOWN]
    samples = fetch(opened, [(int(rows[place]), None, False) for place in shown])
    hits = [Hit(sample, *say(place)) for sample, place in zip(samples, shown, strict=True)]
    return Found(kept_count, dropped, hits, rows)


def by_sha256(opened: Opened, text: str) -> Found | None:
    """Return the samples of a file by its SHA-256; None where the text is none."""
    digest = text.strip().lower().removeprefix("sha256:")
    if not _HEX.fullmatch(digest):
        return None
    start = {path: part.start for part in opened.parts if (path := opened.file("samples", part)) is not None}
    found = []
    if start:
        found = opened.reader.rows(
            "SELECT filename, file_row_number FROM read_parquet(?, filename=true, file_row_number=true) "
            "WHERE sha256 = ?",
            [list(start), digest],
        )
    rows = np.array(sorted(start[str(name)] + int(row) for name, row in found), np.int64)
    return found_of(opened, rows, lambda _: ("exact", "the same bytes (SHA-256)"))


@dataclass(frozen=True)
class CreatorFound:
    """Samples whose creator field has the name; other creators that hold its longest word; captions that have it."""

    found: Found
    names: list[tuple[str, int, int]]
    similar: list[tuple[str, int, int]]
    captions: int


def by_creator(opened: Opened, text: str) -> CreatorFound | None:
    """Return samples by a creator's name, as the opt-out registry compares names; None where the text is no name."""
    key = name_key(text[:1000])
    if not key or len(key) > MAX_NAME:
        return None
    mine = opened.reader.rows(
        "SELECT value, n, kept FROM creators WHERE id IN (SELECT id FROM creator_keys WHERE key = ?) "
        f"ORDER BY n DESC, value LIMIT {_NAMES}",
        [key],
    )
    others = opened.reader.rows(
        "SELECT value, n, kept FROM creators WHERE contains(words, ?) AND id NOT IN (SELECT id FROM creator_keys "
        f"WHERE key = ?) ORDER BY n DESC, value LIMIT {_NAMES}",
        [max(key.split(), key=len), key],
    )
    ((captions,),) = opened.reader.rows(
        "SELECT count(*) FROM samples WHERE contains(folded, ?)", [" ".join(text.lower().split())[:300]]
    )
    return CreatorFound(_by_key(opened, key), _counts(mine), _counts(others), int(captions))


def _counts(rows: list[tuple[Any, ...]]) -> list[tuple[str, int, int]]:
    return [(str(name), int(n), int(kept)) for name, n, kept in rows]


def _by_key(opened: Opened, key: str) -> Found:
    """Return the samples whose creator answers to the key; all are read once."""
    rows = opened.reader.rows(
        f"SELECT kept, reason, count(*), min(row, {SHOWN}) FROM samples WHERE creator IN (SELECT value FROM creators "
        "JOIN creator_keys USING (id) WHERE key = ?) GROUP BY ALL",
        [key],
    )
    kept = sum(int(n) for is_kept, _, n, _ in rows if is_kept)
    dropped = {_code(reason): int(n) for is_kept, reason, n, _ in rows if not is_kept}
    places = sorted((not is_kept, int(row)) for is_kept, _, _, first in rows for row in first)[:SHOWN]
    samples = fetch(opened, [(row, None, False) for _, row in places])
    nothing = np.empty(0, np.int64)
    return Found(kept, dropped, [Hit(sample, "creator", "") for sample in samples], nothing)


def _code(reason: int | None) -> str:
    return "" if reason is None else list(BY_CODE)[reason]
