"""Tiny checkpoints of every kind, and a dataset with looks to compare with."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from PIL import Image
from tiny import YAML, run, tiny
from training_runs import make_run

from pipelines.commands.main import invoke
from training.checkpoints import checkpoints
from training.sampling.model import Running, load_model

#: Overrides of each kind of checkpoint.
KINDS = {
    "latent": ["loop.steps=2"],
    "flow": ["loop.steps=2", "objective.prediction=flow"],
    "transformer": ["loop.steps=2", "denoiser.kind=transformer", "denoiser.heads=2", "denoiser.head_width=16"],
    "zero": ["loop.steps=2", "objective.zero_terminal_snr=true"],
}


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The checkpoint's folder by kind; each is trained once, for two steps."""
    made = {}

    def of(kind):
        if kind not in made:
            threads = torch.get_num_threads()
            folder = tmp_path_factory.mktemp(kind)
            run(tiny(*KINDS[kind]), folder)
            torch.set_num_threads(threads)
            made[kind] = checkpoints(folder)[-1][1]
        return made[kind]

    return of


@pytest.fixture(scope="session")
def model(trained):
    """The loaded checkpoint by kind."""
    made = {}

    def of(kind):
        if kind not in made:
            made[kind] = load_model(trained(kind), Running(device="cpu"))
        return made[kind]

    return of


@pytest.fixture(scope="session")
def looks_dataset(tmp_path_factory):
    """The folder of a finished run with PDQ hashes. Do not change it."""
    return make_run(tmp_path_factory.mktemp("looks"), scorers=["size", "hashes", "pdq"])


@pytest.fixture(scope="session")
def pixel_training(looks_dataset, tmp_path_factory):
    """A training on pixels of 64 x 64, on that dataset."""
    folder = tmp_path_factory.mktemp("pixels")
    (folder / "train.yaml").write_text(YAML)
    arguments = ["train", str(folder / "train.yaml"), "--data", str(looks_dataset / "run"), "--out"]
    arguments.append(str(folder / "model"))
    settings = ["autoencoder.kind=pixels", "data.buckets.resolution=64", "loop.steps=2", "checkpoints.every=2"]
    for one in settings:
        arguments += ["--set", one]
    assert invoke(arguments) == 0
    return folder / "model"


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """A folder of development keys."""
    folder = tmp_path_factory.mktemp("keys") / "keys"
    assert invoke(["keys", "init", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def photo_file(tmp_path_factory):
    """A photograph of 128 x 128 pixels as a file (scikit-image's own, public domain)."""
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the photograph")
    path = tmp_path_factory.mktemp("photo") / "cat.png"
    Image.fromarray(data.chelsea()).crop((60, 20, 316, 276)).resize((128, 128)).save(path)
    return path


@pytest.fixture(scope="session")
def photo_pixels(photo_file):
    """Its pixels."""
    return np.asarray(Image.open(photo_file))


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    """Another finished run, of twenty pictures."""
    return make_run(tmp_path_factory.mktemp("subject"), samples=20, scorers=["size", "hashes", "pdq"])
