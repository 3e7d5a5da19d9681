"""Workers, jobs with their workers, and jobs alone, killed at any time: the same dataset in the end."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from harm import left_overs
from making import assay_command

from pipelines.run.directory import open_run
from pipelines.run.manifest import verify

#: Kills of one worker, and of all processes at once, as when a machine loses its power.
WORKER_KILLS, MACHINE_KILLS = 4, 4


def descendants(pid):
    found, waiting = [], [pid]
    while waiting:
        children = []
        for task in Path(f"/proc/{waiting[0]}/task").glob("*/children"):  # each thread has children of its own
            try:
                children += task.read_text().split()
            except OSError:
                continue
        waiting = [*waiting[1:], *map(int, children)]
        found += map(int, children)
    return found


def workers_of(job):
    """The workers of a job: forked by the server that the job has started."""
    found = []
    for pid in descendants(job.pid):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if b"forkserver" in words and parent != job.pid:
            found.append(pid)
    return found


def start(whole, folder):
    words = assay_command("run", whole.recipe, "--out", folder / "run", "--workers", "2", "--json")
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def resumed(whole, folder):
    words = assay_command("run", whole.recipe, "--out", folder / "run", "--workers", "2", "--json")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["content_hash"] == whole.content_hash
    assert verify(open_run(str(folder / "run"))) == []
    assert left_overs(folder / "run") == []


def wait_for(sign, job, seconds=120):
    deadline = time.monotonic() + seconds
    while job.poll() is None and time.monotonic() < deadline:
        found = sign()
        if found:
            return found
        time.sleep(0.02)
    return None


@pytest.mark.faults
@pytest.mark.timeout(1500)
def test_a_killed_worker_ends_the_job_in_one_line(whole, tmp_path):
    draw, kills = random.Random(4), 0
    for attempt in range(4 * WORKER_KILLS):
        folder = tmp_path / str(attempt)
        job = start(whole, folder)
        for _ in range(draw.choice((1, 1, 2, 3))):  # stages begin with workers of their own
            known = wait_for(lambda: workers_of(job), job)  # noqa: B023
            time.sleep(draw.uniform(0, 0.3))
        found = workers_of(job) if known else []
        if found:
            os.kill(draw.choice(found), signal.SIGKILL)
        killed = time.monotonic()
        _, told = job.communicate(timeout=200)
        assert time.monotonic() - killed < 120
        if job.returncode:
            kills += 1
            assert job.returncode == 2
            lines = [line for line in told.splitlines() if line.startswith("assay: ")]
            assert len(lines) == 1
            assert "SIGKILL" in lines[0]
            assert "it resumes" in lines[0]
            assert "Traceback" not in told
        resumed(whole, folder)
        if kills == WORKER_KILLS:
            return
    pytest.fail(f"only {kills} workers were killed in time")


@pytest.mark.faults
@pytest.mark.timeout(1500)
def test_all_processes_killed_at_once(whole, tmp_path):
    draw = random.Random(5)
    for kill in range(MACHINE_KILLS):
        folder = tmp_path / str(kill)
        job = start(whole, folder)
        assert wait_for(lambda: list((folder / "run").glob("samples/*.done.json")), job)  # noqa: B023
        time.sleep(draw.uniform(0, 4))
        processes = [job.pid, *descendants(job.pid)]
        for pid in processes:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        job.communicate()
        resumed(whole, folder)
