"""The training configuration refuses what cannot be, with file, line and key."""

import re
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
import yaml
from tiny import YAML, tiny

from filters.errors import BadInput
from training.config import load_config, parse_config

ROOT = Path(__file__).resolve().parents[2]


def refused(text, *overrides):
    with pytest.raises(BadInput) as error:
        parse_config(text, "c.yaml", list(overrides))
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)
    return str(error.value)


def test_unknown_keys_are_refused_by_line():
    assert refused("name: a\nloop:\n  stepz: 3\n") == "c.yaml:3: loop.stepz: unknown key"
    assert refused("name: a\nmodel: {}\n") == "c.yaml:2: model: unknown key"
    assert refused("name: a\n", "loop.stepz=3") == "--set: loop.stepz: unknown key"


def test_a_key_that_stands_twice_and_text_that_is_no_yaml_are_refused():
    assert refused("name: a\nname: b\n") == "c.yaml:2: name: the key stands twice"
    assert "not readable as YAML" in refused("name: [")
    assert "mapping of keys" in refused("- a")
    assert "aliases" in refused("name: &a x\nseed: *a\n")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("loop.steps=0", "loop.steps"),
        ("optimiser.rate=.nan", "optimiser.rate"),
        ("optimiser.betas=[0.9, 1.0]", "betas must lie in"),
        ("objective.beta_start=0.5", "must be below beta_end"),
        ("autoencoder.kind=load", "kind load and a path belong together"),
        ("autoencoder.groups=3", "must divide every width"),
        ("denoiser.attention_levels=5", "attention_levels is 5"),
        ("denoiser.head_width=24", "head_width (24) must divide"),
        ("text.model=nonsense", "not a model URI"),
        ("data.buckets.resolution=24", "do not divide by 4"),
        ("autoencoder.widths=[0, 16]", "autoencoder.widths"),
        ("denoiser.widths=[16, -32]", "denoiser.widths"),
        ("denoiser.widths=[16, 1000000000]", "denoiser.widths"),
        ("optimiser.rate=1e300", "optimiser.rate"),
        ("autoencoder.rate=1e300", "autoencoder.rate"),
        ("optimiser.warmup=1" + "0" * 400, "optimiser.warmup"),
        ("optimiser.weight_decay=1e300", "optimiser.weight_decay"),
        ("optimiser.epsilon=1e300", "optimiser.epsilon"),
        ("optimiser.clip=1e300", "optimiser.clip"),
        ("optimiser.noise_eta=1e300", "optimiser.noise_eta"),
        ("optimiser.noise_gamma=1e300", "optimiser.noise_gamma"),
        ("loop.steps=1" + "0" * 330, "loop.steps"),
        ("loop.threads=1000000000", "loop.threads"),
        ("checkpoints.keep=1" + "0" * 320, "checkpoints.keep"),
    ],
)
def test_impossible_values_are_refused(override, words):
    override = override.replace("=24", "=8") if "resolution" in override else override
    if "resolution" in override:
        assert "pixels a side do not divide by 32" in refused(YAML, override, "denoiser.widths=[16,16,16,16,16]")
    else:
        assert words in refused(YAML, override)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["objective.prediction=epsilon", "objective.zero_terminal_snr=true"], "pure noise tells epsilon nothing"),
        (["objective.prediction=flow", "objective.zero_terminal_snr=true"], "leave zero_terminal_snr out"),
        (["objective.times=logit-normal"], "belongs to prediction flow"),
        (["objective.times=logit-normal", "objective.prediction=flow", "objective.bound=true"], "drawn uniformly"),
        (["autoencoder.kind=pixels", "autoencoder.cache=float16"], "no latents to cache"),
        (["denoiser.kind=transformer", "denoiser.heads=3", "denoiser.head_width=6"], "must be a multiple of 4"),
    ],
)
def test_what_cannot_stand_together_is_refused(overrides, words):
    assert words in refused(YAML, *overrides)


def test_what_decides_the_weights_decides_the_fingerprint():
    same = ["logs.every=5", "checkpoints.keep=9", "loop.threads=2", "data.workers=3", "name=other", "text.cache_mb=1"]
    for override in same:
        assert tiny(override).fingerprint() == tiny().fingerprint(), override
    for override in ["loop.steps=7", "seed=1", "data.seed=1", "optimiser.rate=0.002", "denoiser.dropout=0.2"]:
        assert tiny(override).fingerprint() != tiny().fingerprint(), override


def test_a_dump_reads_back_as_itself():
    assert parse_config(tiny().dump(), "x", []) == tiny()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadInput, match="no such configuration"):
        load_config(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "name", ["demo", "cifar10", "sd-scale", "lora", "textual-inversion", "controlnet", "consistency", "progressive"]
)
def test_examples_are_whole(name):
    path = ROOT / "examples" / "train" / f"{name}.yaml"
    assert load_config(path).name == name
    assert yaml.safe_load(path.read_text())["version"] == 1


#: What a description's source looks like: a paper, another named source, or ours.
SOURCE = re.compile(r"arXiv:\d{4}\.\d{4,5}|\(source: |\bours\b")

#: Numbers that nobody chose for their effect.
NO_CHOICE = {"version", "seed", "data.seed"}


def is_choice(field):
    """Whether a knob's default is a number, numbers, or one of several words."""
    values = field.default if isinstance(field.default, list | tuple) else [field.default]
    numbers = values and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return bool(numbers) or (len(get_args(field.annotation)) > 1 and get_origin(field.annotation) is Literal)


def test_every_knob_says_what_it_is_and_where_its_default_comes_from():
    from training.config import Config

    def fields(model):
        for name, field in model.model_fields.items():
            if name == "method":
                for kind in get_args(field.annotation):
                    yield from ((f"{kind.__name__}.{inner}", text) for inner, text in fields(kind))
            elif hasattr(field.annotation, "model_fields"):
                yield from ((f"{name}.{inner}", text) for inner, text in fields(field.annotation))
            else:
                yield name, field

    found = dict(fields(Config))
    assert len(found) > 60
    assert [name for name, field in found.items() if not field.description] == []
    chosen = {name: field.description for name, field in found.items() if name not in NO_CHOICE and is_choice(field)}
    assert len(chosen) > 50
    assert [name for name, text in chosen.items() if not SOURCE.search(text)] == []
