"""Killed at any moment and run again, the job ends with the same dataset as one that was never killed."""

import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time

import pytest
from making import write_recipe

KILLS = 10


def command(recipe, out):
    code = "from pipelines.commands.main import main; main()"
    return [sys.executable, "-c", code, "run", str(recipe), "--out", str(out), "--json"]


@pytest.fixture(scope="module")
def real_recipe(openclipart, tmp_path_factory):
    """A recipe over 4 shards of 60 real pictures, with every scorer."""
    folder = tmp_path_factory.mktemp("slice")
    (folder / "in").mkdir()
    for number in range(4):
        with (
            tarfile.open(openclipart / f"openclipart-{2 * number:05d}.tar") as source,
            tarfile.open(folder / "in" / f"{number}.tar", "w") as target,
        ):
            for member in source.getmembers()[:180]:
                target.addfile(member, source.extractfile(member))
    return write_recipe(
        folder,
        folder / "in",
        scorers=["size", "hashes", "caption", "language", "technical", "nsfw", "similarity"],
        rules={"similarity": {"keep_top": 0.8}, "nsfw": {"high": 0.9}},
        balance={"by": "concept", "cap": 10},
        shards={"samples": 50},
    )


def finish(recipe, out):
    start = time.monotonic()
    done = subprocess.run(command(recipe, out), capture_output=True, text=True, check=True)
    return json.loads(done.stdout), time.monotonic() - start


@pytest.mark.timeout(900)
def test_ten_kills_give_the_same_content_hash(real_recipe, tmp_path):
    whole, seconds = finish(real_recipe, tmp_path / "whole")
    assert whole["samples"] == 240
    draw = random.Random(20261120)
    out, kills, generation = tmp_path / "killed-0", 0, 0
    while kills < KILLS:
        process = subprocess.Popen(command(real_recipe, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # most of a short run is imports: aim at the part that writes
        time.sleep(seconds * draw.uniform(0.35, 1.0))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
            process.wait()
        else:
            assert process.returncode == 0
            generation += 1
            out = tmp_path / f"killed-{generation}"
    resumed, _ = finish(real_recipe, out)
    assert resumed["content_hash"] == whole["content_hash"]
    assert {k: resumed[k] for k in ("samples", "kept", "dropped", "balanced")} == {
        k: whole[k] for k in ("samples", "kept", "dropped", "balanced")
    }
    left = [path.name for path in out.rglob("*") if ".tmp-" in path.name]
    assert left == []
    from pipelines.commands.main import invoke

    assert invoke(["manifest", "verify", str(out)]) == 0
