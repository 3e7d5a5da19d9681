"""Dedup, first version: pairs and clusters over the stored hashes. No picture is read."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from filters.duplicates import Edges, cluster, equal_edges, hamming_edges
from pipelines.run.directory import Run
from pipelines.run.parts import Marker, PartWriter, fingerprint, finished
from pipelines.run.schema import CLUSTERS, EDGES

VERSION = "1"
_NAME = "duplicates/all"
EDGES_FILE = "duplicates/edges.parquet"
CLUSTERS_FILE = "duplicates/clusters.parquet"


def dedup(run: Run) -> Marker:
    """Write `duplicates/edges` and `duplicates/clusters`, as the recipe's `duplicates` says."""
    settings = run.recipe.duplicates.model_dump(exclude={"keep"}) if run.recipe.duplicates else None
    sources = [run.marker("scores", i).fingerprint for i in run.parts("scores")]  # hashes are never skipped
    wanted = fingerprint("dedup", VERSION, settings, sources)
    done = finished(run.store, _NAME, wanted)
    if done:
        return done
    uids, hashes, codes, coded = _hashes(run)
    hashed = hashes != ""
    exact = equal_edges(hashes, hashed)
    edges: list[tuple[str, Edges]] = []
    if run.recipe.duplicates and run.recipe.duplicates.exact:
        edges.append(("sha256", exact))
    if run.recipe.duplicates and run.recipe.duplicates.phash_distance is not None:
        edges.append(("phash", hamming_edges(codes, coded, run.recipe.duplicates.phash_distance)))
    clusters = cluster(len(uids), [found for _, found in edges])
    same = cluster(len(uids), [exact])
    members = np.flatnonzero(clusters >= 0)
    writer = PartWriter(run.store, _NAME, wanted)
    writer.add_table(EDGES_FILE, _edges_table(edges))
    columns = [members, uids[members], clusters[members], np.where(same < 0, np.arange(len(uids)), same)[members]]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, CLUSTERS, strict=True)]
    writer.add_table(CLUSTERS_FILE, pa.Table.from_arrays(arrays, schema=CLUSTERS))
    return writer.commit(len(members), {"clusters": len(np.unique(clusters[members]))})


def _hashes(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return uid, SHA-256 ("" where none), pHash and whether there is one, for every row of the run."""
    uids, hashes, codes, coded = [], [], [], []
    for samples, scores in zip(
        run.tables("samples", ["uid", "sha256"]), run.tables("scores", ["uid", "phash"]), strict=True
    ):
        uids += samples.column("uid").to_pylist()
        hashes += [value or "" for value in samples.column("sha256").to_pylist()]
        found = scores.column("phash").to_pylist() if "phash" in scores.column_names else [None] * scores.num_rows
        codes += [value or 0 for value in found]
        coded += [value is not None for value in found]
    return np.array(uids), np.array(hashes), np.array(codes, dtype=np.uint64), np.array(coded, dtype=bool)


def _edges_table(edges: list[tuple[str, Edges]]) -> pa.Table:
    if not edges:
        return EDGES.empty_table()
    arrays = [
        pa.array(np.concatenate([found.a for _, found in edges])),
        pa.array(np.concatenate([found.b for _, found in edges])),
        pa.array([method for method, found in edges for _ in range(len(found))], EDGES.field("method").type),
        pa.array(np.concatenate([found.distance for _, found in edges]).astype(np.int16)),
    ]
    return pa.Table.from_arrays(arrays, schema=EDGES)
