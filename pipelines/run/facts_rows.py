"""Facts counted from a run's rows: what the kept samples are, whom they are from, what the downloads gave."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from audit.documents.facts import Channel, Crawl, Domain, Domains, Material
from filters.optout.urls import public_suffixes
from pipelines.run.directory import Run
from pipelines.run.parts import part_name

_COLUMNS = ["caption", "domain", "creator", "licence", "width", "height", "format", "nbytes"]


@dataclass
class _Kept:
    """Sums over the kept rows of the parts seen so far; `hosts` counts samples, `host_bytes` their bytes."""

    formats: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] | None = field(default_factory=Counter)
    creators: Counter[str] = field(default_factory=Counter)
    hosts: Counter[str] = field(default_factory=Counter)
    host_bytes: Counter[str] = field(default_factory=Counter)
    picture_bytes: int = 0
    caption_bytes: int = 0
    words: int | None = 0
    smallest: tuple[int, int] | None = None
    largest: tuple[int, int] | None = None


def kept_rows(run: Run) -> tuple[Material, Domains]:
    """Count the run's kept samples in one pass over samples, scores and ledger."""
    total = _Kept()
    for index in run.parts("ledger"):
        decision = run.table("ledger", index, ["decision"]).column("decision").cast(pa.string())
        kept = pc.equal(decision, "kept")
        _add(total, run.table("samples", index, _COLUMNS).filter(kept))
        _add_scores(total, run.table("scores", index, ["language", "caption_words"]).filter(kept))
    none = total.creators.pop("", 0)
    material = Material(
        total.picture_bytes,
        total.caption_bytes,
        total.words,
        _ordered(total.formats),
        _ordered(total.licences),
        None if total.languages is None else _ordered(total.languages),
        len(total.creators),
        none,
        total.smallest,
        total.largest,
    )
    return material, _domains(total)


def _add(total: _Kept, rows: pa.Table) -> None:
    captions = pc.binary_length(pc.fill_null(rows.column("caption"), "").cast(pa.binary()))
    total.caption_bytes += pc.sum(captions).as_py() or 0
    total.picture_bytes += pc.sum(rows.column("nbytes")).as_py() or 0
    total.formats += _values(rows.column("format"))
    total.licences += _values(rows.column("licence"))
    total.creators += _values(rows.column("creator"))
    sizes = pc.add(pc.fill_null(rows.column("nbytes"), 0), captions.cast(pa.int64()))
    by_host = pa.table({"host": pc.fill_null(rows.column("domain"), ""), "size": sizes})
    for item in by_host.group_by("host").aggregate([("size", "sum"), ("size", "count")]).to_pylist():
        total.hosts[item["host"]] += item["size_count"]
        total.host_bytes[item["host"]] += item["size_sum"]
    for size in _edges(rows):
        total.smallest = min(total.smallest or size, size, key=_area)
        total.largest = max(total.largest or size, size, key=_area)


def _edges(rows: pa.Table) -> list[tuple[int, int]]:
    """Return width and height of the smallest and largest picture of a part, by area."""
    width, height = rows.column("width").cast(pa.int64()), rows.column("height").cast(pa.int64())
    area = pc.multiply(width, height)
    bounds = pc.min_max(area)
    places = [pc.index(area, bounds[name]).as_py() for name in ("min", "max") if bounds[name].as_py() is not None]
    return [(width[place].as_py(), height[place].as_py()) for place in places]


def _area(size: tuple[int, int]) -> tuple[int, int]:
    return size[0] * size[1], size[0]


def _add_scores(total: _Kept, rows: pa.Table) -> None:
    names = set(rows.column_names)
    if "language" not in names:
        total.languages = None
    elif total.languages is not None:
        total.languages += _values(rows.column("language"))
    if "caption_words" not in names:
        total.words = None
    elif total.words is not None:
        total.words += pc.sum(rows.column("caption_words")).as_py() or 0


def _values(column: pa.ChunkedArray) -> Counter[str]:
    counted = pc.value_counts(pc.fill_null(column.cast(pa.string()), "").combine_chunks())
    return Counter({item["values"]: item["counts"] for item in counted.to_pylist()})


def _ordered(values: Counter[str]) -> dict[str, int]:
    return dict(sorted(values.items(), key=lambda item: (-item[1], item[0])))


def _domains(total: _Kept) -> Domains:
    """Sum hosts up to the domains that somebody can register; a host without one stands for itself."""
    samples: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for host, count in total.hosts.items():
        name = registrable(host)
        samples[name] += count
        sizes[name] += total.host_bytes[host]
    without = samples.pop("", 0)
    found = [Domain(name, count, sizes[name]) for name, count in samples.items()]
    return Domains(tuple(sorted(found, key=lambda d: (-d.nbytes, d.name))), without)


def registrable(host: str) -> str:
    """Return the domain under a public suffix that a host belongs to, else the host (an address, a suffix itself)."""
    name = host.strip().rstrip(".").lower()
    if not name or ":" in name or name.rpartition(".")[2].isdigit():
        return name
    return public_suffixes().privatesuffix(name) or name


def channels(run: Run) -> tuple[Channel, ...]:
    """Count the run's rights statements by channel and verdict; unreadable ones apart."""
    found: Counter[tuple[str, str]] = Counter()
    for index in run.parts("samples"):
        if not run.store.exists(part_name("signals", index)):
            continue
        table = run.table("signals", index, ["channel", "verdict", "unreadable"])
        verdict = pc.if_else(table.column("unreadable"), "unreadable", table.column("verdict").cast(pa.string()))
        pairs = pa.table({"channel": table.column("channel").cast(pa.string()), "verdict": verdict})
        for item in pairs.group_by(["channel", "verdict"]).aggregate([([], "count_all")]).to_pylist():
            found[item["channel"], item["verdict"]] += item["count_all"]
    names = sorted({channel for channel, _ in found})
    return tuple(Channel(n, *(found[n, word] for word in ("deny", "unreadable", "allow", "unknown"))) for n in names)


def matched(run: Run) -> dict[str, int]:
    """Count the registry's matches by kind of entry and outcome."""
    found: Counter[str] = Counter()
    for index in run.parts("samples"):
        if run.store.exists(part_name("matches", index)):
            table = run.table("matches", index, ["kind", "outcome"])
            kinds, outcomes = (table.column(name).cast(pa.string()).to_pylist() for name in ("kind", "outcome"))
            found.update(f"{kind}: {outcome}" for kind, outcome in zip(kinds, outcomes, strict=True))
    return dict(sorted(found.items()))


def crawl(run: Run, recipe: dict[str, Any], agent: str) -> Crawl | None:
    """Return what the downloads say: first and last answer, rows by status. None where the run downloaded nothing."""
    parts = run.parts("downloads")
    if recipe["input"]["kind"] != "url" or not parts:
        return None
    first: datetime | None = None
    last: datetime | None = None
    statuses: Counter[str] = Counter()
    for index in parts:
        table = run.table("downloads", index, ["status", "fetched_at"])
        statuses += _values(table.column("status"))
        ends = pc.min_max(table.column("fetched_at"))
        low, high = ends["min"].as_py(), ends["max"].as_py()
        first = low if first is None or (low is not None and low < first) else first
        last = high if last is None or (high is not None and high > last) else last
    contact = recipe["fetch"]["contact"]
    rows = sum(statuses.values())
    return Crawl(agent, contact, _stamp(first), _stamp(last), rows, _ordered(statuses))


def _stamp(when: datetime | None) -> str | None:
    return when.astimezone(timezone.utc).isoformat(timespec="seconds") if when else None
