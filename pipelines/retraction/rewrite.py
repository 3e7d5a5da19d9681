"""Rewriting what holds a retracted sample: shards, sidecars, scores, embeddings, thumbnails, duplicates, latents.

Every function reads the run as it is staged so far and writes to the same stage. Rows keep their places in the
parts (a part's rows are those of `samples`); what was computed from the picture becomes null or zeros. What purges
returns the uids that each file held until then.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.reasons import Reason
from pipelines.jobs.balance import add_sample, shard_name
from pipelines.jobs.dedup import CLUSTERS_FILE, DUPLICATES, EDGES_FILE
from pipelines.jobs.dedup_against import CONTAMINATION_FILE
from pipelines.run.directory import Run
from pipelines.run.parts import Marker, PartWriter, part_name, read_marker, read_table
from pipelines.run.schema import SCORES_HEAD, embeddings_schema
from pipelines.run.storage import Store
from pipelines.sources.url import DOWNLOADS, member_name

#: Names of files, and the uids of which each held something that was taken out.
Held = dict[str, set[str]]


@dataclass(frozen=True)
class Arrival:
    """A sample that enters a shard: its row of `samples`, the picture's bytes, its row of the sidecar."""

    row: dict[str, Any]
    image: bytes
    sidecar: pa.Table


def rewrite_shard(run: Run, index: int, leave: set[str], come: list[Arrival]) -> None:
    """Write output shard `index` without the uids `leave` and with `come` at its end; delete it when it is empty."""
    name = shard_name(index)
    tar, parquet = shard_name(index, ".tar"), shard_name(index, ".parquet")
    marker = _marker(run.store, name)
    table = read_table(run.store, parquet)
    stays = table.filter(pc.invert(pc.is_in(table.column("uid"), value_set=pa.array(sorted(leave), pa.string()))))
    rows = pa.concat_tables([stays, *(found.sidecar.cast(table.schema) for found in come)])
    rows = rows.replace_schema_metadata(table.schema.metadata)
    if rows.num_rows == 0:
        for suffix in (".done.json", ".tar", ".parquet"):
            run.store.delete(shard_name(index, suffix))
        return
    writer = PartWriter(run.store, name, marker.fingerprint)
    with run.store.create(tar) as path:
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as target:
            _copy_members(run.store, tar, target, lambda member: member.partition(".")[0] not in leave)
            for found in come:
                add_sample(target, found.row, found.image)
        writer.add_file(tar, path)
    writer.add_table(parquet, rows)
    writer.commit(rows.num_rows, marker.facts)


def purge_scores(run: Run, index: int, uids: dict[int, str]) -> Held:
    """Take what was computed from the pictures at the rows `uids` out of one part: scores, embeddings, thumbnails."""
    name, gone, rows = part_name("scores", index, ""), set(uids.values()), sorted(uids)
    marker = _marker(run.store, name)
    writer = PartWriter(run.store, name, marker.fingerprint)
    scores = run.table("scores", index)
    writer.add_table(part_name("scores", index), _without_scores(scores, rows))
    held = {part_name("scores", index): _with_scores(scores, uids)}
    embeddings = part_name("embeddings", index)
    if embeddings in marker.files:
        vectors = read_table(run.store, embeddings)
        writer.add_table(embeddings, _without_vectors(vectors, rows))
        held[embeddings] = _with_vectors(vectors, uids)
    thumbnails = part_name("thumbnails", index, ".tar")
    if thumbnails in marker.files:
        with run.store.create(thumbnails) as path:
            with tarfile.open(path, "w") as target:
                out = _copy_members(run.store, thumbnails, target, lambda member: member.partition(".")[0] not in gone)
            writer.add_file(thumbnails, path)
        held[thumbnails] = {member.partition(".")[0] for member in out}
    evidence = part_name("evidence", index)
    if evidence in marker.files:
        table = read_table(run.store, evidence)
        writer.add_table(evidence, without_uids(table, gone))
        held[evidence] = _uids(table) & gone
    for other in sorted(set(marker.files) - set(held)):
        writer.keep(marker, other)
    writer.commit(marker.rows, marker.facts)
    return held


def purge_downloads(run: Run, index: int, uids: dict[int, str]) -> Held:
    """Take the pictures at the rows `uids` out of a URL list's downloads; the list's rows stay, with the reason."""
    name, file, tar = (part_name(DOWNLOADS, index, suffix) for suffix in ("", ".parquet", ".tar"))
    marker = read_marker(run.store, name)
    if marker is None:
        return {}
    table = read_table(run.store, file)
    gone = {member_name(table.column("row")[row].as_py()): uid for row, uid in uids.items()}
    hashes = table.column("sha256")
    listed = {uid for row, uid in uids.items() if hashes[row].as_py() is not None}
    new = {"reason": Reason.REGISTRY_OPT_OUT.value, "status": "opt_out", "detail": "taken out since", "sha256": None}
    for column, value in {**new, "nbytes": None}.items():
        at = table.schema.get_field_index(column)
        values = table.column(at).to_pylist()
        for row in uids:
            values[row] = value
        table = table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))
    writer = PartWriter(run.store, name, marker.fingerprint)
    with run.store.create(tar) as path:
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as target:
            out = _copy_members(run.store, tar, target, lambda member: member not in gone)
        writer.add_file(tar, path)
    writer.add_table(file, table)
    writer.commit(marker.rows, marker.facts)
    return {tar: {gone[member] for member in out}, file: listed}


def purge_duplicates(run: Run, positions: set[int]) -> bool:
    """Take the positions out of the edges and clusters; tell whether they were in."""
    edges, clusters = read_table(run.store, EDGES_FILE), read_table(run.store, CLUSTERS_FILE)
    gone = pa.array(sorted(positions), pa.int64())
    in_edges = pc.or_(pc.is_in(edges.column("a"), value_set=gone), pc.is_in(edges.column("b"), value_set=gone))
    in_clusters = pc.is_in(clusters.column("position"), value_set=gone)
    if not (pc.any(in_edges).as_py() or pc.any(in_clusters).as_py()):
        return False
    marker = _marker(run.store, DUPLICATES)
    writer = PartWriter(run.store, DUPLICATES, marker.fingerprint)
    writer.add_table(EDGES_FILE, edges.filter(pc.invert(in_edges)))
    left = clusters.filter(pc.invert(in_clusters))
    writer.add_table(CLUSTERS_FILE, left)
    known = {EDGES_FILE, CLUSTERS_FILE}
    if CONTAMINATION_FILE in marker.files:
        table = read_table(run.store, CONTAMINATION_FILE)
        inside = pc.is_in(table.column("position"), value_set=gone)
        writer.add_table(CONTAMINATION_FILE, table.filter(pc.invert(inside)))
        known.add(CONTAMINATION_FILE)
    for other in sorted(set(marker.files) - known):
        writer.keep(marker, other)
    writer.commit(left.num_rows, {**marker.facts, "clusters": pc.count_distinct(left.column("cluster")).as_py()})
    return True


def purge_latents(run: Run, uids: set[str]) -> Held:
    """Take the uids out of every parquet of the latents cache."""
    held = {}
    for name in run.store.list("latents"):
        if not name.endswith(".parquet"):
            continue
        table = read_table(run.store, name)
        left = without_uids(table, uids)
        if left.num_rows == table.num_rows:
            continue
        part = name.removesuffix(".parquet")
        marker = read_marker(run.store, part)
        writer = PartWriter(run.store, part, marker.fingerprint if marker else "")
        writer.add_table(name, left)
        writer.commit(left.num_rows, marker.facts if marker else {})
        held[name] = _uids(table) & uids
    return held


def replace_matches(run: Run, index: int, rows: pa.Table) -> None:
    """Write one part's matches with those of the samples in `rows` taken from there."""
    name, file = part_name("matches", index, ""), part_name("matches", index)
    marker = read_marker(run.store, name)
    old = [without_uids(run.table("matches", index), set(rows.column("uid").to_pylist()))] if marker else []
    writer = PartWriter(run.store, name, marker.fingerprint if marker else "")
    table = pa.concat_tables([*old, rows]).unify_dictionaries().replace_schema_metadata(rows.schema.metadata)
    writer.add_table(file, table)
    writer.commit(table.num_rows, marker.facts if marker else {})


def without_uids(table: pa.Table, uids: set[str]) -> pa.Table:
    """Return the rows of other samples."""
    return table.filter(pc.invert(pc.is_in(table.column("uid"), value_set=pa.array(sorted(uids), pa.string()))))


def _marker(store: Store, name: str) -> Marker:
    marker = read_marker(store, name)
    if marker is None:
        raise FileNotFoundError(f"{store.url}/{name}.done.json")
    return marker


def _uids(table: pa.Table) -> set[str]:
    return set(table.column("uid").to_pylist())


def _copy_members(store: Store, name: str, target: tarfile.TarFile, wanted: Callable[[str], bool]) -> list[str]:
    """Copy the wanted members of a tar; return the names of the others."""
    out = []
    with store.open(name) as stream, tarfile.open(fileobj=stream, mode="r:") as source:
        for member in source:
            if wanted(member.name):
                target.addfile(member, source.extractfile(member))
            else:
                out.append(member.name)
    return out


def _with_scores(table: pa.Table, uids: dict[int, str]) -> set[str]:
    """Return those of the samples `uids`, by row, of which the table holds a score."""
    fixed = {field.name for field in SCORES_HEAD}
    rows = table.drop_columns([name for name in table.column_names if name in fixed]).take(list(uids)).to_pylist()
    found = zip(uids.values(), rows, strict=True)
    return {uid for uid, row in found if any(value is not None for value in row.values())}


def _with_vectors(table: pa.Table, uids: dict[int, str]) -> set[str]:
    """Return those of the samples `uids`, by row, of which the table holds an embedding that is not all zeros."""
    rows = table.select(["image", "text"]).take(list(uids)).to_pylist()
    return {uid for uid, row in zip(uids.values(), rows, strict=True) if any(row["image"]) or any(row["text"])}


def _without_scores(table: pa.Table, rows: list[int]) -> pa.Table:
    gone = np.zeros(table.num_rows, dtype=bool)
    gone[rows] = True
    fixed = {field.name for field in SCORES_HEAD}
    for at, name in enumerate(table.column_names):
        field = table.schema.field(at)
        if name == "skipped":
            values = table.column(name).to_pylist()
            for row in rows:
                values[row] = Reason.REGISTRY_OPT_OUT.value
            table = table.set_column(at, field, pa.array(values, field.type))
        elif name not in fixed:
            keep = np.flatnonzero(~gone)
            take = np.full(table.num_rows, -1, dtype=np.int64)
            take[keep] = keep
            column = table.column(name).combine_chunks().take(pa.array(take, mask=take < 0))
            table = table.set_column(at, field, column)
    return table


def _without_vectors(table: pa.Table, rows: list[int]) -> pa.Table:
    dimension = table.schema.field("image").type.list_size
    arrays: list[pa.Array] = [table.column("uid").combine_chunks()]
    for kind in ("image", "text"):
        flat = table.column(kind).combine_chunks().flatten().to_numpy().reshape(-1, dimension).copy()
        flat[rows] = 0
        arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), dimension))
    return pa.Table.from_arrays(arrays, schema=embeddings_schema(dimension))
