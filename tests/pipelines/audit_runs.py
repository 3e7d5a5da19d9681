"""Makes decided runs of generated captions by the real writers, for the tests of groups, audit and gates."""

import pyarrow as pa
import yaml

from filters.rules import masks_of_lists, primary_codes
from pipelines.jobs.decide import content_digest
from pipelines.run.directory import create_run
from pipelines.run.parts import PartWriter, part_name
from pipelines.run.recipe import parse_recipe
from pipelines.run.schema import LEDGER, SAMPLES, SIGNALS, scores_schema

BASE = {
    "name": "made",
    "input": {"kind": "webdataset", "path": "nowhere"},
    "scorers": ["size", "hashes", "caption", "language"],
}


def recipe(**sections):
    """A recipe of few scorers with these sections."""
    return parse_recipe(yaml.safe_dump({**BASE, **sections}), "recipe", [])


def make(folder, table, made=None, rows_a_part=2000):
    """Write a run whose samples, scores and ledger hold the columns of a table of `audit.planted`."""
    run = create_run(str(folder), made or recipe())
    if "language" in run.recipe.scorers and "language" not in table.column_names:
        table = table.append_column("language", pa.nulls(table.num_rows, pa.string()))
    for index, start in enumerate(range(0, max(1, table.num_rows), rows_a_part)):
        write_part(run, index, table.slice(start, rows_a_part))
    return run


def write_part(run, index, table):
    """Write one part of each artefact that the audit reads."""
    rows = table.num_rows
    writer = PartWriter(run.store, part_name("samples", index, ""), "made")
    fixed = {"key": table.column("uid").to_pylist(), "shard": ["in.tar"] * rows}
    writer.add_table(part_name("samples", index), filled(table, SAMPLES, fixed))
    writer.add_table(part_name("signals", index), SIGNALS.empty_table())
    content = str(hash(str(table.to_pylist())))
    writer.commit(rows, {"shard": f"{index}.tar", "content": content, "failures": {}, "signals_content": ""})
    further = [n for n in table.column_names if n not in {*SAMPLES.names, *LEDGER.names}]
    writer = PartWriter(run.store, part_name("scores", index, ""), "made")
    schema = scores_schema([pa.field(name, table.schema.field(name).type) for name in further])
    writer.add_table(part_name("scores", index), filled(table, schema, {}))
    writer.commit(rows, {"failures": {}, "models": {}, "skipped": 0})
    if "decision" in table.column_names:
        write_ledger(run, index, table)


def write_ledger(run, index, table):
    """Write one part of the ledger, weights 1 where the table has none."""
    kept = [decision == "kept" for decision in table.column("decision").to_pylist()]
    fixed = {
        "primary_reason": primary_codes(masks_of_lists(table.column("reasons"))).to_pylist(),
        "weight": [1.0 if one else None for one in kept],
        "shard": [0 if one else None for one in kept],
    }
    writer = PartWriter(run.store, part_name("ledger", index, ""), "made")
    ledger = filled(table, LEDGER, {name: v for name, v in fixed.items() if name not in table.column_names})
    writer.add_table(part_name("ledger", index), ledger)
    writer.commit(table.num_rows, {"kept": sum(kept), "rules": [], "content": content_digest(ledger)})


def filled(table, schema, fixed):
    """The table's columns as `schema` has them; what it lacks is `fixed` or null."""
    arrays = []
    for field in schema:
        if field.name in table.column_names:
            column = table.column(field.name)
            same = column.type == field.type
            arrays.append(column.combine_chunks() if same else pa.array(column.to_pylist(), field.type))
        else:
            arrays.append(pa.array(fixed.get(field.name, [None] * table.num_rows), field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def plain(captions, **columns):
    """A table of kept samples with these captions."""
    count = len(captions)
    fixed = {
        "uid": [f"{i:032x}" for i in range(count)],
        "caption": captions,
        "decision": ["kept"] * count,
        "reasons": pa.array([[]] * count, LEDGER.field("reasons").type),
    }
    return pa.table({**fixed, **columns})
