"""Killed at any moment and run again, the job ends with the same dataset as one that was never killed."""

import json
import os
import random
import signal
import subprocess
import time

import pytest
from making import assay_command


@pytest.mark.timeout(900)
@pytest.mark.parametrize("wanted", [2, pytest.param(10, marks=pytest.mark.faults)])
def test_so_many_kills_give_the_same_content_hash(real_run, tmp_path, wanted):
    draw = random.Random(20261120)
    generation, kills, seconds = 0, 0, real_run.seconds
    out = tmp_path / "killed-0"
    while kills < wanted:
        command = assay_command("run", real_run.recipe, "--out", out)
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # a third of so short a run is imports: aim at the part that writes
        try:
            process.wait(seconds * draw.uniform(0.3, 1.0))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
            process.wait()
        else:
            assert process.returncode == 0
            # the machine has become faster since the first run
            seconds = min(seconds, time.monotonic() - start)
            generation += 1
            out = tmp_path / f"killed-{generation}"
    command = assay_command("run", real_run.recipe, "--out", out, "--json")
    resumed = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    for key in ("content_hash", "samples", "kept", "dropped", "balanced"):
        assert resumed[key] == real_run.status[key]
    assert [path.name for path in out.rglob("*") if ".tmp-" in path.name] == []
    assert subprocess.run(assay_command("manifest", "verify", out), check=False).returncode == 0
