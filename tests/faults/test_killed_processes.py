"""Workers, jobs with their workers, and jobs alone, killed at any time: the same dataset in the end."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from harm import command, left_overs
from making import assay_command

from pipelines.run.directory import open_run
from pipelines.run.manifest import verify

#: Kills of one worker; of the job alone; and of all processes at once, as when a machine loses its power.
KILLS = 3

#: Files that tell how far a job has come, one for each stage that has workers.
SIGNS = [".trying/ingest-*", "samples/*.done.json", ".trying/score-*", "scores/*.done.json", "ledger/*.done.json"]
SIGNS += ["audit/all.done.json", "shards/shard-00000.done.json"]

PLAIN = ("--runner", "plain")


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


def resumed(whole, folder, *how):
    done = command(folder / "say", "run", whole.recipe, "--out", folder / "run", "--json", *(how or PLAIN))
    assert done.code == 0, done.err
    assert done.json["content_hash"] == whole.content_hash
    assert verify(open_run(str(folder / "run"))) == []
    assert left_overs(folder / "run") == []


def wait_for(sign, job, seconds=300):
    """What `sign` finds, as soon as it finds something; None once the job has ended."""
    deadline = time.monotonic() + seconds
    while job.poll() is None and time.monotonic() < deadline:
        found = sign()
        if found:
            return found
        time.sleep(0.02)
    return None


def wait_at(job, folder, sign, draw):
    """Wait for a file of the run that tells its stage, then for a worker, then for a moment more."""
    wait_for(lambda: list((folder / "run").glob(sign)), job)
    wait_for(lambda: workers_of(job), job)
    time.sleep(draw.uniform(0, 0.25))


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:  # ended by itself a moment ago
        return


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def at_each_sign(tmp_path, whole, draw):
    """A started job at each of the signs, in an order of chance, and again where kills come too late."""
    for attempt in range(3):
        for number, sign in enumerate(draw.sample(SIGNS, len(SIGNS))):
            folder = tmp_path / f"{attempt}-{number}"
            job = start(whole, folder)
            try:
                wait_at(job, folder, sign, draw)
                yield folder, job
            finally:
                for pid in [job.pid, *descendants(job.pid)]:
                    kill(pid)
                job.communicate()


@pytest.mark.faults
@pytest.mark.timeout(2400)
def test_a_killed_worker_ends_the_job_in_one_line(whole, tmp_path):
    draw, kills = random.Random(4), 0
    for folder, job in at_each_sign(tmp_path, whole, draw):
        found = workers_of(job)
        if found:
            kill(draw.choice(found))
        killed = time.monotonic()
        _, told = job.communicate(timeout=200)
        if job.returncode:
            assert time.monotonic() - killed < 60
            kills += 1
            assert job.returncode == 2
            lines = [line for line in told.splitlines() if line.startswith("assay: ")]
            assert len(lines) == 1
            assert "SIGKILL" in lines[0]
            assert "it resumes" in lines[0]
            assert "Traceback" not in told, told
        resumed(whole, folder)
        if kills == KILLS:
            return
    pytest.fail(f"only {kills} workers were killed in time")


@pytest.mark.faults
@pytest.mark.timeout(2400)
def test_a_job_killed_alone_takes_its_workers_along_and_is_resumed_at_once(whole, tmp_path):
    draw, kills = random.Random(6), 0
    for folder, job in at_each_sign(tmp_path, whole, draw):
        workers = workers_of(job)
        kill(job.pid)
        job.wait()
        # before its workers may have noticed: what they still write must harm nothing
        resumed(whole, folder)
        deadline = time.monotonic() + 15
        while any(map(alive, workers)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not any(map(alive, workers))
        assert verify(open_run(str(folder / "run"))) == []
        kills += job.returncode == -signal.SIGKILL and bool(workers)
        if kills == KILLS:
            return
    pytest.fail(f"only {kills} jobs were killed in time")


@pytest.mark.faults
@pytest.mark.timeout(2400)
def test_all_processes_killed_at_once(whole, tmp_path):
    draw, kills = random.Random(5), 0
    for folder, job in at_each_sign(tmp_path, whole, draw):
        for pid in [job.pid, *descendants(job.pid)]:
            kill(pid)
        job.communicate()
        kills += job.returncode == -signal.SIGKILL
        resumed(whole, folder, *(("--workers", "2") if kills == 1 else PLAIN))
        if kills == KILLS:
            return
    pytest.fail(f"only {kills} jobs were killed in time")
