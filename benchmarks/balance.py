"""Measure the balance's decision: `python -m benchmarks.balance`; one JSON line a case, each in a process of its own.

Rows are made with a fixed seed: uids, three groups (regions and gender terms with the skew of the web, 40 occupations)
and survivors of other rules, the groups as parts of 10,000 rows on disk. Reading them, counting, the lottery, quotas,
raking and moment matching are timed as the decide job runs them, on the driver; making the rows is not. `before_mb` is
the most that the process held before that, `peak_mb` at any time.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
import pyarrow as pa

from pipelines.jobs.decide_balance import balance_samples
from pipelines.jobs.decide_groups import read_groups, used_groups
from pipelines.run.directory import Run
from pipelines.run.parts import PartWriter, part_name
from pipelines.run.recipe import Recipe
from pipelines.run.schema import groups_schema
from pipelines.run.storage import Store

TARGET_S = 60.0
PART = 10_000
REGIONS = ["Africa", "Asia", "Europe", "Latin America and the Caribbean", "Northern America", "Oceania"]
SHARES = [0.023, 0.14, 0.30, 0.06, 0.45, 0.027]
CASES: dict[str, dict[str, object]] = {
    "cap": {"by": "concept", "cap": 500},
    "quotas": {
        "quotas": {
            "region": {"min": {"Africa": 0.2, "Asia": 0.2}, "max_drop": 0.95},
            "gender_terms": {"parity": ["feminine", "masculine"], "max_drop": 0.95},
        }
    },
    "concepts": {"concepts": {"group": "occupations", "t": 500}},
    "rake": {
        "rake": {
            "margins": {"region": {"Africa": 0.1, "Asia": 0.3}, "gender_terms": {"feminine": 0.5, "masculine": 0.5}}
        }
    },
    "moments": {
        "moments": {
            "targets": {"gender_terms": {"feminine": 0.5, "masculine": 0.5}, "region": {"Africa": 0.05}},
            "labels": ["occupations"],
        }
    },
}


def lists(source: np.random.Generator, values: list[str], shares: list[float], some: float) -> pa.Array:
    """Make a part's column of a group that the fraction `some` of the rows has one value of."""
    held = source.random(PART) < some
    chosen = source.choice(values, int(held.sum()), p=np.array(shares) / sum(shares))
    return pa.ListArray.from_arrays(pa.array(np.r_[0, np.cumsum(held)], pa.int32()), pa.array(chosen))


def write_parts(run: Run, source: np.random.Generator, parts: int) -> None:
    """Write the groups of a run, and markers of samples."""
    jobs = [f"occupation {number:02d}" for number in range(40)]
    for index in range(parts):
        table = pa.table(
            {
                "uid": pa.array([""] * PART),
                "region": lists(source, REGIONS, SHARES, 0.4),
                "gender_terms": lists(source, ["feminine", "masculine", "mixed"], [0.3, 0.65, 0.05], 0.2),
                "occupations": lists(source, jobs, [1 / (number + 1) for number in range(40)], 0.3),
            }
        ).replace_schema_metadata(groups_schema([]).metadata)
        PartWriter(run.store, part_name("samples", index, ""), "").commit(PART)
        writer = PartWriter(run.store, part_name("groups", index, ""), "")
        writer.add_table(part_name("groups", index), table)
        writer.commit(PART)


def main() -> None:
    """Measure all cases, or the one named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--case", choices=CASES)
    options = parser.parse_args()
    if options.case is None:
        for case in CASES:
            command = [sys.executable, "-m", "benchmarks.balance", "--rows", str(options.rows), "--case", case]
            subprocess.run(command, check=True)
        return
    measure(options.case, options.rows)


def measure(case: str, rows: int) -> None:
    """Measure one case and print it."""
    source = np.random.default_rng(5)
    parts = rows // PART
    uids = pa.chunked_array([[f"{number:032x}" for number in source.integers(0, 2**63, PART)] for _ in range(parts)])
    rows = len(uids)
    by = np.array([f"word{int(x)}" for x in source.pareto(0.7, rows)], dtype=object)
    masks = (source.random(rows) < 0.3).astype(np.uint64)
    recipe = Recipe.model_validate(
        {"name": "benchmark", "input": {"kind": "folder", "path": "."}, "balance": CASES[case]}
    )
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Store(folder), recipe)
        write_parts(run, source, parts)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        cpu, wall = time.process_time(), time.perf_counter()
        found = balance_samples(recipe, uids, by, masks, read_groups(run, used_groups(recipe)))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    statement = found.statement or {}
    line = {
        "name": f"balance_{case}",
        "value": round(cpu, 2),
        "unit": "CPU s",
        "target": TARGET_S,
        "wall_s": round(wall, 2),
        "rows": rows,
        "alive": statement["samples"]["before"],
        "dropped": statement["samples"]["dropped"],
        "ess_share": round(statement["weights"]["ess_share"], 4),
        "converged": statement["weights"]["converged"],
        "before_mb": round(before / 1024),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "command": " ".join(["python -m benchmarks.balance", *sys.argv[1:]]),
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
