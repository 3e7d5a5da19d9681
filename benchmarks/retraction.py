"""Measure retraction: `python -m benchmarks.retraction`; one JSON line a figure.

Makes a run of 100,000 small pictures in 1,000 shards (about ten minutes), then applies opt-outs that hit one, ten
and a hundred shards, each on its own copy-free state, and compares what that costs with writing all shards anew.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image

from filters.optout.entries import Draft, Kind
from pipelines.engine import PLAIN, Engine
from pipelines.jobs.apply import apply
from pipelines.jobs.balance import balance
from pipelines.jobs.decide import decide
from pipelines.jobs.dedup import dedup
from pipelines.jobs.finish import finish
from pipelines.jobs.ingest import ingest
from pipelines.jobs.match import match
from pipelines.jobs.retract import Keys
from pipelines.jobs.score import score
from pipelines.registry.store import create_registry, open_registry
from pipelines.run.directory import Run, create_run
from pipelines.run.manifest import verify
from pipelines.run.recipe import load_recipe

INPUT_SHARDS = 200


def make_input(folder: Path, samples: int) -> None:
    """Write tars of small pictures, each with a creator of its own; one in a thousand shares one with others."""
    draw = np.random.default_rng(0)
    for shard in range(INPUT_SHARDS):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as archive:
            for number in range(shard * samples // INPUT_SHARDS, (shard + 1) * samples // INPUT_SHARDS):
                pixels = draw.integers(0, 255, (24, 24, 3), dtype=np.uint8)
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
                body = json.dumps({"licence": "CC0", "creator": f"Maker Number{number}"}).encode()
                caption = f"picture number {number} of many".encode()
                for suffix, data in (("png", buffer.getvalue()), ("txt", caption), ("json", body)):
                    member = tarfile.TarInfo(f"{number:07d}.{suffix}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))


def make_run(folder: Path, samples: int, shards: int) -> Run:
    """Return a finished run over the input, with an empty registry pinned."""
    recipe = {
        "version": 1,
        "name": "retraction",
        "input": {"kind": "webdataset", "path": str(folder / "in")},
        "scorers": ["size", "hashes", "caption"],
        "duplicates": {"phash_distance": None},
        "rights": {"registry": str(folder / "registry.sqlite")},
        "shards": {"samples": samples // shards},
    }
    (folder / "in").mkdir()
    make_input(folder / "in", samples)
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    create_registry(str(folder / "registry.sqlite")).close()
    run = create_run(str(folder / "run"), load_recipe(folder / "recipe.yaml"))
    engine = Engine(PLAIN)
    ingest(run, engine)
    score(run, engine)
    dedup(run)
    match(run, engine)
    decide(run)
    balance(run, engine)
    finish(run)
    return run


def seconds(call: Any) -> float:
    """Return how long a call took."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    """Print one JSON line a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="assay-retraction-") as name:
        folder = Path(name)
        made = seconds(lambda: make_run(folder, arguments.samples, arguments.shards))
        run = create_run(str(folder / "run"), load_recipe(folder / "recipe.yaml"))
        each = arguments.samples // arguments.shards
        took: dict[int, float] = {}
        first = 0
        for shards in (1, 10, 100):
            hit = [(first + number) * each + 3 for number in range(shards)]
            first += shards
            with open_registry(str(folder / "registry.sqlite")) as registry:
                registry.append([Draft(Kind.CREATOR, f"Maker Number{number}") for number in hit])
            record: dict[str, Any] = {}
            keys = Keys(Ed25519PrivateKey.generate())
            took[shards] = seconds(lambda found=record, use=keys: found.update(apply(run, None, use)))
            rewritten = [
                file for file in record["purged"] if file.startswith("shards/shard") and file.endswith(".tar")
            ]
            assert len(record["left"]) == shards
            assert len(rewritten) == shards
            figure = {"figure": "retraction", "samples": arguments.samples, "shards": arguments.shards}
            print(json.dumps({**figure, "shards_hit": shards, "seconds": round(took[shards], 3)}), flush=True)
        problems = verify(run)
        ratios = {"10_over_1": round(took[10] / took[1], 2), "100_over_10": round(took[100] / took[10], 2)}
        whole = {"figure": "retraction of 1 shard over making the run", "ratio": round(took[1] / made, 5)}
        print(json.dumps({"figure": "growth", **ratios, "verify_problems": len(problems)}))
        print(json.dumps(whole))


if __name__ == "__main__":
    main()
