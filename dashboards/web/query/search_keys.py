"""Search by exact keys: SHA-256 of a file, address, domain, creator. Nothing is fetched."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from dashboards.web.catalogue import Opened
from dashboards.web.query.samples import Sample, fetch
from filters.errors import BadInput
from filters.optout.names import MAX_NAME, name_key
from filters.optout.urls import Address, domain_entry, prefix_keys, read_address
from filters.reasons import BY_CODE

#: Samples of an answer that are shown, candidates that are compared, names that are offered.
SHOWN, _CANDIDATES, _NAMES = 24, 5_000, 12

_RUN = re.compile(r"[A-Za-z0-9_.~-]+")
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Hit:
    """One sample that answers, and how: exact, near, alike, address, page, below, creator; `words` is the evidence."""

    sample: Sample
    how: str
    words: str


@dataclass(frozen=True)
class Found:
    """All that answer by one key: how many are kept, by which reasons others were dropped, some of them."""

    kept: int
    dropped: dict[str, int]
    hits: list[Hit]

    @property
    def total(self) -> int:
        """All samples that answer."""
        return self.kept + sum(self.dropped.values())


def found_of(opened: Opened, places: list[tuple[int, str, str]]) -> Found:
    """Return samples by (position, how, words): all counted, those that are kept shown first."""
    samples = {s.row: s for s in fetch(opened, [(row, None, False) for row, _, _ in places])}
    dropped: dict[str, int] = {}
    for sample in samples.values():
        if not sample.kept:
            dropped[sample.reason] = dropped.get(sample.reason, 0) + 1
    hits = [Hit(samples[row], how, words) for row, how, words in places if row in samples]
    hits.sort(key=lambda hit: not hit.sample.kept)
    return Found(sum(s.kept for s in samples.values()), dropped, hits[:SHOWN])


def by_sha256(opened: Opened, text: str) -> Found | None:
    """Return the samples of a file by its SHA-256; None where the text is none."""
    digest = text.strip().lower().removeprefix("sha256:")
    if not _HEX.fullmatch(digest):
        return None
    places = _positions(opened, "sha256 = ?", [digest])
    return found_of(opened, [(row, "exact", "the same bytes (SHA-256)") for row, _, _ in places])


def _positions(opened: Opened, test: str, values: list[str]) -> list[tuple[int, str, str]]:
    """Return (position, url, page_url) of samples that pass a test of their own columns."""
    start = {path: part.start for part in opened.parts if (path := opened.file("samples", part)) is not None}
    if not start:
        return []
    rows = opened.reader.rows(
        "SELECT filename, file_row_number, url, page_url FROM read_parquet(?, filename=true, file_row_number=true) "
        f"WHERE {test} LIMIT {_CANDIDATES}",
        [list(start), *values],
    )
    return sorted((start[str(name)] + int(row), url or "", page or "") for name, row, url, page in rows)


@dataclass(frozen=True)
class AddressFound:
    """What is known of an address: samples from it or below it, and how many its domain has, all and kept."""

    address: Address
    found: Found
    domain: str
    domain_samples: int
    domain_kept: int


def by_address(opened: Opened, text: str) -> AddressFound | None:
    """Return samples whose picture or page has this address, or lies below it; None where the text names no host."""
    address = read_address(text)
    if address is None:
        return None
    path = address.key.partition("/")[2]
    places = []
    run = max(_RUN.findall(path), key=len, default="")
    if run:
        candidates = _positions(opened, "contains(url, ?) OR contains(page_url, ?)", [run, run])
        places = [(row, *how) for row, url, page in candidates if (how := _relation(address, url, page)) is not None]
    ((samples, kept),) = opened.reader.rows(
        "SELECT coalesce(sum(n), 0), coalesce(sum(kept), 0) FROM domains WHERE value = ? OR ends_with(value, ?)",
        [address.host, f".{address.host}"],
    )
    return AddressFound(address, found_of(opened, places), address.host, int(samples), int(kept))


def _relation(asked: Address, url: str, page: str) -> tuple[str, str] | None:
    for text, how, words in ((url, "address", "the same address"), (page, "page", "on this page")):
        found = read_address(text) if text else None
        if found is None:
            continue
        if found.key == asked.key:
            return how, words
        if asked.key.rstrip("/") in prefix_keys(found.key):
            return "below", "below this address"
    return None


def domain_of(host: str) -> str | None:
    """Return the domain that a registry's entry could name; None for a public suffix."""
    try:
        return domain_entry(host)
    except BadInput:
        return None


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
        f"ORDER BY n DESC, value LIMIT {_CANDIDATES}",
        [key],
    )
    others = opened.reader.rows(
        "SELECT value, n, kept FROM creators WHERE contains(words, ?) AND id NOT IN (SELECT id FROM creator_keys "
        f"WHERE key = ?) ORDER BY n DESC, value LIMIT {_NAMES}",
        [max(key.split(), key=len), key],
    )
    names = [str(name) for name, _, _ in mine]
    found = _by_names(opened, names, sum(int(kept) for _, _, kept in mine))
    ((captions,),) = opened.reader.rows(
        "SELECT count(*) FROM samples WHERE contains(folded, ?)", [" ".join(text.lower().split())[:300]]
    )
    return CreatorFound(found, _counts(mine[:_NAMES]), _counts(others), int(captions))


def _counts(rows: list[tuple[Any, ...]]) -> list[tuple[str, int, int]]:
    return [(str(name), int(n), int(kept)) for name, n, kept in rows]


def _by_names(opened: Opened, names: list[str], kept: int) -> Found:
    """Return the samples whose creator is one of these names, letter by letter; all are read once."""
    if not names:
        return Found(0, {}, [])
    listed = ", ".join("?" for _ in names)
    rows = opened.reader.rows(
        f"SELECT kept, reason, count(*), min(row, {SHOWN}) FROM samples WHERE creator IN ({listed}) GROUP BY ALL",
        names,
    )
    dropped = {str(reason): int(n) for is_kept, reason, n, _ in rows if not is_kept}
    places = sorted((not is_kept, int(row)) for is_kept, _, _, first in rows for row in first)[:SHOWN]
    return Found(kept, _named(dropped), found_of(opened, [(row, "creator", "") for _, row in places]).hits)


def _named(dropped: dict[str, int]) -> dict[str, int]:
    names = list(BY_CODE)
    return {names[int(place)]: count for place, count in dropped.items() if place != "None"}
