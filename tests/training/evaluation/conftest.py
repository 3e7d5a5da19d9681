"""A tiny training on pixels that holds samples out, and its evaluation."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from quick_evaluation import QUICK
from tiny import YAML

from pipelines.commands.main import invoke
from training.checkpoints import checkpoints


@pytest.fixture(scope="session")
def checkpoint(dataset, tmp_path_factory) -> Path:
    """A checkpoint that has seen all samples but those held out. Do not change it."""
    folder = tmp_path_factory.mktemp("evaluated")
    (folder / "train.yaml").write_text(YAML)
    arguments = ["train", str(folder / "train.yaml"), "--data", str(dataset / "run"), "--out", str(folder / "model")]
    for one in ("autoencoder.kind=pixels", "loop.steps=12", "checkpoints.every=12", "data.held_out=0.3"):
        arguments += ["--set", one]
    assert invoke(arguments) == 0
    return checkpoints(folder / "model")[-1][1]


@pytest.fixture(scope="session")
def evaluated(checkpoint, dataset) -> Path:
    """The folder of its evaluation, where the command puts it by itself."""
    assert invoke(["evaluate", "generation", str(checkpoint.parent), "--run", str(dataset / "run"), *QUICK]) == 0
    (found,) = (checkpoint.parent / "evaluations").iterdir()
    return found
