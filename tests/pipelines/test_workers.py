"""Several worker processes on one machine: the same dataset, an error in one line, and no worker left behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from making import assay_command, sample, write_recipe, write_tar

from filters.errors import BadInput
from pipelines.engine import Engine, StageError, run_parts
from pipelines.workers import WorkerDied, WorkerPool, _manner, watched


class Work:
    """Part 3 ends as `end` says; each part leaves a file with its process and its cores."""

    def __init__(self, folder, end="well"):
        self.folder, self.end = folder, end

    def load(self):
        """Nothing to load."""

    def run(self, index):
        from filters.cores import available_cores

        (self.folder / str(index)).write_text(f"{os.getpid()} {available_cores()}")
        time.sleep(0.2)
        if index == 3 and self.end == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if index == 3 and self.end == "crash":
            import ctypes

            ctypes.string_at(0)
        if index == 3 and self.end == "bad":
            raise BadInput("part 3: the file is broken; get it again – «ü»")


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Workers must find this module, as they would find an installed one."""
    here = Path(__file__).resolve()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(here.parents[2]), str(here.parent)]))


def test_parts_are_shared_out_and_each_worker_gets_its_share_of_the_cores(tmp_path):
    run_parts(Engine(workers=2), "test", Work(tmp_path), range(6))
    told = [(tmp_path / str(index)).read_text().split() for index in range(6)]
    processes = {int(process) for process, _ in told}
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert {int(cores) for _, cores in told} == {max(1, len(os.sched_getaffinity(0)) // 2)}


def test_an_error_that_a_user_can_act_on_crosses_as_one_line(tmp_path, capfd):
    with pytest.raises(StageError) as caught:
        run_parts(Engine(workers=2), "test", Work(tmp_path, "bad"), range(6))
    assert str(caught.value) == "part 3: the file is broken; get it again – «ü»"
    assert caught.value.exit_code == 2
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_killed_worker_ends_the_job_with_the_cause_and_leaves_none(tmp_path):
    start = time.monotonic()
    with pytest.raises(WorkerDied, match=r"was ended by SIGKILL \(killed, by hand or for want of memory\)"):
        run_parts(Engine(workers=2), "test", Work(tmp_path, "killed"), range(6))
    assert time.monotonic() - start < 60
    for path in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.read_text().split()[0]), 0)


@pytest.mark.faults
def test_a_crash_in_native_code_is_told_as_one(tmp_path):
    with pytest.raises(WorkerDied, match=r"SIGSEGV \(a crash in native code\); it said .Fatal Python error"):
        run_parts(Engine(workers=2), "test", Work(tmp_path, "crash"), range(6))


@pytest.mark.faults
def test_workers_end_when_their_job_is_killed(tmp_path):
    program = "import sys; from pathlib import Path; from test_workers import Work; from pipelines.engine import *; "
    program += "run_parts(Engine(workers=2), 'test', Work(Path(sys.argv[1])), range(600))"
    job = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    job.kill()
    job.wait()
    workers = {int(path.read_text().split()[0]) for path in tmp_path.iterdir() if path.read_text()}
    assert workers
    while (left := [pid for pid in workers if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


def test_a_worker_asked_for_while_the_pool_ends_is_ended_or_not_started():
    """The runner asks in a thread of its own, and the first start takes seconds: an interrupt comes before its end."""
    pool = WorkerPool(2)
    asked = threading.Thread(target=pool.start, args=("one", "localhost:1"))
    asked.start()
    pool.stop()
    asked.join()
    assert all(process.exitcode is not None for process in pool.processes.values())
    with pytest.raises(OSError, match="ended"):
        pool.start("two", "localhost:1")
    assert "two" not in pool.processes


def test_an_interrupt_gives_the_hook_of_threads_back():
    """As the user's Ctrl-C reaches the thread that waits for the workers."""

    class Interrupted:
        def cause_of_death(self, crashes_only=False):
            raise KeyboardInterrupt

    before = threading.excepthook
    with pytest.raises(KeyboardInterrupt):
        watched(Interrupted(), lambda: time.sleep(0.5))
    assert threading.excepthook is before


class Threads:
    """Each part leaves what a worker's environment says of threads, and how many torch takes by itself."""

    def __init__(self, folder):
        self.folder = folder

    def load(self):
        """Nothing to load."""

    def run(self, index):
        import torch

        (self.folder / str(index)).write_text(f"{os.environ['OMP_NUM_THREADS']} {torch.get_num_threads()}")


def test_torch_takes_no_more_threads_in_a_worker_than_its_share(tmp_path):
    """As against what the job's own environment says, which holds for the whole job."""
    cores = len(os.sched_getaffinity(0))
    program = "from test_workers import *; run_parts(Engine(workers=2), 'test', Threads(Path(sys.argv[1])), range(2))"
    environment = {**os.environ, "OMP_NUM_THREADS": str(cores + 2)}
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], env=environment, check=True)
    told = {path.read_text() for path in tmp_path.iterdir()}
    assert told == {f"{max(1, cores // 2)} {max(1, cores // 2)}"}


def test_several_workers_make_the_same_dataset_as_one(tmp_path):
    for shard in range(3):
        write_tar(tmp_path / "in" / f"{shard}.tar", *[sample(10 * shard + i) for i in range(8)])
    recipe = write_recipe(tmp_path, tmp_path / "in", shards={"samples": 8})
    hashes = []
    for more in ([], ["--workers", "2"]):
        command = assay_command("run", recipe, "--out", tmp_path / f"run{len(hashes)}", "--json", *more)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        hashes.append(json.loads(done.stdout)["content_hash"])
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(("runner", "workers"), [("FlinkRunner", 2), ("plain", 2), ("FnApiRunner", 0)])
def test_workers_that_make_no_sense_are_refused(runner, workers):
    with pytest.raises(BadInput, match="--workers"):
        Engine(runner, workers=workers)


@pytest.mark.parametrize(
    ("code", "words"), [(1, "exit code 1"), (0, "exit code 0"), (-15, "SIGTERM"), (-200, "signal 200")]
)
def test_every_end_of_a_process_has_words(code, words):
    assert words in _manner(code)
