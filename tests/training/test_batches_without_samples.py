"""A batch, or one process's share of it, that has no sample left neither ends a training nor changes it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from test_train_command import command, curve
from training_runs import copy_run

from pipelines.commands.main import invoke
from training.checkpoints import checkpoints, read_facts
from training.data.exposure import exposures

ROOT = Path(__file__).resolve().parents[2]

#: A third of the pictures, those of 80 x 80, have more pixels than are read.
SOME = ["autoencoder.kind=pixels", "denoiser.dropout=0", "data.max_pixels=6399", "data.max_unreadable=0.9"]


@pytest.fixture(scope="module")
def own(dataset, tmp_path_factory):
    return copy_run(dataset, tmp_path_factory.mktemp("own") / "own")


def samples(folder):
    """The samples that the newest checkpoint says it has used, counted twice."""
    path = checkpoints(folder)[-1][1]
    return read_facts(path)["samples"], sum(exposures(path).values())


def test_batches_of_which_nothing_can_be_read_are_passed_over(own, tmp_path):
    assert invoke(command(own, tmp_path / "m", *SOME, "data.batch=1", "loop.steps=12")) == 0
    assert samples(tmp_path / "m") == (12, 12)


def test_where_no_picture_can_be_read_a_training_ends_with_one_line(own, tmp_path, capsys):
    none = ["autoencoder.kind=pixels", "data.max_pixels=10", "data.max_unreadable=1"]
    assert invoke(command(own, tmp_path / "m", *none)) == 4
    assert "no picture of a whole epoch can be read" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("more", [["data.batch=2"], ["data.batch=2", "loop.accumulate=2"]])
def test_two_processes_of_which_one_has_no_sample_train_as_one_does(own, tmp_path, more):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "entry.py").write_text("from pipelines.commands.main import main; main()")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    launch += [f"--master-port={port}", str(tmp_path / "entry.py"), *command(own, tmp_path / "two", *SOME, *more)]
    done = subprocess.run(
        launch, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert invoke(command(own, tmp_path / "one", *SOME, *more)) == 0
    assert samples(tmp_path / "one") == samples(tmp_path / "two")
    metrics = ("denoiser/loss", "denoiser/error", "denoiser/gradient")
    one, two = (curve(tmp_path / name, *metrics) for name in ("one", "two"))
    assert len(one) == len(two) == 3 * 6
    for (*where, value), (*other, again) in zip(one, two, strict=True):
        assert where == other
        assert float(value) == pytest.approx(float(again), rel=1e-4), where
