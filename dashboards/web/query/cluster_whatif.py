"""What a smaller distance between duplicates would leave of the pairs and clusters that the search has stored.

The stored pairs are those within the recipe's bounds. A smaller bound keeps some of them, so its clusters are known
from what is stored; a larger one would need pairs that nobody searched for.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from math import isfinite

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.web.catalogue import Opened
from dashboards.web.query.clusters import EDGES, Pair, edges_file
from dashboards.web.query.filters import BadFilter
from dashboards.web.query.samples import Sample, fetch
from filters.duplicates import Edges, cluster
from pipelines.run.parts import read_marker, read_table

#: Bounds of the recipe that a page can lower: name in an address, key of the recipe, methods that it bounds.
_BOUNDS = {
    "phash": ("phash_distance", ("phash",)),
    "pdq": ("pdq_distance", ("pdq", "pdq_dihedral")),
    "cosine": ("cosine", ("embedding",)),
}

#: Pairs beyond which a page does not build clusters, and pairs that are shown.
_MOST_PAIRS, _SHOWN = 4_000_000, 12


@dataclass(frozen=True)
class Limit:
    """One bound: what the search used (None: the method is off), what is asked, pairs by it now and then.

    `unknown`: what is asked lies beyond what was searched.
    """

    name: str
    key: str
    searched: float | None
    asked: float | None
    pairs: int
    pairs_then: int
    unknown: bool


@dataclass(frozen=True)
class Lost:
    """A pair that would no longer count, with its two samples."""

    pair: Pair
    a: Sample
    b: Sample


@dataclass(frozen=True)
class ClusterWhatif:
    """Clusters of the stored pairs, now and by the bounds asked for. None: not known from what is stored.

    `problem` says why not. `lost` are the nearest pairs that would no longer count.
    """

    limits: list[Limit]
    clusters: int
    members: int
    clusters_then: int | None
    members_then: int | None
    problem: str
    lost: list[Lost]
    command: str


def cluster_whatif(opened: Opened, asked: dict[str, float]) -> ClusterWhatif:
    """Return what the bounds in `asked` (phash, pdq, cosine) would leave. Raises `BadFilter` for impossible ones."""
    settings, path = opened.run.recipe.duplicates, edges_file(opened)
    if settings is None or path is None:
        raise BadFilter("this run's duplicates were not searched")
    counts = {
        m: int(n)
        for m, n in opened.reader.rows("SELECT method::VARCHAR, count(*) FROM read_parquet(?) GROUP BY 1", [path])
    }
    tests, limits = [], []
    for name, (key, methods) in _BOUNDS.items():
        searched = getattr(settings, key)
        value = _bound(name, asked.get(name), searched)
        now = sum(counts.get(method, 0) for method in methods)
        then = now
        if value is not None and value != searched:
            limit = _most(name, value)
            listed = ", ".join(f"'{method}'" for method in methods)
            tests.append(f"(method::VARCHAR NOT IN ({listed}) OR distance <= {limit!r})")
            ((then,),) = opened.reader.rows(
                f"SELECT count(*) FROM read_parquet(?) WHERE method::VARCHAR IN ({listed}) AND distance <= {limit!r}",
                [path],
            )
        unknown = value is not None and _beyond(name, value, searched)
        limits.append(Limit(name, key, searched, value, now, int(then), unknown))
    ((clusters, members),) = opened.reader.rows("SELECT count(*), coalesce(sum(size), 0) FROM clusters")
    test = " AND ".join(tests) or "TRUE"
    problem = _problem(opened, limits, sum(counts.values()), bool(tests))
    left: tuple[int | None, int | None] = (int(clusters), int(members))
    if problem or tests:
        left = (None, None) if problem else _then(opened, limits)
    lost = [] if problem or not tests else _lost(opened, path, test)
    command = _command(opened, limits)
    return ClusterWhatif(limits, int(clusters), int(members), left[0], left[1], problem, lost, command)


def _bound(name: str, value: float | None, searched: float | None) -> float | None:
    if value is None:
        return searched
    if not isfinite(value) or value < 0 or (name == "cosine" and value > 1) or value > 256:
        raise BadFilter(f"{name}: {'a cosine from 0 to 1' if name == 'cosine' else 'differing bits, 0 to 256'}")
    return value if name == "cosine" else float(int(value))


def _beyond(name: str, value: float, searched: float | None) -> bool:
    if searched is None:
        return True
    return value < searched if name == "cosine" else value > searched


def _problem(opened: Opened, limits: list[Limit], pairs: int, asked: bool) -> str:
    if not asked:
        return ""
    beyond = [limit.name for limit in limits if limit.unknown]
    if beyond:
        off = [limit.name for limit in limits if limit.unknown and limit.searched is None]
        words = f"{', '.join(off)} was not searched at all" if off else "no pair beyond the bound was searched for"
        return f"This cannot be known from what is stored: {words}. The command below searches again; no model runs."
    marker = read_marker(opened.run.store, EDGES.rpartition("/")[0] + "/all")
    thinned = set(marker.facts.get("thinned", ())) if marker else set()
    some = [limit.name for limit in limits if limit.asked != limit.searched and thinned & set(_BOUNDS[limit.name][1])]
    if some:
        return (
            f"There were too many pairs by {', '.join(some)} to store all of them; the command below searches again."
        )
    if pairs > _MOST_PAIRS:
        return f"{pairs:,} pairs are too many to cluster for a page; the command below does it."
    return ""


def _then(opened: Opened, limits: list[Limit]) -> tuple[int, int]:
    """Return clusters and their members by the stored pairs that are within all limits."""
    table = read_table(opened.run.store, EDGES)
    methods = table.column("method").cast(pa.string())
    distance = table.column("distance").to_numpy()
    holds = np.ones(len(distance), dtype=bool)
    for limit in limits:
        if limit.asked is not None and limit.asked != limit.searched:
            mine = pc.is_in(methods, value_set=pa.array(_BOUNDS[limit.name][1])).to_numpy()
            holds &= ~mine | (distance <= _most(limit.name, limit.asked))
    if not holds.any():
        return 0, 0
    pairs = np.stack([table.column(side).to_numpy()[holds] for side in ("a", "b")])
    places, ends = np.unique(pairs, return_inverse=True)
    ends = ends.reshape(pairs.shape)
    found = cluster(len(places), [Edges.of(ends[0], ends[1], np.zeros(pairs.shape[1], np.float32))])
    return len(np.unique(found[found >= 0])), int((found >= 0).sum())


def _most(name: str, bound: float) -> float:
    """Return the largest distance that a bound lets through; stored cosines may be off by their last bits."""
    return 1 - bound + 1e-6 if name == "cosine" else bound


def _lost(opened: Opened, path: str, test: str) -> list[Lost]:
    rows = opened.reader.rows(
        "SELECT a, b, arg_min(method::VARCHAR, distance), min(distance) AS nearest FROM read_parquet(?) "
        f"GROUP BY a, b HAVING NOT bool_or({test}) ORDER BY nearest, a, b LIMIT {_SHOWN}",
        [path],
    )
    pairs = [Pair(int(a), int(b), str(method), round(float(distance), 4)) for a, b, method, distance in rows]
    places = sorted({place for pair in pairs for place in (pair.a, pair.b)})
    samples = {sample.row: sample for sample in fetch(opened, [(place, None, False) for place in places])}
    return [Lost(pair, samples[pair.a], samples[pair.b]) for pair in pairs if pair.a in samples and pair.b in samples]


def _command(opened: Opened, limits: list[Limit]) -> str:
    changed = [limit for limit in limits if limit.asked != limit.searched and limit.asked is not None]
    sets = [part for limit in changed for part in ("--set", f"duplicates.{limit.key}={limit.asked:.9g}")]
    return shlex.join(["assay", "replay", opened.name, *sets, "--out", f"{opened.name}-duplicates"]) if sets else ""
