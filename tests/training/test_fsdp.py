"""FSDP over two processes on the CPU: the losses of one process, and checkpoints that any number can go on from."""

import csv
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import YAML
from training_runs import copy_run

from pipelines.commands.main import invoke
from training.checkpoints import checkpoints, read_facts
from training.data.exposure import exposures

ROOT = Path(__file__).resolve().parents[2]

#: accelerate takes processes without a GPU for DDP whatever it is told, so its state is set behind its back; torch's
#: FSDP itself has no objection to gloo. Each process leaves a file that says whether its values were spread.
ENTRY = """
import atexit, sys
from filters.encoders.torchvision_fix import ensure_torchvision
ensure_torchvision()
from accelerate.state import PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from pipelines.commands.main import main
from training import run
opened = run.open_accelerator
held = []
def sharded(loop):
    accelerator = opened(loop)
    PartialState._shared_state["distributed_type"] = accelerator.state.distributed_type = DistributedType.FSDP
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin()
    held.append(accelerator)
    return accelerator
run.open_accelerator = sharded
def leave_word():
    spread = [hasattr(value, "to_local") for network in held[0]._models for value in network.parameters()]
    open(f"{sys.argv[0]}.{held[0].process_index}", "w").write(f"{all(spread)} {len(spread) > 100}")
atexit.register(leave_word)
main()
"""

#: What `accelerate launch --use_fsdp --fsdp_version 2` sets of that which this can depend on.
LAUNCHED = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_RESHARD_AFTER_FORWARD": "true"}
LAUNCHED |= {"FSDP_CPU_RAM_EFFICIENT_LOADING": "true", "FSDP_SYNC_MODULE_STATES": "true"}

LOSSES = ("autoencoder/loss", "denoiser/loss", "denoiser/gradient", "critic/loss")
METRICS = (
    "denoiser/gradient_by_tensor/q50",
    "denoiser/gradient_by_block/down_blocks.1/q100",
    "denoiser/dead_units",
    "autoencoder/gradient_by_tensor/q50",
)

#: Both networks of the autoencoder's stage, gradient noise, accumulation and the average all meet spread values.
SETTINGS = ["denoiser.dropout=0", "autoencoder.losses.adversarial=0.1", "autoencoder.losses.adversarial_start=1"]
SETTINGS += ["optimiser.noise_eta=0.001", "loop.accumulate=2", "checkpoints.keep=3"]


def spread(folder, arguments):
    """Two processes under torchrun, their values spread by FSDP."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "entry.py").write_text(ENTRY)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    launch += [f"--master-port={port}", str(folder / "entry.py"), *arguments]
    env = {**os.environ, **LAUNCHED, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(launch, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [(folder / f"entry.py.{rank}").read_text() for rank in (0, 1)] == ["True True", "True True"]


def command(folder, out):
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    return ["train", str(folder / "train.yaml"), "--data", str(folder / "run"), "--out", str(out), *settings]


def rows(folder, metrics):
    with (folder / "metrics.csv").open() as stream:
        return [tuple(row) for row in list(csv.reader(stream))[1:] if row[2] in metrics]


def shipped(folder):
    path = checkpoints(folder)[-1][1]
    return {(f.parent.name, name): t for f in sorted(path.rglob("*.safetensors")) for name, t in load_file(f).items()}


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_two_processes_under_fsdp_train_as_one_does_and_either_goes_on_from_the_other(dataset, tmp_path):
    own = copy_run(dataset, tmp_path / "own")
    (own / "train.yaml").write_text(YAML)
    spread(tmp_path, command(own, tmp_path / "two"))
    assert invoke(command(own, tmp_path / "one")) == 0
    one, two = (rows(tmp_path / name, LOSSES + METRICS) for name in ("one", "two"))
    assert {row[2] for row in one} >= {*LOSSES, *METRICS}
    for (*where, value), (*other, again) in zip(one, two, strict=True):
        assert where == other
        assert float(value) == pytest.approx(float(again), rel=1e-3), where
    assert exposures(checkpoints(tmp_path / "one")[-1][1]) == exposures(checkpoints(tmp_path / "two")[-1][1])
    assert read_facts(checkpoints(tmp_path / "two")[-1][1])["processes"] == 2
    whole = shipped(tmp_path / "two")
    assert whole.keys() == shipped(tmp_path / "one").keys()

    for name, going_on in (("again", spread), ("alone", lambda folder, arguments: invoke(arguments))):
        shutil.copytree(tmp_path / "two", tmp_path / name)
        shutil.rmtree(checkpoints(tmp_path / name)[-1][1])
        assert checkpoints(tmp_path / name)[-1][0] == 4
        going_on(tmp_path, command(own, tmp_path / name))
        resumed = shipped(tmp_path / name)
        assert all(torch.allclose(value, resumed[key], atol=1e-4) for key, value in whole.items()), name
