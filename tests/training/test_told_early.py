"""What is missing is told before hours are spent, in one line that names the knob; nothing is left behind."""

import importlib.util

import pytest
import torch
from tiny import YAML, accelerator, tiny, trainer
from training_runs import copy_run, shards_of

from filters.errors import BadInput
from pipelines.commands.main import invoke
from training import run as whole
from training.latents import latent_cache
from training.models.autoencoder import Codec, freeze, load_autoencoder, new_autoencoder
from training.signals import Interrupts


@pytest.fixture(scope="module")
def own(dataset, tmp_path_factory):
    return copy_run(dataset, tmp_path_factory.mktemp("own") / "own")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["text.model=file:/nope"], "text.model: /nope"),
        (["text.model=nonsense"], "text.model: not a model URI"),
        (["autoencoder.kind=load", "autoencoder.path=/nope"], "autoencoder.path: /nope: no such folder"),
        (["logs.wandb=project"], "logs.wandb: the package wandb is not installed"),
    ],
)
def test_what_cannot_be_opened_is_told_before_anything_is_trained(own, tmp_path, capsys, settings, words):
    if "logs.wandb=project" in settings and importlib.util.find_spec("wandb") is not None:
        pytest.skip("wandb is installed")

    def recorded():  # other tests may have trained on the dataset that this one is a copy of
        return sorted((own / "run" / "trainings").glob("*"))

    before = recorded()
    (tmp_path / "train.yaml").write_text(YAML)
    command = ["train", str(tmp_path / "train.yaml"), "--data", str(own / "run"), "--out", str(tmp_path / "m")]
    assert invoke([*command, *(part for one in settings for part in ("--set", one))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not (tmp_path / "m").exists()  # so that the same --out serves once the name is right
    assert recorded() == before


@pytest.mark.parametrize("path", ["/nope", "file:/nope", "nobody/nothing"])
def test_an_autoencoder_that_is_nowhere_is_told_without_naming_a_hub_that_nobody_asked(path):
    with pytest.raises(BadInput, match=r"no such folder, nor a model in the hub's local cache") as error:
        load_autoencoder(path)
    assert "connect" not in str(error.value)


class Hungry(Codec):
    """Asks for more than any machine has."""

    def encode(self, pixels, noise=None):
        return torch.empty(2**50)


def test_a_cache_of_latents_that_memory_does_not_do_for_names_the_knob(own):
    shards, config = shards_of(own), tiny("autoencoder.cache=float32")
    codec = Hungry(freeze(new_autoencoder(config.autoencoder)))
    with pytest.raises(BadInput, match=r"ran out of memory while their cache was made: halve data.batch") as error:
        latent_cache(config, shards, codec, accelerator(), print)
    assert "\n" not in str(error.value)


def test_histograms_that_memory_does_not_do_for_name_the_knob(tmp_path, monkeypatch):
    found = trainer(tiny("logs.histograms=2"), tmp_path)
    monkeypatch.setattr(found._stage, "diagnose", lambda given: torch.empty(2**50))
    with pytest.raises(BadInput, match=r"ran out of memory in the histograms of step 2: halve data.batch"):
        found.run(Interrupts())


def test_the_scale_of_latents_that_memory_does_not_do_for_names_the_knob(own, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(whole, "fit_scale", lambda network, pictures: torch.empty(2**50))
    (tmp_path / "train.yaml").write_text(YAML)
    command = ["train", str(tmp_path / "train.yaml"), "--data", str(own / "run"), "--out", str(tmp_path / "m")]
    assert invoke([*command, "--set", "autoencoder.steps=1"]) == 2
    assert "ran out of memory while its latents were scaled: halve data.batch" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "stage"), [("new_autoencoder", "autoencoder"), ("new_denoiser", "denoiser")])
def test_networks_that_memory_does_not_do_for_are_one_line(own, tmp_path, capsys, monkeypatch, name, stage):
    monkeypatch.setattr(whole, name, lambda *given: torch.empty(2**50))
    (tmp_path / "train.yaml").write_text(YAML)
    command = ["train", str(tmp_path / "train.yaml"), "--data", str(own / "run"), "--out", str(tmp_path / "m")]
    kind = "pixels" if stage == "denoiser" else "train"
    assert invoke([*command, "--set", f"autoencoder.kind={kind}"]) == 2
    assert f"{stage}: this machine ran out of memory while it was made" in capsys.readouterr().err
