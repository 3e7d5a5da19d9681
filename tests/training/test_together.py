"""Several processes: where the first one is told no, all stop, and by the same exit code."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny import YAML
from training_runs import copy_run

from filters.errors import GateRefused
from training.together import FirstFailed, on_first

ROOT = Path(__file__).resolve().parents[2]


class Alone:
    num_processes = 1
    is_main_process = True


def test_one_process_does_it_and_fails_itself():
    assert on_first(Alone(), lambda: 7) == 7
    with pytest.raises(GateRefused, match="no"):
        on_first(Alone(), lambda: (_ for _ in ()).throw(GateRefused("no")))


def start(code_or_file, *arguments, folder):
    """Two processes of one training on this machine, as torchrun would start them, but without its own ending."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"PYTHONPATH": str(ROOT), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    return [
        subprocess.Popen(
            [sys.executable, str(code_or_file), *arguments],
            cwd=ROOT,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"},
            stdout=subprocess.DEVNULL,
            stderr=(folder / f"said-{rank}").open("w"),
        )
        for rank in (0, 1)
    ]


def ended(processes, seconds):
    """Exit codes; fails where a process does not end."""
    try:
        return [process.wait(seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


WORK = """
import sys
from filters.encoders.torchvision_fix import ensure_torchvision
ensure_torchvision()
from accelerate import Accelerator
from filters.errors import GateRefused
from pipelines.commands.main import end
from training.together import FirstFailed, leaving_together, on_first
acc = Accelerator(cpu=True)
def fail(error):
    raise error
def work():
    assert on_first(acc, lambda: acc.process_index + 5) == 5
    try:
        on_first(acc, lambda: fail(GateRefused("the registry is gone")))
        sys.exit(9)
    except GateRefused as error:
        assert str(error) == "the registry is gone", error
    try:
        on_first(acc, lambda: fail(ZeroDivisionError("a bug")))
        sys.exit(8)
    except ZeroDivisionError:
        assert acc.is_main_process
    except FirstFailed:
        assert not acc.is_main_process
with leaving_together(acc):
    work()
end(0)
"""


@pytest.mark.timeout(300)
def test_result_and_failure_of_the_first_reach_the_other(tmp_path):
    (tmp_path / "work.py").write_text(WORK)
    codes = ended(start(tmp_path / "work.py", folder=tmp_path), 200)
    assert codes == [0, 0], [(tmp_path / f"said-{rank}").read_text()[-500:] for rank in (0, 1)]
    assert FirstFailed.exit_code == 1


@pytest.mark.timeout(600)
def test_a_gate_that_says_no_while_two_processes_train_ends_both_with_exit_code_3(dataset, tmp_path):
    own = copy_run(dataset, tmp_path / "own")
    (own / "train.yaml").write_text(YAML)
    (tmp_path / "entry.py").write_text("from pipelines.commands.main import main; main()")
    arguments = ["train", str(own / "train.yaml"), "--data", str(own / "run"), "--out", str(tmp_path / "m")]
    arguments += ["--set", "autoencoder.steps=5000"]
    processes = start(tmp_path / "entry.py", *arguments, folder=tmp_path)
    until = time.monotonic() + 300
    while not list((tmp_path / "m" / "autoencoder").glob("step-*")):
        assert all(process.poll() is None for process in processes), (tmp_path / "said-0").read_text()[-500:]
        assert time.monotonic() < until
        time.sleep(0.1)
    (own / "registry.sqlite").rename(own / "away.sqlite")
    codes = ended(processes, 200)
    assert codes == [3, 3], [(tmp_path / f"said-{rank}").read_text()[-500:] for rank in (0, 1)]
    assert "the registry cannot be asked" in (tmp_path / "said-0").read_text()
