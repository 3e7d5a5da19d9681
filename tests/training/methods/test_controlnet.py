"""ControlNet: nothing changes before it is trained, only it is trained, and it goes with its base alone."""

import shutil

import numpy as np
import pytest
import torch
from method_runs import loaded, made_base, method_config, method_trainer, trained_method, whole_and_resumed
from PIL import Image
from restating import identified
from tiny import EndlessFeed, curve

from filters.encoders.torchvision_fix import ensure_torchvision
from filters.errors import BadInput
from training.checkpoints import checkpoints, read_facts
from training.methods.edges import condition
from training.models.control import Control, controlled, new_control
from training.models.denoiser import denoise
from training.sampling.control import steering_of
from training.sampling.parts import bases_of, part_of
from training.sampling.sample import Request, Sampler, Settings
from training.signals import Interrupts


@pytest.fixture(scope="module")
def control(base, tmp_path_factory):
    """A control checkpoint of four steps on that base."""
    return trained_method("controlnet", base, tmp_path_factory.mktemp("control"))


@pytest.fixture
def picture(tmp_path):
    """A file with a picture that has edges."""
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[10:30, 8:25] = (250, 200, 40)
    Image.fromarray(pixels).save(tmp_path / "edges.png")
    return tmp_path / "edges.png"


def outputs(model, network, scale=1.0):
    """What the base says of some noisy latents alone, and with a control network."""
    batch = EndlessFeed().batch(0)
    text = model.text.encode(batch.captions)
    noisy = torch.randn(8, model.channels, 8, 8, generator=torch.Generator().manual_seed(3))
    levels = torch.arange(8) * 100
    given = Control(network, condition(batch.images), scale)
    with torch.no_grad():
        alone = denoise(model.network, noisy, levels, text.vectors, text.mask)
        return alone, controlled(model.network, given, noisy, levels, text.vectors, text.mask)


def test_an_untrained_control_changes_nothing_to_the_bit(base):
    model = loaded(base)
    alone, steered = outputs(model, new_control(model.network, model.codec.factor).eval())
    assert torch.equal(alone, steered)


@pytest.mark.parametrize("factor", [1, 2, 4, 8, 16])
def test_edges_are_brought_to_the_size_of_the_latents(base, factor):
    unet = loaded(base).network
    network = new_control(unet, factor)
    found = network.controlnet_cond_embedding(torch.zeros(1, 3, 16 * factor, 16 * factor))
    assert found.shape[2:] == (16, 16)


def test_a_trained_control_loads_in_plain_diffusers_and_steers(base, control):
    ensure_torchvision()
    from diffusers import ControlNetModel

    network = ControlNetModel.from_pretrained(control, subfolder="controlnet").eval()
    model = loaded(base)
    alone, steered = outputs(model, network)
    assert (alone - steered).abs().max() > 1e-6
    alone, steered = outputs(model, network, scale=0.0)
    assert torch.equal(alone, steered)


def test_only_the_control_network_is_trained(base, tmp_path):
    trainer = method_trainer(method_config("controlnet", base), tmp_path)
    before = {name: value.clone() for name, value in trainer.base.network.state_dict().items()}
    of_control = {name: value.clone() for name, value in trainer.method.players[0].network.state_dict().items()}
    trainer.run(Interrupts())
    after = trainer.base.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    moved = trainer.method.players[0].network.state_dict()
    changed = {name for name, value in of_control.items() if not torch.equal(value, moved[name])}
    assert any(name.startswith("controlnet_down_blocks") for name in changed)
    assert any(name.startswith("down_blocks") for name in changed)
    assert any(name.startswith("controlnet_cond_embedding") for name in changed)


def test_a_checkpoint_holds_the_control_network_and_names_its_base(base, control):
    facts = read_facts(control)
    assert facts["stage"] == "controlnet"
    assert facts["base"]["checkpoint"] == read_facts(base)["checkpoint"]
    assert facts["method"] == {
        "kind": "controlnet",
        "condition": "canny",
        "bounds": [100, 200],
        "needs_base": True,
    }
    assert {"controlnet/config.json", "controlnet/diffusion_pytorch_model.safetensors"} <= set(facts["files"])
    assert not any(name.startswith(("unet/", "vae/")) for name in facts["files"])
    assert (control / "exposure.parquet").is_file()


@pytest.mark.parametrize("kind", ["controlnet", "consistency"])
def test_a_training_that_was_killed_and_resumed_equals_one_that_never_was(kind, base, tmp_path):
    whole, parts = whole_and_resumed(method_config(kind, base), tmp_path)
    assert curve(whole, f"{kind}/loss") == curve(parts, f"{kind}/loss")
    one, other = (read_facts(checkpoints(folder)[-1][1])["files"] for folder in (whole, parts))
    weights = [name for name in one if name.endswith(".safetensors")]
    assert weights
    assert all(one[name] == other[name] for name in weights)


def test_steering_changes_the_picture_by_the_edges_it_was_given(base, control, picture, tmp_path):
    model = loaded(base)
    settings = Settings("ddim", steps=3, width=16, height=16)
    steering = steering_of(control, picture, 1.0, model, (16, 16))
    request = Request(["a cat", "a dog"], ["", ""], [1, 2])
    plain = Sampler(model, settings).sample(request)
    steered = Sampler(model, settings, None, steering.control).sample(request)
    assert (plain != steered).any()
    alone = Sampler(model, settings, None, steering.control).sample(Request(["a dog"], [""], [2]))
    assert (alone[0] == steered[1]).all()
    none = steering_of(control, picture, 0.0, model, (16, 16))
    assert (Sampler(model, settings, None, none.control).sample(request) == plain).all()
    assert len({steering.digest, none.digest}) == 2
    part = part_of(steering.facts)
    assert part.model.checkpoint == read_facts(control)["checkpoint"]
    assert part.dataset.content_hash == read_facts(control)["datasets"][-1]
    (made_from,) = bases_of(steering.facts)
    assert made_from.model.checkpoint == model.identity
    assert bases_of(model.facts) == ()


def test_control_of_another_base_is_refused_in_one_line(control, picture, tmp_path):
    other = loaded(made_base(tmp_path / "other", "seed=5"))
    with pytest.raises(BadInput, match="trained on the base") as caught:
        steering_of(control, picture, 1.0, other, (16, 16))
    assert "\n" not in str(caught.value)


def test_what_is_no_control_or_was_changed_is_refused(base, control, picture, tmp_path):
    model = loaded(base)
    with pytest.raises(BadInput, match="not of method controlnet"):
        steering_of(base, picture, 1.0, model, (16, 16))
    with pytest.raises(BadInput, match="belong together"):
        steering_of(control, None, 1.0, model, (16, 16))
    with pytest.raises(BadInput, match="0 to 10"):
        steering_of(control, picture, float("nan"), model, (16, 16))
    changed = tmp_path / "changed"
    shutil.copytree(control, changed)
    weights = changed / "controlnet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(BadInput, match="was changed"):
        steering_of(changed, picture, 1.0, model, (16, 16))


def test_a_control_trained_on_edges_by_other_bounds_is_refused(base, control, picture, tmp_path):
    copy = tmp_path / "bounds"
    shutil.copytree(control, copy)
    facts = read_facts(copy)
    facts["method"]["bounds"] = [50, 100]
    identified(copy, facts)
    with pytest.raises(BadInput, match="by the bounds"):
        steering_of(copy, picture, 1.0, loaded(base), (16, 16))


@pytest.mark.parametrize(
    ("overrides", "more", "words"),
    [
        (["denoiser.kind=transformer", "denoiser.heads=2", "denoiser.head_width=16"], [], "copies a U-Net's encoder"),
        ([], ["autoencoder.cache=float32"], "needs the pictures"),
    ],
)
def test_a_base_that_does_not_do_is_refused_in_one_line(overrides, more, words, tmp_path):
    path = made_base(tmp_path / "base", *overrides)
    with pytest.raises(BadInput, match=words) as caught:
        method_trainer(method_config("controlnet", path, *more), tmp_path / "out")
    assert "\n" not in str(caught.value)
