"""The demo as README promises it: the whole corpus, the time it takes, and replay in under a second."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.jobs.replay import replay
from pipelines.run.directory import open_run

ROOT = Path(__file__).resolve().parents[2]
MAIN = "from pipelines.commands.main import main; main()"

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def demo(openclipart, tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "run"
    start = time.monotonic()
    command = [sys.executable, "-c", MAIN, "run", "examples/openclipart.yaml", "--out", str(out), "--json"]
    done = subprocess.run(
        [*command, "--set", f"input.path={openclipart}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return out, json.loads(done.stdout), time.monotonic() - start


@pytest.mark.timeout(1800)
def test_all_8121_samples_are_accounted_for(demo):
    _, status, seconds = demo
    assert status["samples"] == 8121
    assert status["balanced"] is True
    assert status["dropped"]["LICENCE_MISSING"] == 61
    assert status["dropped"]["LICENCE_NOT_ALLOWED"] == 4
    assert status["dropped"]["DECOMPRESSION_BOMB"] == 16
    assert seconds < 900


def test_replay_takes_under_a_second_beside_start_up(demo, tmp_path):
    run = open_run(str(demo[0]))
    start = time.monotonic()
    new = replay(run, ["rules.nsfw.high=0.5"], str(tmp_path / "new"))
    assert time.monotonic() - start < 1.0
    assert new.rows("ledger") == 8121
