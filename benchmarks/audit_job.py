"""Measure the audit as a whole job: `python -m benchmarks.audit_job`; one JSON line for groups, one for the audit.

A run is written with a fixed seed (not timed): captions, hosts, creators and reasons as in `benchmarks.audit`, ten
thousand a part. Then groups are assigned and the audit is made with every kind of question, by the command's own
runner.
Wall seconds depend on what else the machine does; CPU seconds hardly do.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable

import pyarrow as pa
import yaml

from benchmarks.audit import PART, TARGET_S, part
from filters.rules import masks_of_lists, primary_codes
from pipelines.engine import Engine
from pipelines.jobs.audit import audit
from pipelines.jobs.groups import assign_groups
from pipelines.run.directory import Run, create_run
from pipelines.run.parts import PartWriter, part_name
from pipelines.run.recipe import parse_recipe
from pipelines.run.schema import LEDGER, SAMPLES, scores_schema

RECIPE = {
    "name": "benchmark",
    "input": {"kind": "webdataset", "path": "nowhere"},
    "scorers": ["size", "language"],
    "audit": {
        "groups": {
            "gender_terms": {"kind": "terms", "lexicon": "gender_terms"},
            "age": {"kind": "terms", "lexicon": "age_terms"},
            "religion": {"kind": "terms", "lexicon": "religions"},
            "disability": {"kind": "terms", "lexicon": "disability"},
            "skin_tone_words": {"kind": "terms", "lexicon": "skin_tone_words"},
            "toxicity": {"kind": "terms", "lexicon": "toxicity", "overlap": "each"},
            "occupations": {"kind": "terms", "lexicon": "occupations", "overlap": "each"},
            "region": {"kind": "place"},
            "country": {"kind": "place", "level": "country"},
            "source_region": {"kind": "domain"},
            "host": {"kind": "domain", "level": "host"},
            "creator": {"kind": "creator"},
            "language": {"kind": "language"},
        },
        "intersections": [["region", "gender_terms"], ["region", "age"]],
    },
    "gates": {
        "fair": {"disparate_impact": {"group": "region"}},
        "parity": {"share": {"group": "gender_terms", "value": "feminine", "min": 0.35}},
        "gap": {"concept_gap": {"concepts": "occupations", "groups": "gender_terms", "max": 0.2}},
    },
}


def write_run(folder: str, rows: int) -> Run:
    """Write samples, scores and ledger of a decided run."""
    run = create_run(folder, parse_recipe(yaml.safe_dump(RECIPE), "benchmark", []))
    source = random.Random(6)
    for index in range((rows + PART - 1) // PART):
        table = part(source)
        uids = [f"{index * PART + i:032x}" for i in range(table.num_rows)]
        fixed = {"uid": uids, "key": uids, "shard": ["in.tar"] * table.num_rows}
        for artefact, schema in (("samples", SAMPLES), ("scores", scores_schema([pa.field("language", pa.string())]))):
            writer = PartWriter(run.store, part_name(artefact, index, ""), "made")
            writer.add_table(part_name(artefact, index), _filled(table, schema, fixed))
            writer.commit(table.num_rows, {"content": str(index), "failures": {}, "models": {}})
        kept = [decision == "kept" for decision in table.column("decision").to_pylist()]
        weights = [1.0 if one else None for one in kept]
        primary = primary_codes(masks_of_lists(table.column("reasons"))).to_pylist()
        writer = PartWriter(run.store, part_name("ledger", index, ""), "made")
        ledger = _filled(table, LEDGER, {"uid": uids, "weight": weights, "primary_reason": primary})
        writer.add_table(part_name("ledger", index), ledger)
        writer.commit(table.num_rows, {"content": str(index), "kept": sum(kept), "rules": []})
    return run


def _filled(table: pa.Table, schema: pa.Schema, fixed: dict[str, list[object]]) -> pa.Table:
    arrays = []
    for field in schema:
        if field.name in fixed or field.name not in table.column_names:
            arrays.append(pa.array(fixed.get(field.name, [None] * table.num_rows), field.type))
        else:
            arrays.append(pa.array(table.column(field.name).to_pylist(), field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def timed(name: str, rows: int, work: Callable[[], object]) -> dict[str, object]:
    """Run `work` and return its line."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    return {
        "name": name,
        "value": round(seconds, 1),
        "unit": "s",
        "target": TARGET_S,
        "cpu_s": round(cpu_seconds, 1),
        "rows": rows,
        "rows_per_cpu_s": round(rows / cpu_seconds),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "command": " ".join(["python -m benchmarks.audit_job", *sys.argv[1:]]),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runner", default="FnApiRunner")
    options = parser.parse_args()
    engine = Engine(options.runner)
    with tempfile.TemporaryDirectory() as folder:
        run = write_run(f"{folder}/run", options.rows)
        rows = run.rows("samples")
        print(json.dumps(timed("audit_groups", rows, lambda: assign_groups(run, engine))), flush=True)
        print(json.dumps(timed("audit_job", rows, lambda: audit(run, engine))), flush=True)


if __name__ == "__main__":
    main()
