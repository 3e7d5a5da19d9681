"""`assay train`: the gate first, then a training that is the same however often it is killed or spread."""

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from making import assay_command
from safetensors.torch import load_file
from tiny import YAML
from training_runs import copy_run, opened

from filters.optout.entries import Draft, Kind
from pipelines.commands.main import invoke
from pipelines.registry.store import open_registry
from pipelines.run.storage import Store
from pipelines.run.trainings import trainings
from training.checkpoints import checkpoints, read_facts
from training.config import parse_config
from training.data.exposure import exposures
from training.gate import removals
from training.run import train

ROOT = Path(__file__).resolve().parents[2]


def command(folder, out, *overrides):
    """The arguments of a tiny training on the run of `folder`."""
    config = folder / "train.yaml"
    config.write_text(YAML)
    settings = [part for override in overrides for part in ("--set", override)]
    return ["train", str(config), "--data", str(folder / "run"), "--out", str(out), *settings]


def weights(folder):
    """All shipped tensors of the newest checkpoint."""
    path = checkpoints(folder)[-1][1]
    return {(f.parent.name, name): t for f in sorted(path.rglob("*.safetensors")) for name, t in load_file(f).items()}


def curve(folder, *metrics):
    """The rows of some metrics, stage and step included."""
    with (folder / "metrics.csv").open() as stream:
        return [tuple(row) for row in list(csv.reader(stream))[1:] if row[2] in metrics]


LOSSES = ("autoencoder/loss", "denoiser/loss", "denoiser/gradient")


@pytest.fixture(scope="module")
def own(dataset, tmp_path_factory):
    return copy_run(dataset, tmp_path_factory.mktemp("own") / "own")


@pytest.fixture(scope="module")
def whole(own, tmp_path_factory):
    """The folder of a training that was never interrupted."""
    out = tmp_path_factory.mktemp("whole") / "model"
    assert invoke(command(own, out)) == 0
    return out


def test_a_checkpoint_says_what_it_has_seen(own, whole):
    path = checkpoints(whole)[-1][1]
    facts = read_facts(path)
    manifest = json.loads((own / "run" / "manifest.json").read_text())["content_hash"]
    assert facts["data"]["manifest"] == manifest
    assert facts["datasets"] == [manifest]
    assert facts["samples"] == 6 * 8
    seen = exposures(path)
    assert sum(seen.values()) == (4 + 6) * 8  # the autoencoder's and the denoiser's steps
    recorded = trainings(Store(str(own / "run")), {manifest})
    assert facts["checkpoint"] in {training.checkpoint for training in recorded}


def test_the_same_command_again_changes_nothing(own, whole, capsys):
    before = checkpoints(whole)[-1][1].stat().st_mtime_ns
    assert invoke([*command(own, whole), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sha256"] == read_facts(checkpoints(whole)[-1][1])["checkpoint"]
    assert told["steps"] == 6
    assert checkpoints(whole)[-1][1].stat().st_mtime_ns == before


def records(folder):
    """The files by which a dataset knows its checkpoints: path to bytes."""
    run = folder / "run"
    return {p: p.read_bytes() for name in ("trainings", "exposures") for p in (run / name).rglob("*") if p.is_file()}


def forget(folder, checkpoint, *, log):
    """Leave the dataset as it is where a training was killed before it recorded a checkpoint, or half through."""
    identity = read_facts(checkpoint)["checkpoint"]
    (folder / "run" / "trainings" / f"{identity}.json").unlink()
    if log:
        (folder / "run" / "exposures" / f"{identity}.parquet").unlink()
    return identity


def known(folder):
    """The identities of the checkpoints that the present version of the dataset knows."""
    manifest = json.loads((folder / "run" / "manifest.json").read_text())["content_hash"]
    return {training.checkpoint for training in trainings(Store(str(folder / "run")), {manifest})}


@pytest.mark.parametrize("log", [True, False])
def test_killed_before_the_last_record_the_resumed_training_makes_it(own, whole, log):
    before = records(own)
    identity = forget(own, checkpoints(whole)[-1][1], log=log)
    assert invoke(command(own, whole)) == 0
    assert identity in known(own)
    after = records(own)
    assert after.keys() == before.keys()
    changed = [path.name for path in before if before[path] != after[path]]
    assert changed in ([], [f"{identity}.json"]), "the log is the same; the record may have another date"
    assert invoke(command(own, whole)) == 0
    assert records(own) == after, "nothing is recorded twice"


def test_killed_before_the_autoencoder_s_last_record_the_resumed_training_makes_it(dataset, tmp_path):
    folder, out = copy_run(dataset, tmp_path / "own"), tmp_path / "model"
    assert invoke(command(folder, out)) == 0
    for _, path in checkpoints(out):
        shutil.rmtree(path)
    identity = forget(folder, checkpoints(out / "autoencoder")[-1][1], log=True)
    assert invoke(command(folder, out)) == 0
    assert identity in known(folder)


def test_a_checkpoint_that_lies_elsewhere_by_now_is_known_by_its_new_place(own, whole, tmp_path):
    path = checkpoints(whole)[-1][1]
    name = own / "run" / "trainings" / f"{read_facts(path)['checkpoint']}.json"
    before = json.loads(name.read_text())
    shutil.copytree(whole, tmp_path / "moved")
    assert invoke(command(own, tmp_path / "moved")) == 0
    assert json.loads(name.read_text()) == {**before, "path": str(tmp_path / "moved" / path.name)}


def test_a_place_that_was_named_from_another_folder_is_recorded_whole(own, whole, tmp_path, monkeypatch):
    path = checkpoints(whole)[-1][1]
    shutil.copytree(whole, tmp_path / "near")
    monkeypatch.chdir(tmp_path)
    assert invoke(command(own, "near")) == 0
    name = own / "run" / "trainings" / f"{read_facts(path)['checkpoint']}.json"
    assert json.loads(name.read_text())["path"] == str(tmp_path / "near" / path.name)


def test_a_finished_autoencoder_that_was_changed_since_is_not_gone_on_with(own, whole, tmp_path, capsys):
    out = tmp_path / "m"
    shutil.copytree(whole, out)
    for _, path in checkpoints(out):
        shutil.rmtree(path)
    ready = checkpoints(out / "autoencoder")[-1][1]
    name = ready / "vae" / "diffusion_pytorch_model.safetensors"
    data = bytearray(name.read_bytes())
    data[-1] ^= 0x40
    name.write_bytes(data)
    assert invoke(command(own, out)) == 2
    assert f"{ready.name}: vae/{name.name} is missing or changed" in capsys.readouterr().err
    assert checkpoints(out) == []


@pytest.mark.parametrize("inside", ["", "model", "../run/./model"])
def test_a_training_in_the_dataset_s_own_folder_is_refused_at_once(own, inside, capsys):
    before = sorted((own / "run").rglob("*"))
    assert invoke(command(own, own / "run" / inside)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "lies in the dataset's own folder" in line
    assert sorted((own / "run").rglob("*")) == before


def test_another_configuration_is_refused_in_the_same_folder(own, whole, capsys):
    assert invoke(command(own, whole, "optimiser.rate=0.5")) == 2
    assert "holds a training by another configuration" in capsys.readouterr().err


def test_cached_latents_train_too_and_are_found_again(own, tmp_path, capsys):
    assert invoke(command(own, tmp_path / "a", "autoencoder.cache=float32")) == 0
    assert "latents: 60 computed" in capsys.readouterr().err
    assert list((own / "run" / "latents").glob("latents-*.parquet"))
    assert invoke(command(own, tmp_path / "b", "autoencoder.cache=float32")) == 0
    assert "latents: 0 computed, 60 were there" in capsys.readouterr().err
    assert all(torch.equal(value, weights(tmp_path / "b")[name]) for name, value in weights(tmp_path / "a").items())


def test_pixels_need_no_autoencoder(own, tmp_path):
    assert invoke(command(own, tmp_path / "m", "autoencoder.kind=pixels", "objective.prediction=flow")) == 0
    path = checkpoints(tmp_path / "m")[-1][1]
    assert not (path / "vae").exists()
    assert json.loads((path / "unet" / "config.json").read_text())["in_channels"] == 3


def test_an_opt_out_that_was_not_applied_stops_it_before_anything_is_written(dataset, tmp_path, capsys):
    folder = copy_run(dataset, tmp_path / "own")
    with open_registry(str(folder / "registry.sqlite")) as registry:
        registry.append([Draft(kind=Kind.CREATOR, value="Artist 1")])
    assert invoke(command(folder, tmp_path / "model")) == 3
    assert "UNAPPLIED_ENTRY" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [(["loop.stepz=3"], "loop.stepz: unknown key"), (["loop.precision=fp16"], "fp16 needs a GPU")],
)
def test_wrong_configurations_end_with_two(own, tmp_path, capsys, overrides, words):
    assert invoke(command(own, tmp_path / "m", *overrides)) == 2
    assert words in capsys.readouterr().err


def test_data_that_is_no_run_ends_with_two(own, tmp_path, capsys):
    arguments = command(own, tmp_path / "m")
    arguments[arguments.index("--data") + 1] = str(tmp_path)
    assert invoke(arguments) == 2
    assert "no such run" in capsys.readouterr().err


def test_an_opt_out_that_comes_while_it_trains_takes_its_samples_out_of_all_that_follows(dataset, tmp_path):
    folder, out = copy_run(dataset, tmp_path / "own"), tmp_path / "model"
    url = str(folder / "registry.sqlite")

    def opt_out(line):
        if line.startswith("autoencoder 1/"):
            with open_registry(url) as registry:
                registry.append([Draft(kind=Kind.CREATOR, value="Artist 1")])

    config = parse_config(YAML, "c", ["data.batch=30"])
    train(config, str(folder / "run"), out, None, opt_out)
    samples = [row for table in opened(folder).tables("samples", ["uid", "creator"]) for row in table.to_pylist()]
    theirs = {row["uid"] for row in samples if row["creator"] == "Artist 1"}
    (record,) = removals(out)
    assert set(record["removed"]) == theirs
    assert record["at_step"] == 2
    seen = exposures(checkpoints(out)[-1][1])
    # two batches an epoch: all are in the autoencoder's first epoch; the others in its second and in three more
    assert len(theirs) == 12
    assert {uid: seen[uid] for uid in theirs} == dict.fromkeys(theirs, 1)
    assert {seen[row["uid"]] for row in samples if row["uid"] not in theirs} == {5}


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("stage", ["autoencoder", "denoiser"])
def test_a_killed_training_resumes_as_if_it_had_never_been(own, whole, tmp_path, stage):
    out = tmp_path / "m"
    slow = command(own, out)
    process = subprocess.Popen(assay_command(*slow), cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 400
    while not (out / "metrics.csv").exists() or not curve(out, f"{stage}/loss")[2:]:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert invoke(slow) == 0
    assert all(torch.equal(value, weights(out)[name]) for name, value in weights(whole).items())
    assert curve(out, *LOSSES) == curve(whole, *LOSSES)
    assert exposures(checkpoints(out)[-1][1]) == exposures(checkpoints(whole)[-1][1])


@pytest.mark.timeout(900)
def test_two_processes_train_as_one_does(own, whole, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = command(own, tmp_path / "two", "denoiser.dropout=0")
    code = "from pipelines.commands.main import main; main()"
    (tmp_path / "entry.py").write_text(code)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    launch += [f"--master-port={port}", str(tmp_path / "entry.py"), *arguments]
    for lost in (True, False):
        done = subprocess.run(
            launch, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        if lost:  # both go on from the checkpoint before
            shutil.rmtree(checkpoints(tmp_path / "two")[-1][1])
    assert invoke(command(own, tmp_path / "one", "denoiser.dropout=0")) == 0
    one, two = (curve(tmp_path / name, *LOSSES) for name in ("one", "two"))
    assert len(one) == len(two) == 4 + 6 + 6
    for (*where, value), (*other, again) in zip(one, two, strict=True):
        assert where == other
        assert float(value) == pytest.approx(float(again), rel=1e-4), where
    assert exposures(checkpoints(tmp_path / "one")[-1][1]) == exposures(checkpoints(tmp_path / "two")[-1][1])
    assert read_facts(checkpoints(tmp_path / "two")[-1][1])["processes"] == 2
