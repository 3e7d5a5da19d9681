"""Workers, jobs alone, and all processes at once, killed in every stage of a run: the same dataset in the end.

48 kills, at moments drawn from seeds: 19 of all processes, as when a machine loses its power, 19 of the job alone (one
in each stage, both) and 10 of one worker (one in each stage that has some). `test_killed_at_any_change` has 58 more of
jobs without workers. Each chain is one run directory: killed at a stage's sign, started again at once, killed at the
next one's, and so on to the end.
"""

import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from harm import command, left_overs, start

from pipelines.run.directory import open_run
from pipelines.run.manifest import read_manifest, verify


class Sign(NamedTuple):
    """A file of a run that tells its stage, and the folder that goes with it; `workers`: the stage may have some.

    `moment`: seconds after the file, at most, at which the kill comes; a stage of the job itself is over in little.
    """

    stage: str
    file: str
    folder: str
    workers: bool = True
    moment: float = 0.2


#: In the order of a run. A temporary file is a sign as well: then the kill comes in the middle of a write.
SIGNS = (
    Sign("list", "lists/*.parquet", "lists", False, 0.02),
    Sign("policies", "policies/latest/*/*.json", "policies"),
    Sign("fetch", "downloads/*.tar", "downloads"),
    Sign("ingest", ".trying/ingest-*", "samples", moment=0.05),
    Sign("signals", "signals/*.parquet", "signals"),
    Sign("statistics", "statistics/*", "statistics", False, 0.02),
    Sign("score", ".trying/score-*", "scores", moment=2.0),
    Sign("thumbnails", "thumbnails/*.tar", "scores"),
    Sign("calibrate", "statistics/*calibration*", "statistics", False, 0.02),
    Sign("match", "matches/*.parquet", "matches", moment=0.05),
    Sign("dedup", "duplicates/work/*", "duplicates", False, 0.02),
    Sign("clusters", "duplicates/*.parquet", "duplicates", False, 0.02),
    Sign("groups", "groups/*.parquet", "groups", moment=0.05),
    Sign("quotas", "balance/*", "balance", False, 0.02),
    Sign("decide", "ledger/*.parquet", "ledger", False, 0.02),
    Sign("audit", "audit/parts/*.parquet", "audit", moment=0.05),
    Sign("balance", "shards/*.tar", "shards", moment=0.05),
    Sign("index", "index/*.parquet", "index", False, 0.02),
    Sign("manifest", "*manifest.json", "manifest.json", False, 0.02),
)

PLAIN = ("--runner", "plain")

#: What a resumed run must tell as one that was never killed does.
TOLD = ("content_hash", "samples", "kept", "dropped", "balanced")


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


def wound_back(folder, place):
    """Take the files of a stage and of all after it away, so that the next job comes by its sign."""
    for sign in SIGNS[place:]:
        path = folder / sign.folder
        for found in folder.glob(sign.file):
            found.unlink(missing_ok=True)
        if path.is_dir() and sign.folder != "statistics":
            shutil.rmtree(path, ignore_errors=True)  # workers of a job that was killed may be at it for a moment


def begun(listed, folder):
    words = ("run", listed.recipe, "--out", folder, "--workers", "2", "--json")
    return start(folder.parent / "say", *words, hosts=listed.hosts)


def waited(job, folder, sign, draw, worker=False):
    """Wait for a stage's sign, where asked for a worker, and a moment more. Tell whether the job came by it."""
    deadline = time.monotonic() + 200
    while not list(folder.glob(sign.file)) or (worker and not workers_of(job.process)):
        if job.process.exitcode is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.003)
    time.sleep(draw.uniform(0, sign.moment))
    return job.process.exitcode is None


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


def chain(listed, folder, seed, kill_one, worker=False):
    """Kill at each sign, in their order, on one run directory; return the stages in which a kill came in time."""
    draw, found = random.Random(seed), []
    for place, sign in enumerate(SIGNS):
        if worker and not sign.workers:
            continue
        for _ in range(3):  # a kill that comes too late counts for nothing
            wound_back(folder, place)
            job = begun(listed, folder)
            try:
                if waited(job, folder, sign, draw, worker) and kill_one(job, draw):
                    found.append(sign.stage)
                    break
            finally:
                for pid in [job.process.pid, *descendants(job.process.pid)]:
                    kill(pid)
                job.ended()
        if (folder / "manifest.json").exists():
            assert read_manifest(open_run(str(folder)))["content_hash"] == listed.content_hash
    whole_again(listed, folder)
    return found


def whole_again(listed, folder):
    done = command(folder.parent / "say", "run", listed.recipe, "--out", folder, *PLAIN, "--json", hosts=listed.hosts)
    assert done.code == 0, done.err
    assert {k: done.json[k] for k in TOLD} == {k: listed.done.json[k] for k in TOLD}
    assert verify(open_run(str(folder))) == []
    assert left_overs(folder) == []


@pytest.mark.faults
@pytest.mark.timeout(2400)
def test_a_killed_worker_ends_the_job_in_one_line(listed, tmp_path):
    def one_worker(job, draw):
        workers = workers_of(job.process)
        if workers:
            kill(draw.choice(workers))
        done = job.ended(60)
        assert done is not None, "a job without one of its workers goes on for more than 60 s"
        if done.code == 0:
            return False
        assert done.code == 2
        assert "SIGKILL" in done.line()
        assert "it resumes" in done.line()
        return True

    found = chain(listed, tmp_path / "run", 4, one_worker, worker=True)
    assert found == [sign.stage for sign in SIGNS if sign.workers]


@pytest.mark.faults
@pytest.mark.timeout(2400)
def test_a_job_killed_alone_takes_its_workers_along_and_is_resumed_at_once(listed, tmp_path):
    left = []

    def the_job(job, draw):
        # the next job starts before its workers may have noticed: what they still write must harm nothing
        left.extend(workers_of(job.process))
        kill(job.process.pid)
        return job.ended().code == -signal.SIGKILL

    assert chain(listed, tmp_path / "run", 6, the_job) == [sign.stage for sign in SIGNS]
    assert len(left) >= 10
    deadline = time.monotonic() + 15
    while any(map(alive, left)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, left))
    assert verify(open_run(str(tmp_path / "run"))) == []


@pytest.mark.faults
@pytest.mark.timeout(2400)
def test_all_processes_killed_at_once(listed, tmp_path):
    def everything(job, draw):
        for pid in [job.process.pid, *descendants(job.process.pid)]:
            kill(pid)
        return job.ended().code == -signal.SIGKILL

    assert chain(listed, tmp_path / "run", 5, everything) == [sign.stage for sign in SIGNS]
