"""Makes a run's index: one DuckDB file with the ledger and what pages filter by, in the order of the run.

Parts of samples, scores, groups and ledger have the same rows in the same order, so the join is a zip of one part at a
time: an index of any size is made in the memory of a part. The file is written under another name and renamed.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.web.columns import HEAD, TEXTS, Column, Columns, columns_of, columns_sql
from dashboards.web.indexing_groups import Marks
from dashboards.web.indexing_names import canonical_hosts, name_tables
from filters.errors import BadInput
from filters.reasons import Reason
from filters.rules import masks_of_codes, masks_of_lists
from pipelines.jobs.balance import shard_rows
from pipelines.jobs.dedup_choice import DUPLICATE
from pipelines.run.directory import Run
from pipelines.run.parts import part_name

#: Raised where the index's tables change; an index of another version is made again. Reasons stand in it by their
#: place in the list of reasons, so the list is part of the version.
VERSION = (5, *(reason.value for reason in Reason))

#: Characters of a caption that are searched and shown in galleries; a sample's own page shows all.
CAPTION = 1000

#: Values of a text column or group that are offered as choices, those with the most samples.
CHOICES = 60

_SAMPLES = ["uid", "caption", "domain", "creator", "licence", "failure"]
_LEDGER = ["uid", "decision", "primary_reason", "reasons", "weight", "cluster", "shard", "group"]


@dataclass(frozen=True)
class Part:
    """One part: its number, the position of its first row in the run, its rows."""

    index: int
    start: int
    rows: int


#: Is told after each part how many rows of how many are in.
Progress = Callable[[int, int], None]


def parts_of(run: Run) -> list[Part]:
    """Return the run's parts. Raises `BadInput` where the ledger is not whole or parts disagree about rows."""
    indices = run.parts("samples")
    if not indices or run.parts("ledger") != indices or run.parts("scores") != indices:
        raise BadInput(f"no whole ledger yet: {len(run.parts('ledger'))} of {len(indices)} parts are decided")
    parts, start = [], 0
    for index in indices:
        rows = {run.marker(artefact, index).rows for artefact in ("samples", "scores", "ledger")}
        if len(rows) > 1:
            raise BadInput(f"samples, scores and ledger part {index} differ in rows; run assay decide")
        parts.append(Part(index, start, rows.pop()))
        start += parts[-1].rows
    return parts


def build(run: Run, target: Path, memory: str, threads: int, told: Progress = lambda done, total: None) -> None:
    """Write the index of `run` to `target`. Raises `BadInput` where the run's parts do not belong together."""
    parts = parts_of(run)
    columns = _columns(run, parts[0].index)
    temporary = target.with_name(f".tmp-{os.getpid()}-{secrets.token_hex(4)}-{target.name}")
    scratch = temporary.with_suffix(".scratch")
    config = {"memory_limit": memory, "threads": threads, "temp_directory": str(scratch)}
    try:
        with duckdb.connect(str(temporary), config=config) as connection:
            connection.execute("SET autoinstall_known_extensions=false")
            connection.execute(f"CREATE TABLE samples ({columns_sql(columns)})")
            total = sum(part.rows for part in parts)
            marks = {column.name: Marks() for column in columns.groups}
            batches = _batches(run, parts, columns, marks, lambda done: told(done, total))
            reader = pa.RecordBatchReader.from_batches(_schema(columns), batches)
            connection.register("incoming", reader)
            connection.execute("INSERT INTO samples SELECT * REPLACE (uid::UUID AS uid) FROM incoming")
            connection.unregister("incoming")
            _summaries(connection, columns, parts)
            _marked_values(connection, marks)
            name_tables(connection, lambda: told(total, total))
            shards = list(shard_rows(run))
            connection.execute("CREATE TABLE shards AS SELECT ? AS shards, ? AS rows", [len(shards), sum(shards)])
            connection.execute("CHECKPOINT")
        os.replace(temporary, target)
    except (duckdb.ConversionException, pa.ArrowInvalid) as error:
        raise BadInput(f"the run's rows cannot be indexed ({str(error).splitlines()[0]})") from None
    finally:
        for left in (temporary, Path(f"{temporary}.wal")):
            left.unlink(missing_ok=True)
        shutil.rmtree(scratch, ignore_errors=True)


def _columns(run: Run, index: int) -> Columns:
    groups = run.table("groups", index, None).schema if _has(run, "groups", index) else None
    return columns_of(run.table("scores", index).schema, groups)


def _has(run: Run, artefact: str, index: int) -> bool:
    return run.store.exists(part_name(artefact, index))


_ARROW = {
    "BIGINT": pa.int64(),
    "UUID": pa.string(),
    "BOOLEAN": pa.bool_(),
    "UTINYINT": pa.uint8(),
    "UBIGINT": pa.uint64(),
    "FLOAT": pa.float32(),
    "INTEGER": pa.int32(),
    "VARCHAR": pa.string(),
}
_KINDS = {"number": pa.float32(), "whole": pa.int64(), "text": pa.string(), "group": pa.list_(pa.string())}


def _schema(columns: Columns) -> pa.Schema:
    head = [pa.field(name, _ARROW[kind]) for name, kind in HEAD]
    further = [pa.field(column.sql, _KINDS[column.kind]) for column in (*columns.scores, *columns.groups)]
    return pa.schema([*head, *further, *(pa.field(column.marks, pa.uint64()) for column in columns.groups)])


def _batches(
    run: Run, parts: list[Part], columns: Columns, marks: dict[str, Marks], told: Callable[[int], None]
) -> Iterator[pa.RecordBatch]:
    schema = _schema(columns)
    for part in parts:
        table = pa.table(_part(run, part, columns, marks), schema=schema)
        yield from table.combine_chunks().to_batches()
        told(part.start + part.rows)


def _part(run: Run, part: Part, columns: Columns, marks: dict[str, Marks]) -> dict[str, pa.Array | pa.ChunkedArray]:
    samples = run.table("samples", part.index, _SAMPLES)
    scores = run.table("scores", part.index, ["failure", "skipped", *(column.name for column in columns.scores)])
    ledger = run.table("ledger", part.index, _LEDGER)
    if not samples.column("uid").equals(ledger.column("uid")) or scores.num_rows != samples.num_rows:
        raise BadInput(f"samples and ledger part {part.index} do not belong together; run assay decide")
    kept = pc.equal(ledger.column("decision").cast(pa.string()), "kept")
    caption = pc.utf8_slice_codeunits(samples.column("caption"), 0, CAPTION)
    failed = pc.or_(pc.is_valid(samples.column("failure")), pc.is_valid(scores.column("failure")))
    found = {
        "row": pa.array(np.arange(part.start, part.start + part.rows)),
        "uid": samples.column("uid"),
        "kept": kept,
        "reason": _bits(ledger.column("primary_reason")),
        "mask": pa.array(masks_of_lists(ledger.column("reasons"))),
        "readable": pc.invert(failed),
        "spared": pc.is_valid(scores.column("skipped")),
        "weight": ledger.column("weight"),
        "cluster": ledger.column("cluster"),
        "shard": ledger.column("shard"),
        "balanced_by": ledger.column("group"),
        "caption": caption,
        "folded": pc.utf8_lower(caption),
    }
    found.update({name: samples.column(name) for name in TEXTS})
    found["domain"] = canonical_hosts(samples.column("domain"))
    for column in columns.scores:
        found[column.sql] = _score(scores, column, part.rows)
    groups = run.table("groups", part.index) if columns.groups and _has(run, "groups", part.index) else None
    for column in columns.groups:
        there = groups is not None and column.name in groups.column_names
        values = groups.column(column.name) if there and groups else pa.nulls(part.rows, _KINDS["group"])
        found[column.sql], found[column.marks] = values, marks[column.name].of(values)
    return found


def _bits(primary: pa.ChunkedArray) -> pa.Array:
    """Return the number of each primary reason in the order of precedence; null where the sample is kept."""
    masks = masks_of_codes(primary)
    none = masks == 0
    bits = np.log2(np.where(none, 1, masks).astype(np.float64)).astype(np.uint8)
    return pa.array(bits, mask=none)


def folded(text: str) -> str:
    """Return `text` as captions are searched: in lower case, by the same rules as the index."""
    return str(pc.utf8_lower(pa.scalar(text)).as_py())


def _score(scores: pa.Table, column: Column, rows: int) -> pa.Array | pa.ChunkedArray:
    if column.name not in scores.column_names:
        return pa.nulls(rows, _KINDS[column.kind])
    values = scores.column(column.name).cast(_KINDS[column.kind])
    # NaN has no place in an order: it is a score that is missing
    return pc.if_else(pc.is_nan(values), None, values) if column.kind == "number" else values


def _summaries(connection: duckdb.DuckDBPyConnection, columns: Columns, parts: list[Part]) -> None:
    """Add what pages ask first, so that they need not count all rows again."""
    connection.execute("CREATE TABLE parts (part INTEGER, start BIGINT, rows BIGINT)")
    connection.executemany("INSERT INTO parts VALUES (?, ?, ?)", [(p.index, p.start, p.rows) for p in parts])
    connection.execute("CREATE TABLE counts AS SELECT kept, reason, count(*) AS n FROM samples GROUP BY ALL")
    connection.execute("CREATE TABLE masks AS SELECT mask, kept, count(*) AS n FROM samples GROUP BY ALL")
    connection.execute("CREATE TABLE choices (source VARCHAR, name VARCHAR, value VARCHAR, n BIGINT, kept BIGINT)")
    sources = [("samples", name, name) for name in TEXTS]
    sources += [("scores", c.name, c.sql) for c in columns.scores if c.kind == "text"]
    sources += [("groups", c.name, f"unnest({c.sql})") for c in columns.groups]
    for source, name, sql in sources:
        connection.execute(
            "INSERT INTO choices SELECT ?, ?, value, count(*), count(*) FILTER (kept) FROM "
            f"(SELECT {sql} AS value, kept FROM samples) WHERE value IS NOT NULL AND value <> '' "
            f"GROUP BY value ORDER BY 4 DESC, 3 LIMIT {CHOICES}",
            [source, name],
        )
    connection.execute(
        "CREATE TABLE clusters AS SELECT cluster, count(*) AS size, count(*) FILTER (kept) AS kept, "
        f"count(*) FILTER (mask & {int(DUPLICATE)}::UBIGINT <> 0) AS gone FROM samples WHERE cluster IS NOT NULL "
        "GROUP BY cluster ORDER BY size DESC, cluster"
    )
    _ranges(connection, columns)
    body = json.dumps({"version": VERSION, "columns": asdict(columns)})
    connection.execute("CREATE TABLE about AS SELECT ? AS body", [body])


def _ranges(connection: duckdb.DuckDBPyConnection, columns: Columns) -> None:
    """Add the spread of each score: over all samples, and over finite scores of readable ones, as histograms show."""
    connection.execute("CREATE TABLE ranges (name VARCHAR, n BIGINT, low DOUBLE, high DOUBLE)")
    connection.execute("CREATE TABLE spreads (name VARCHAR, n BIGINT, low DOUBLE, high DOUBLE, mean DOUBLE)")
    for column in columns.numbers:
        score = column.sql
        connection.execute(
            f"INSERT INTO ranges SELECT ?, count({score}), min({score}), max({score}) FROM samples", [column.name]
        )
        connection.execute(
            f"INSERT INTO spreads SELECT ?, count(*), min({score}), max({score}), avg({score}::DOUBLE) FROM samples "
            f"WHERE readable AND isfinite({score}::DOUBLE)",
            [column.name],
        )


def _marked_values(connection: duckdb.DuckDBPyConnection, marks: dict[str, Marks]) -> None:
    """Add the values of groups that have few of them, with the bits by which rows are marked."""
    connection.execute("CREATE TABLE marks (name VARCHAR, value VARCHAR, bit UTINYINT)")
    rows = [(name, value, bit) for name, one in marks.items() for bit, value in enumerate(one.values)]
    if rows:
        connection.executemany("INSERT INTO marks VALUES (?, ?, ?)", rows)
