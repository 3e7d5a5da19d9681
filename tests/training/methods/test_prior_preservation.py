"""Prior preservation: the class's pictures are made once, stay in the folder as latents, and count as they should."""

import numpy as np
import pytest
import torch
from method_runs import method_config, method_trainer
from safetensors import safe_open
from tiny import EndlessFeed

from training.methods.prior import FILE, FOLDER, holds, of_subject, weigh
from training.recorder import read_metrics
from training.signals import Interrupts

GENERATED = (
    "method.rank=2",
    "method.prompt=a zorp cat",
    "method.prior={source: generated, prompt: a cat, pictures: 5, steps: 2, weight: 0.25}",
)


def metric(folder, name):
    return np.array([float(row[3]) for row in read_metrics(folder / "metrics.csv") if row[2] == name])


def test_the_loss_is_the_subjects_and_the_weighted_class(base, tmp_path):
    method_trainer(method_config("lora", base, *GENERATED), tmp_path).run(Interrupts())
    whole, subject, prior = (metric(tmp_path, f"lora/{name}") for name in ("loss", "subject", "prior"))
    assert len(whole) == 4
    assert np.allclose(whole, subject + 0.25 * prior, rtol=1e-5)
    assert (prior > 0).all()


def test_a_weight_of_nothing_trains_as_without_the_class(base, tmp_path):
    none = [*GENERATED, "method.prior.weight=0"]
    method_trainer(method_config("lora", base, *none), tmp_path / "none").run(Interrupts())
    plain = ["method.rank=2", "method.prompt=a zorp cat"]
    method_trainer(method_config("lora", base, *plain), tmp_path / "plain").run(Interrupts())
    # dropout draws once more with the class, so that the first step's subject loss alone is the same network's
    assert metric(tmp_path / "none", "lora/loss")[0] == pytest.approx(metric(tmp_path / "plain", "lora/loss")[0])


def test_the_class_is_made_once_and_the_same_again(base, tmp_path):
    def latents(folder):
        with safe_open(folder / FOLDER / FILE, framework="pt") as file:
            return file.get_tensor("latents"), file.metadata()

    for folder in ("one", "two"):
        method_trainer(method_config("lora", base, *GENERATED), tmp_path / folder).run(Interrupts())
    (one, head), (two, _) = latents(tmp_path / "one"), latents(tmp_path / "two")
    assert torch.equal(one, two)
    assert one.shape == (5, 4, 8, 8)
    assert head["generated"] == "yes"
    before = (tmp_path / "one" / FOLDER / FILE).stat().st_mtime_ns
    method_trainer(method_config("lora", base, *GENERATED), tmp_path / "one")
    assert (tmp_path / "one" / FOLDER / FILE).stat().st_mtime_ns == before


def test_generated_pictures_are_in_no_checkpoint_and_in_no_picture_file(base, tmp_path):
    method_trainer(method_config("lora", base, *GENERATED), tmp_path).run(Interrupts())
    names = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert [name for name in names if "prior" in name] == [f"{FOLDER}/{FILE}"]
    assert not [name for name in names if name.endswith((".png", ".jpg", ".jpeg", ".webp", ".npy"))]


def test_a_runs_own_pictures_are_told_apart_by_their_captions(base, tmp_path):
    overrides = ["method.rank=2", "method.prior={source: run, subject: dog, weight: 0.5}"]
    trainer = method_trainer(method_config("lora", base, *overrides), tmp_path)
    prepared = trainer.method.prepare(EndlessFeed().batch(0), 0)
    assert prepared.weights.tolist() == [0.5, 1.0, 1.0, 0.5, 0.5, 1.0, 0.5, 0.5]
    measured = trainer.method.players[0].measure(trainer.base.network, prepared, 0)
    assert torch.allclose(measured.losses, measured.extras["error"] * prepared.weights)
    trainer.run(Interrupts())


def test_words_are_found_whole_and_in_order():
    assert holds("A Zorp dog", "zorp DOG")
    assert not holds("a dogma", "dog")
    assert not holds("dog zorp", "zorp dog")
    assert of_subject(["a Dog", "", "a cat"], "dog") == [True, True, False]
    assert weigh([True, False], 3.0).tolist() == [1.0, 3.0]
    assert holds("c++ (dog)", "(dog)")


def test_the_instance_prompt_is_read_for_the_subject_and_never_for_a_dropped_caption(base, tmp_path):
    overrides = ["method.rank=2", "method.prompt=a zorp", "method.prior={source: run, subject: dog}"]
    trainer = method_trainer(method_config("lora", base, *overrides), tmp_path)
    text = trainer.base.text
    prepared = trainer.method.prepare(EndlessFeed().batch(0), 0)
    wanted = text.encode(["a cat", "", "a zorp", "a red car", "two trees", "", "a boat", "the moon"])
    assert torch.equal(prepared.noisy.text, wanted.vectors)
