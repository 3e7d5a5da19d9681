"""A loaded autoencoder leaves its trace in facts, card and credentials."""

import shutil

import pytest
from safetensors.torch import load_file, save_file
from tiny import YAML
from training_runs import copy_run

from filters.errors import BadInput
from pipelines.commands.main import invoke
from training.checkpoints import checkpoints, read_facts
from training.loaded import loaded_facts, resumed_facts
from training.models.autoencoder import load_autoencoder
from training.sampling.model import checked_facts
from training.sampling.parts import bases_of


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """The folder of a training that made its own autoencoder, and that of one that loaded it."""
    folder = tmp_path_factory.mktemp("loaded")
    own = copy_run(dataset, folder / "own")
    (folder / "train.yaml").write_text(YAML)
    command = ["train", str(folder / "train.yaml"), "--data", str(own / "run"), "--set", "loop.steps=2"]
    assert invoke([*command, "--set", "name=first", "--out", str(folder / "first")]) == 0
    path = checkpoints(folder / "first" / "autoencoder")[-1][1]
    settings = ["autoencoder.kind=load", f"autoencoder.path={path}"]
    more = [part for one in settings for part in ("--set", one)]
    assert invoke([*command, *more, "--out", str(folder / "second")]) == 0
    return folder / "first", folder / "second"


def test_a_checkpoint_names_the_one_whose_autoencoder_it_loaded(trained):
    first, second = (checkpoints(folder)[-1][1] for folder in (trained[0] / "autoencoder", trained[1]))
    facts, theirs = checked_facts(second), read_facts(first)
    assert facts["autoencoder"]["base"]["checkpoint"] == theirs["checkpoint"]
    assert facts["autoencoder"]["base"]["datasets"] == theirs["datasets"]
    assert len(facts["autoencoder"]["weights"]) == 64
    assert theirs["checkpoint"] in (second / "README.md").read_text()
    (part,) = bases_of(facts)
    assert (part.model.checkpoint, part.dataset.content_hash) == (theirs["checkpoint"], theirs["datasets"][-1])
    assert "autoencoder" not in read_facts(checkpoints(trained[0])[-1][1])


def test_a_training_that_goes_on_states_the_same(trained):
    path = checkpoints(trained[1])[-1][1]
    assert resumed_facts(path, None)["autoencoder"] == read_facts(path)["autoencoder"]


def test_weights_are_told_also_where_nothing_is_known_of_them(trained, tmp_path):
    path = checkpoints(trained[0] / "autoencoder")[-1][1]
    folder = shutil.copytree(path / "vae", tmp_path / "plain")
    found = loaded_facts(str(folder), load_autoencoder(str(folder)))["autoencoder"]
    inside = loaded_facts(str(path / "vae"), load_autoencoder(str(path / "vae")))["autoencoder"]
    assert found["base"] is None
    assert inside["base"]["checkpoint"] == read_facts(path)["checkpoint"]
    assert found["weights"] == inside["weights"]


def test_an_autoencoder_changed_in_its_checkpoint_is_refused(trained, tmp_path):
    path = shutil.copytree(checkpoints(trained[0] / "autoencoder")[-1][1], tmp_path / "changed")
    file = path / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({name: value + 1 for name, value in load_file(file).items()}, file)
    with pytest.raises(BadInput, match="was changed since the training wrote it"):
        loaded_facts(str(path), load_autoencoder(str(path)))
