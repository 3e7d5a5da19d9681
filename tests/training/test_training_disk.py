"""A disk that is too small for a training: one line and exit code 2, and what is done stays done."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import YAML
from training_runs import copy_run

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

from harm import small_disk

import training.command
from pipelines.commands.main import invoke
from training.checkpoints import checkpoints
from training.data.exposure import exposures
from training.recorder import read_metrics


def command(folder, out):
    """The arguments of a tiny training on the run of `folder`."""
    config = folder / "train.yaml"
    config.write_text(YAML)
    return ["train", str(config), "--data", str(folder / "run"), "--out", str(out)]


def weights(folder):
    """All shipped tensors of the newest checkpoint."""
    path = checkpoints(folder)[-1][1]
    return {(f.parent.name, name): t for f in sorted(path.rglob("*.safetensors")) for name, t in load_file(f).items()}


def timeless(folder):
    """The metrics without what a clock measured."""
    return [row for row in read_metrics(folder / "metrics.csv") if row[2] not in ("seconds_per_step", "waiting")]


@pytest.fixture(scope="module")
def own(dataset, tmp_path_factory):
    return copy_run(dataset, tmp_path_factory.mktemp("own") / "own")


@pytest.fixture(scope="module")
def whole(own, tmp_path_factory):
    """The folder of a training that had room."""
    out = tmp_path_factory.mktemp("whole") / "model"
    assert invoke(command(own, out)) == 0
    return out


def ended_in_one_line(error):
    """The one line for the user, behind those that tell of progress."""
    told = [line for line in error.splitlines() if line.startswith("assay: ")]
    assert len(told) == 1, error
    assert "Traceback" not in error
    return told[0]


def fill(path):
    """Write until the disk is full."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def goes_on(own, whole, disk):
    """The same command now comes to the end, and to what a training that had room came to."""
    out = disk / "model"
    assert invoke(command(own, out)) == 0
    assert not list(out.rglob(".tmp-*"))
    assert all(torch.equal(value, weights(out)[name]) for name, value in weights(whole).items())
    assert timeless(out) == timeless(whole)
    assert exposures(checkpoints(out)[-1][1]) == exposures(checkpoints(whole)[-1][1])


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("kilobytes", "trained"), [(8, False), (4_000, True)])
def test_a_disk_without_room_for_the_checkpoints_is_told_before_each_stage(
    own, whole, tmp_path, capsys, kilobytes, trained
):
    with small_disk(tmp_path / "disk", f"{kilobytes}k") as disk:
        if disk is None:
            pytest.skip("mounting a small disk needs root")
        capsys.readouterr()
        assert invoke(command(own, disk / "model")) == 2
        assert "MiB free, but the checkpoints need about" in ended_in_one_line(capsys.readouterr().err)
        assert bool(checkpoints(disk / "model" / "autoencoder")) == trained
        assert not checkpoints(disk / "model")
        subprocess.run(["mount", "-o", "remount,size=256m", disk], check=True)
        goes_on(own, whole, disk)


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_disk_that_others_fill_while_it_trains(own, whole, tmp_path, capsys, monkeypatch):
    with small_disk(tmp_path / "disk", "64m") as disk:
        if disk is None:
            pytest.skip("mounting a small disk needs root")
        told = training.command._say

        def say(text):
            told(text)
            if text.startswith("denoiser 3/"):
                fill(disk / "other")

        with monkeypatch.context() as patch:
            patch.setattr(training.command, "_say", say)
            capsys.readouterr()
            assert invoke(command(own, disk / "model")) == 2
        assert "No space left on device; free space and run the same command again" in ended_in_one_line(
            capsys.readouterr().err
        )
        assert checkpoints(disk / "model")[-1][0] == 2
        (disk / "other").unlink()
        goes_on(own, whole, disk)
