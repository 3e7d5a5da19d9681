"""Duplicate clusters: who stays and why, how each pair was found, and what a smaller distance would leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dashboards.cards import difference
from dashboards.text import score as score_text
from dashboards.web.catalogue import Opened
from dashboards.web.query.filters import BadFilter
from dashboards.web.query.rows_at import rows_at
from dashboards.web.query.samples import Sample, fetch
from filters.reasons import BY_CODE, Stage
from pipelines.jobs.dedup_choice import preference_keys

#: Clusters of a page, members of each in the list, members of one cluster's own page, pairs listed there.
CLUSTERS, SHOWN, MEMBERS, PAIRS = 12, 8, 60, 200

EDGES = "duplicates/edges.parquet"

#: Orders of the clusters: by all members, or by those that went as duplicates.
ORDERS = {"size": "size", "gone": "gone"}

_WORDS = {
    "resolution": "more pixels",
    "similarity": "its caption fits better",
    "aesthetic": "a higher aesthetic rating",
    "licence": "a licence that stands earlier in the list",
    "date": "the earlier date",
    "uid": "the smaller uid, all else being equal",
}
_SAMPLES = ["uid", "width", "height", "licence", "metadata", "fetched_at"]
_SCORES = ["similarity", "aesthetic"]
_NUMBERS = {"width", "height", "similarity", "aesthetic"}
_LEDGER = ["uid", "duplicate_of", "duplicate_method", "duplicate_distance"]


@dataclass(frozen=True)
class Member:
    """One sample of a cluster. `role`: stays, gone (for another one of the cluster) or other (dropped otherwise).

    `how` tells method and distance for one that is gone, `why` what the one in its place has before it; for one that
    stays, `why` is empty. `stays_for` counts who went for this one.
    """

    sample: Sample
    role: str
    how: str
    duplicate_of: str
    why: str
    stays_for: int
    size: str


@dataclass(frozen=True)
class Pair:
    """One pair that the search found: positions in the run, method, distance (1 - cosine for embeddings)."""

    a: int
    b: int
    method: str
    distance: float


@dataclass(frozen=True)
class Cluster:
    """One cluster: all its members counted, some of them shown, those that stay first."""

    cluster: int
    size: int
    kept: int
    gone: int
    members: list[Member]


@dataclass(frozen=True)
class ClusterPage:
    """One page of clusters; `after` leads to the next. `order` is the declared order by which one stays."""

    clusters: int
    samples: int
    gone: int
    order: list[str]
    found: list[Cluster]
    after: str


@dataclass(frozen=True)
class OneCluster:
    """One cluster with a page of its members and the pairs among all of them (the nearest ones, at most 200)."""

    cluster: Cluster
    pairs: list[Pair]
    pairs_total: int
    after: str


def cluster_page(opened: Opened, sort: str = "gone", after: str = "", size: int = CLUSTERS) -> ClusterPage:
    """Return one page of clusters, the largest first. Paging is by (size, cluster). Raises `BadFilter`."""
    if sort not in ORDERS:
        raise BadFilter("sort is size or gone")
    by, values = ORDERS[sort], list[int]()
    test = "gone > 0" if sort == "gone" else "TRUE"
    if after:
        values = _cursor(after)
        test += f" AND ({by} < ? OR ({by} = ? AND cluster > ?))"
        values = [values[0], values[0], values[1]]
    rows = opened.reader.rows(
        f"SELECT cluster, size, kept, gone FROM clusters WHERE {test} ORDER BY {by} DESC, cluster LIMIT {size + 1:d}",
        values,
    )
    ((count, samples, gone),) = opened.reader.rows(
        "SELECT count(*), coalesce(sum(size), 0), coalesce(sum(gone), 0) FROM clusters"
    )
    shown = rows[:size]
    members = _members(opened, [int(row[0]) for row in shown], SHOWN)
    found = [Cluster(int(c), int(n), int(kept), int(went), members.get(int(c), [])) for c, n, kept, went in shown]
    last = ""
    if len(rows) > size:
        last = f"{shown[-1][1 if by == 'size' else 3]}_{shown[-1][0]}"
    return ClusterPage(int(count), int(samples), int(gone), declared_order(opened), found, last)


def _cursor(text: str) -> list[int]:
    parts = text.split("_")
    if len(parts) != 2 or not all(part.isdecimal() and len(part) < 16 for part in parts):
        raise BadFilter("after: not the end of a page")
    return [int(part) for part in parts]


def declared_order(opened: Opened) -> list[str]:
    """Return the recipe's order of preference, with the column of groups that stands before it where one does."""
    settings = opened.run.recipe.duplicates
    if settings is None:
        return []
    first = [f"the group of {settings.representation!r} with the fewest so far"] if settings.representation else []
    return [*first, *settings.keep]


def one_cluster(opened: Opened, cluster: int, after: str = "") -> OneCluster | None:
    """Return one cluster, None where the run has none of that number. Raises `BadFilter`."""
    rows = opened.reader.rows("SELECT cluster, size, kept, gone FROM clusters WHERE cluster = ?", [cluster])
    if not rows:
        return None
    if after and not (after.isdecimal() and len(after) < 8):
        raise BadFilter("after: not the end of a page")
    start = int(after or 0)
    members = _members(opened, [cluster], MEMBERS, start).get(cluster, [])
    pairs, total = pairs_of(opened, cluster)
    _, size, kept, gone = (int(value) for value in rows[0])
    end = str(start + MEMBERS) if start + MEMBERS < size else ""
    return OneCluster(Cluster(cluster, size, kept, gone, members), pairs, total, end)


def edges_file(opened: Opened) -> str | None:
    """Return the path of the run's stored pairs, None where it has none."""
    path = opened.place.path / EDGES
    return str(path) if path.is_file() else None


def pairs_of(opened: Opened, cluster: int) -> tuple[list[Pair], int]:
    """Return the stored pairs of a cluster, the nearest ones first, and how many there are."""
    path = edges_file(opened)
    if path is None:
        return [], 0
    rows = opened.reader.rows(
        "SELECT a, b, method::VARCHAR, distance, count(*) OVER () FROM read_parquet(?) "
        "WHERE a IN (SELECT row FROM samples WHERE cluster = ?) "
        f"ORDER BY distance, method::VARCHAR, a, b LIMIT {PAIRS}",
        [path, cluster],
    )
    pairs = [Pair(int(a), int(b), method, round(float(distance), 4)) for a, b, method, distance, _ in rows]
    return pairs, int(rows[0][4]) if rows else 0


_DUPLICATES = tuple(place for place, reason in enumerate(BY_CODE.values()) if reason.stage is Stage.DUPLICATE)


def _members(opened: Opened, clusters: Sequence[int], most: int, start: int = 0) -> dict[int, list[Member]]:
    """Return members of clusters: who stays, then who went as a duplicate, then the others."""
    if not clusters:
        return {}
    gone = ", ".join(str(place) for place in _DUPLICATES)
    rows = opened.reader.rows(
        f"SELECT cluster, row, rank FROM (SELECT cluster, row, CASE WHEN kept THEN 0 WHEN reason IN ({gone}) THEN 1 "
        "ELSE 2 END AS kind, row_number() OVER (PARTITION BY cluster ORDER BY kind, row) AS rank FROM samples "
        f"WHERE cluster IN ({_listed(clusters)})) WHERE rank > {start:d} AND rank <= {start + most:d} "
        "ORDER BY cluster, rank"
    )
    by_row = {sample.row: sample for sample in fetch(opened, [(int(row), None, False) for _, row, _ in rows])}
    ledger = rows_at(opened, "ledger", _LEDGER, list(by_row))
    heads = _heads(opened, clusters, {str(item["duplicate_of"]) for item in ledger.values() if item["duplicate_of"]})
    facts = _facts(opened, {*by_row, *heads.values()})
    counts = _stays_for(opened, {sample.uid for sample in by_row.values()}, clusters)
    found: dict[int, list[Member]] = {}
    for cluster, row, _ in rows:
        sample, evidence = by_row[int(row)], ledger.get(int(row), {})
        head = str(evidence.get("duplicate_of") or "")
        role = "stays" if sample.kept else "gone" if head else "other"
        how = difference(evidence) if head else ""
        why = _why(opened, facts, heads[head], sample.row) if head in heads else ""
        member = Member(sample, role, how, head, why, counts.get(sample.uid, 0), facts.size(sample.row))
        found.setdefault(int(cluster), []).append(member)
    return found


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(f"{number:d}" for number in numbers)


def _heads(opened: Opened, clusters: Sequence[int], uids: set[str]) -> dict[str, int]:
    """Return the positions of the samples that stand in others' place."""
    if not uids:
        return {}
    rows = opened.reader.rows(
        f"SELECT uid::VARCHAR, min(row) FROM samples WHERE cluster IN ({_listed(clusters)}) "
        "AND list_contains(?, replace(uid::VARCHAR, '-', '')) GROUP BY uid",
        [sorted(uids)],
    )
    return {str(uid).replace("-", ""): int(row) for uid, row in rows}


def _stays_for(opened: Opened, uids: set[str], clusters: Sequence[int]) -> dict[str, int]:
    """Count for each of the samples how many of its cluster went for it. Reads the parts with members alone."""
    parts = opened.reader.rows(
        "SELECT DISTINCT part FROM samples JOIN parts ON row >= start AND row < start + parts.rows "
        f"WHERE cluster IN ({_listed(clusters)})"
    )
    numbers = {int(part) for (part,) in parts}
    files = [path for part in opened.parts if part.index in numbers and (path := opened.file("ledger", part))]
    if not files:
        return {}
    rows = opened.reader.rows(
        "SELECT duplicate_of, count(*) FROM read_parquet(?) "
        f"WHERE cluster IN ({_listed(clusters)}) AND list_contains(?, duplicate_of) GROUP BY 1",
        [files, sorted(uids)],
    )
    return {str(uid): int(count) for uid, count in rows}


@dataclass(frozen=True)
class _Facts:
    """What the order of preference reads of some rows, and the sort keys that it makes of that."""

    table: pa.Table
    place: dict[int, int]
    keys: list[np.ndarray]

    def size(self, row: int) -> str:
        """Return width and height in pixels, empty where the picture has none."""
        width, height = (self.table.column(name)[self.place[row]].as_py() for name in ("width", "height"))
        return f"{width:.0f} × {height:.0f}" if width and height else ""

    def value(self, name: str, row: int) -> float | None:
        """Return one number of a row."""
        found: float | None = self.table.column(name)[self.place[row]].as_py()
        return found


def _facts(opened: Opened, rows: set[int]) -> _Facts:
    places = sorted(rows)
    samples = rows_at(opened, "samples", _SAMPLES, places)
    scores = _scores(opened, places)
    whole = {row: {**scores.get(row, {}), **samples.get(row, {})} for row in places}
    columns = {name: [whole[row].get(name) for row in places] for name in (*_SAMPLES, *_SCORES)}
    table = pa.table({n: pa.array(v, pa.float64()) if n in _NUMBERS else pa.array(v) for n, v in columns.items()})
    return _Facts(table, {row: i for i, row in enumerate(places)}, preference_keys(opened.run.recipe, table))


def _scores(opened: Opened, places: Sequence[int]) -> dict[int, dict[str, float | None]]:
    """Return the scores that the order of preference reads, by position: the index has them, and no part is opened."""
    there = [column for name in _SCORES if (column := opened.columns.number(name)) is not None]
    if not there or not places:
        return {}
    listed = ", ".join(f"({place:d})" for place in places)
    rows = opened.reader.rows(
        f"SELECT place, {', '.join(column.sql for column in there)} "
        f"FROM samples JOIN (VALUES {listed}) AS wanted(place) ON samples.rowid = wanted.place"
    )
    return {int(row[0]): dict(zip((column.name for column in there), row[1:], strict=True)) for row in rows}


def _why(opened: Opened, facts: _Facts, stays: int, goes: int) -> str:
    """Tell which of the declared preferences decided between two samples."""
    settings = opened.run.recipe.duplicates
    if settings is None:
        return "the same sample stands earlier in the run"
    if settings.representation:
        return f"its group of {settings.representation!r} had the fewest so far"
    for name, key in zip(settings.keep, facts.keys, strict=True):
        one, other = key[facts.place[stays]], key[facts.place[goes]]
        if one == other or (one != one and other != other):  # NaN: neither has the value
            continue
        if other != other or one < other:
            return _WORDS[name] + _values(name, facts, stays, goes)
        break  # the better one went: it was near to another that stays
    return "first of those that are alike"


def _values(name: str, facts: _Facts, stays: int, goes: int) -> str:
    if name == "resolution":
        return f" ({facts.size(stays)} against {facts.size(goes)})"
    if name in ("similarity", "aesthetic"):
        one, other = facts.value(name, stays), facts.value(name, goes)
        if one is not None and other is not None:
            return f" ({score_text(one, 3)} against {score_text(other, 3)})"
    return ""
