"""Dedup: pairs and clusters over the stored hashes and embeddings. No picture is read.

A search is cut into units that need nothing of each other; each writes its edges with a marker, so that a killed job
goes on where it was. Where only parts were added to a run, only pairs with a new sample are searched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.duplicates import METHODS, Edges, cluster, equal_edges, joined
from filters.errors import BadInput
from pipelines.engine import PLAIN, Engine, run_parts
from pipelines.jobs.dedup_against import CONTAMINATION_FILE, against_state, contamination
from pipelines.jobs.dedup_cells import FOLDERS, cell_units
from pipelines.jobs.dedup_columns import SCORE_COLUMNS
from pipelines.jobs.dedup_search import (
    WORK,
    SearchUnits,
    Source,
    edges_table,
    forget,
    hashes,
    table_edges,
    unit_edges,
    units_of,
)
from pipelines.jobs.dedup_stars import clusters_by_stars
from pipelines.run.directory import Run
from pipelines.run.parts import Marker, PartWriter, fingerprint, finished, part_name, read_marker, read_table
from pipelines.run.schema import CLUSTERS

VERSION = "3"
#: The one part of the duplicates.
DUPLICATES = "duplicates/all"
EDGES_FILE = "duplicates/edges.parquet"
CLUSTERS_FILE = "duplicates/clusters.parquet"

#: Of the recipe's section, what decides only who stays.
_CHOICE = {"keep", "representation", "thin"}


@dataclass(frozen=True)
class Scale:
    """From where on work is handed to the runner instead of this process.

    `rows`: samples; `vector_bytes`: embeddings of the run; `edges`: of the union-find.
    """

    rows: int = 200_000
    vector_bytes: int = 1 << 30
    edges: int = 100_000_000


def dedup(run: Run, engine: Engine | None = None, scale: Scale | None = None) -> Marker:
    """Write `duplicates/edges`, `duplicates/clusters` and, where asked for, `duplicates/contamination`.

    Raises `BadInput` where nothing is scored, or a set of `duplicates.against` cannot be read or compared.
    """
    engine, scale = engine or Engine(PLAIN), scale or Scale()
    parts = run.parts("scores")
    if not parts or parts != run.parts("samples"):
        raise BadInput(f"{run.store.url}: not every part is scored; run assay score first")
    wanted = dedup_fingerprint(run, parts)
    done = finished(run.store, DUPLICATES, wanted)
    if done:
        return done
    old = _Old.of(run, parts)
    source = Source(run, run.store.url, tuple(parts), fingerprint(wanted, old.rows))
    if run.rows("scores") <= scale.rows:
        engine = Engine(PLAIN)
    edges, thinned = _edges(source, old, engine, scale)
    counts = {method: len(found) for method, found in edges}
    count = len(hashes(source))
    if sum(counts.values()) > scale.edges:
        clusters = clusters_by_stars(run, engine, [found for _, found in edges], count)
    else:
        clusters = cluster(count, [found for _, found in edges])
    same = cluster(count, [equal_edges(*hashes(source).of("sha256"))])
    writer = PartWriter(run.store, DUPLICATES, wanted)
    writer.add_table(EDGES_FILE, edges_table(edges))
    writer.add_table(CLUSTERS_FILE, _clusters_table(run, parts, clusters, same))
    if run.recipe.duplicates and run.recipe.duplicates.against:
        writer.add_table(CONTAMINATION_FILE, contamination(run, parts, hashes(source)))
    forget()
    members = clusters[clusters >= 0]
    facts = {"clusters": len(np.unique(members)), "edges": counts, "thinned": thinned, "since": old.rows}
    marker = writer.commit(len(members), {**facts, "search": _search(run), "content": _contents(run, parts)})
    for name in (name for folder in (WORK, *FOLDERS) for name in run.store.list(folder)):
        run.store.delete(name)
    return marker


def dedup_fingerprint(run: Run, parts: Sequence[int]) -> str:
    """Return what edges and clusters depend on: the scores, the recipe's bounds and the sets it compares with."""
    settings = run.recipe.duplicates
    sources: list[Any] = [run.marker("scores", i).fingerprint for i in parts]  # hashes are never skipped
    if settings and settings.cosine:
        sources += [_embeddings(run, i) for i in parts]
    against = against_state(settings.against) if settings else []
    described = settings.model_dump(exclude=_CHOICE) if settings else None
    return fingerprint("dedup", VERSION, described, sources, against)


def _search(run: Run) -> str:
    """Return what the search for pairs depends on beside the samples."""
    settings = run.recipe.duplicates
    return fingerprint(VERSION, settings.model_dump(exclude={*_CHOICE, "against"}) if settings else None)


def _embeddings(run: Run, index: int) -> str | None:
    found = run.marker("scores", index).files.get(part_name("embeddings", index))
    return found.sha256 if found else None


def _contents(run: Run, parts: Sequence[int]) -> list[str]:
    """Return a digest a part over the columns that are compared, so that only they tell whether it is another one."""
    found = []
    cosine = run.recipe.duplicates.cosine if run.recipe.duplicates else None
    for index in parts:
        digest = hashlib.sha256((_embeddings(run, index) or "" if cosine else "").encode())
        tables = (run.table("samples", index, ["uid", "sha256"]), run.table("scores", index, list(SCORE_COLUMNS)))
        for table in tables:
            for name in sorted(table.column_names):
                digest.update(f"{name}:{table.column(name).to_pylist()}".encode())
        found.append(digest.hexdigest())
    return found


@dataclass(frozen=True)
class _Old:
    """The edges of an earlier dedup that still hold: of the first `rows` rows of the run."""

    rows: int = 0
    edges: dict[str, Edges] = field(default_factory=dict)
    thinned: tuple[str, ...] = ()

    @classmethod
    def of(cls, run: Run, parts: Sequence[int]) -> _Old:
        """Return what the run's last dedup found, if parts were only added since."""
        # its marker goes before anything else is written, so edges without one are of an unfinished dedup
        marker = read_marker(run.store, DUPLICATES)
        if marker is None or marker.facts.get("search") != _search(run):
            return cls()
        before = marker.facts.get("content") or []
        if not 0 < len(before) < len(parts) or _contents(run, parts[: len(before)]) != before:
            return cls()
        if finished(run.store, DUPLICATES, marker.fingerprint) is None:
            return cls()
        table = read_table(run.store, EDGES_FILE)
        methods = table.column("method").cast(pa.string())
        edges = {name: table_edges(table.filter(pc.equal(methods, name))) for name in METHODS}
        rows = sum(run.marker("scores", index).rows for index in parts[: len(before)])
        return cls(rows, edges, tuple(marker.facts.get("thinned", ())))


def _edges(source: Source, old: _Old, engine: Engine, scale: Scale) -> tuple[list[tuple[str, Edges]], list[str]]:
    """Search; return the edges by method in the order of `METHODS`, and the methods of which only some are left."""
    run = source.run
    bounds = run.recipe.duplicates.bounds() if run.recipe.duplicates else None
    if bounds is None:
        return [], []
    units = units_of(source, bounds, old.rows)
    beyond = None
    if bounds.cosine is not None and not old.rows:
        beyond = cell_units(run, source.parts, bounds.cosine, source.state, scale.vector_bytes)
        units = tuple(unit for unit in units if beyond is None or unit.method != "embedding")
    run_parts(engine, "dedup", SearchUnits(source, units, bounds, old.rows), range(len(units)))
    found: dict[str, list[Edges]] = {method: [old.edges[method]] for method in old.edges}
    thinned = set(old.thinned)
    for index, unit in enumerate(units):
        edges, some = unit_edges(run, index)
        found.setdefault(unit.method, []).append(edges)
        thinned |= {unit.method} if some else set()
    if beyond is not None:
        found["embedding"] = beyond.run_all(engine)
        thinned |= {"embedding"} if any(edges.thinned for edges in found["embedding"]) else set()
    return [(method, joined(found[method])) for method in METHODS if method in found], sorted(thinned)


def _clusters_table(run: Run, parts: Sequence[int], clusters: np.ndarray, same: np.ndarray) -> pa.Table:
    members = np.flatnonzero(clusters >= 0)
    columns = [run.table("samples", index, ["uid"]).column("uid") for index in parts]
    uids = pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string())
    exact = np.where(same < 0, np.arange(len(same)), same)[members]
    arrays = [
        pa.array(members, pa.int64()),
        uids.take(pa.array(members, pa.int64())).combine_chunks(),
        pa.array(clusters[members], pa.int64()),
        pa.array(exact, pa.int64()),
    ]
    return pa.Table.from_arrays(arrays, schema=CLUSTERS)
