"""Runs the recipe of `benchmarks.scaling` over one input after the other in one process; a JSON line each.

python -m benchmarks.scaling_child FOLDER WORKERS INPUT...: imports and models are loaded by the first run, which is
printed like the others. Processor seconds are those of the process and of the workers that it started.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import sys
import time
from pathlib import Path

from pipelines.commands.main import invoke

RECIPE = {
    "version": 1,
    "name": "scaling",
    "scorers": ["size", "hashes", "caption"],
    "rules": {"min_side": {"low": 48}, "caption_characters": {"low": 3, "high": 500}},
    "duplicates": {"phash_distance": 4, "pdq_distance": None, "colour_distance": None, "confirm_distance": None},
}


def one(source: str, folder: Path, workers: str) -> dict[str, object]:
    """Run the recipe over a folder of shards into a run that is removed afterwards."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(json.dumps({**RECIPE, "input": {"kind": "webdataset", "path": f"{source}/*.tar"}}))
    out, before, start = io.StringIO(), sum(os.times()[:4]), time.perf_counter()
    with contextlib.redirect_stdout(out):
        status = invoke(["run", str(recipe), "--out", str(folder / "run"), "--workers", workers, "--json"])
    seconds, cpu = time.perf_counter() - start, sum(os.times()[:4]) - before
    if status:
        raise SystemExit(f"assay run ended with {status} on {source}")
    shutil.rmtree(folder / "run")
    counts = json.loads(out.getvalue())
    most = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    peak = round(max(most) / (1 << 10 if sys.platform == "linux" else 1 << 20))
    took = {"seconds": seconds, "cpu_seconds": cpu, "peak_mb": peak}
    return {"samples": counts["samples"], "kept": counts["kept"], **took}


def main() -> None:
    """Run every input in turn."""
    folder, workers, *sources = sys.argv[1:]
    for source in sources:
        print(json.dumps(one(source, Path(folder), workers)), flush=True)


if __name__ == "__main__":
    main()
