"""Samplers: they undo what was trained, by seed and by nothing else, and say no where they do not fit."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import text_encoder
from torch import nn

from filters.errors import BadInput
from training.config_objective import Objective
from training.hallmark.gaussian_shading import decode, payload
from training.hallmark.watermark import WatermarkKey
from training.models.autoencoder import Codec
from training.sampling.model import Model, Running, load_model
from training.sampling.noise import Shading, geometry_of
from training.sampling.sample import Request, Sampler, SamplingFailed, Settings, Start
from training.sampling.schedulers import KINDS, default_kind, make_scheduler
from training.schedulers import scheduler_of
from training.schedules import alpha_bars

DIFFUSION = [name for name, kind in KINDS.items() if not kind.flow]
MEAN, SPREAD = 0.2, 0.25


class Exact(nn.Module):
    """The best denoiser there can be for pixels that are independent and normal: its posterior mean in closed form."""

    def __init__(self, objective):
        super().__init__()
        self.config = SimpleNamespace(in_channels=3)
        self.objective = objective
        given = (objective.schedule, objective.steps, objective.beta_start, objective.beta_end)
        self.bars = alpha_bars(*given, objective.zero_terminal_snr)

    def forward(self, x, timestep, return_dict, **text):
        level = timestep[0]
        if self.objective.prediction == "flow":
            alpha, sigma = 1 - level.double() / 1000, level.double() / 1000
        else:
            bar = self.bars[level.round().long()]
            alpha, sigma = bar.sqrt(), (1 - bar).sqrt()
        x = x.double()
        x0 = MEAN + alpha * SPREAD**2 / (alpha**2 * SPREAD**2 + sigma**2) * (x - alpha * MEAN)
        noise = (x - alpha * x0) / sigma
        kind = self.objective.prediction
        outputs = {"epsilon": noise, "x0": x0, "v": alpha * noise - sigma * x0, "flow": noise - x0}
        return (outputs[kind].float(),)


def exact(**objective):
    """A model whose every answer is right, for one objective."""
    config = Objective(**objective)
    scheduler = scheduler_of(config, pixels=False)
    body = {**scheduler.config, "_class_name": type(scheduler).__name__}
    cpu = torch.device("cpu")
    return Model(None, {}, Exact(config), Codec(None), text_encoder(6), body, cpu, torch.float32)


def drawn(model, name, steps=50):
    """Pixels that a sampler makes of it, in -1..1."""
    settings = Settings(name, steps=steps, guidance=1.0, width=64, height=64)
    return Sampler(model, settings).sample(Request(["a"], [""], [7])).astype(float) / 127.5 - 1


@pytest.mark.parametrize("prediction", ["epsilon", "v", "x0"])
@pytest.mark.parametrize("name", DIFFUSION)
def test_a_sampler_brings_noise_to_the_distribution_that_was_trained(name, prediction):
    found = drawn(exact(prediction=prediction), name, 100)
    assert found.mean() == pytest.approx(MEAN, abs=0.01)
    # measured: all tend to the true spread as steps grow; with 100 of them 0.22 to 0.25 of 0.25
    if name != "lcm":  # it takes the posterior's mean for the sample, and is right only for distilled networks
        assert found.std() == pytest.approx(SPREAD, rel=0.15)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "sigmoid"])
@pytest.mark.parametrize("name", DIFFUSION)
def test_a_sampler_takes_over_the_schedule_of_the_training(name, schedule):
    ends = {} if schedule == "cosine" else {"beta_start": 0.0001, "beta_end": 0.02}
    assert drawn(exact(prediction="v", schedule=schedule, **ends), name).mean() == pytest.approx(MEAN, abs=0.02)


@pytest.mark.parametrize("name", [name for name in DIFFUSION if KINDS[name].zero])
def test_a_sampler_starts_where_no_signal_is_left(name):
    assert drawn(exact(prediction="v", zero_terminal_snr=True), name).mean() == pytest.approx(MEAN, abs=0.02)


def test_rectified_flow_is_walked_back():
    found = drawn(exact(prediction="flow"), "flow-euler")
    assert found.mean() == pytest.approx(MEAN, abs=0.01)
    assert found.std() == pytest.approx(SPREAD, rel=0.15)


def settings_for(model, name, **more):
    return Settings(name, **{"steps": 3, "width": model.side, "height": model.side, **more})


@pytest.mark.parametrize(
    ("kind", "name"), [*(("latent", name) for name in DIFFUSION), ("flow", "flow-euler"), ("transformer", "ddim")]
)
def test_a_picture_is_its_seeds_and_not_its_neighbours(model, kind, name):
    loaded = model(kind)
    sampler = Sampler(loaded, settings_for(loaded, name))
    three = sampler.sample(Request(["a cat", "a dog", "a cat"], [""] * 3, [1, 2, 1]))
    alone = sampler.sample(Request(["a dog"], [""], [2]))
    assert three.shape == (3, 16, 16, 3)
    assert (three[0] == three[2]).all()
    assert (three[1] == alone[0]).all()
    assert (three[0] != three[1]).any()


def test_prompt_negative_prompt_and_guidance_change_the_picture(model):
    loaded = model("latent")

    def made(prompt="a cat", negative="", guidance=3.0):
        sampler = Sampler(loaded, settings_for(loaded, "ddim", guidance=guidance))
        return sampler.sample(Request([prompt], [negative], [1])).tobytes()

    assert len({made(), made("a dog"), made(negative="a dog"), made(guidance=1.0)}) == 4
    assert made(guidance=1.0) == made(negative="a dog", guidance=1.0)


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("flow", "ddim", "trained for rectified flow; take flow-euler"),
        ("latent", "flow-euler", "trained for diffusion (v_prediction); take ddpm, ddim"),
        ("zero", "heun", "cannot start where no signal is left"),
        ("zero", "deis", "cannot start where no signal is left"),
        ("latent", "k-best", "no such sampler; one of ddpm"),
    ],
)
def test_a_sampler_that_does_not_fit_is_refused_in_one_line(model, kind, name, words):
    loaded = model(kind)
    with pytest.raises(BadInput) as caught:
        settings_for(loaded, name).check(loaded)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"steps": 1001}, {"width": 17}, {"width": 0}, {"guidance": float("nan")}, {"strength": 1.5}],
)
def test_impossible_settings_are_refused(model, wrong):
    loaded = model("latent")
    with pytest.raises(BadInput):
        settings_for(loaded, "ddim", **wrong).check(loaded)


def test_the_default_sampler_fits(model):
    for kind in ("latent", "flow", "zero"):
        config = model(kind).scheduler
        make_scheduler(default_kind(config), config, 5)


@pytest.mark.parametrize("name", DIFFUSION)
def test_a_starting_picture_is_kept_the_more_the_less_strength_there_is(name, photo_pixels):
    start = Start(photo_pixels[32:96, 32:96])
    exactly = exact(prediction="v")

    def made(strength):
        settings = Settings(name, steps=20, guidance=1.0, width=64, height=64, strength=strength)
        return Sampler(exactly, settings, start).sample(Request(["a"], [""], [1]))[0].astype(int)

    away = [np.abs(made(strength) - start.pixels).mean() for strength in (0.0, 0.2, 1.0)]
    assert away[0] == 0
    assert 0 < away[1] < away[2]


@pytest.mark.parametrize("name", [*DIFFUSION, "flow-euler"])
def test_outside_the_mask_nothing_changes(name, photo_pixels):
    mask = np.zeros((64, 64), bool)
    mask[:, 40:] = True
    start = Start(photo_pixels[32:96, 32:96], mask)
    exactly = exact(prediction="flow" if KINDS[name].flow else "epsilon")
    settings = Settings(name, steps=10, guidance=1.0, width=64, height=64, strength=1.0)
    made = Sampler(exactly, settings, start).sample(Request(["a", "b"], [""] * 2, [1, 2]))
    assert (made[:, ~mask] == start.pixels[~mask]).all()
    assert abs(made[:, mask].astype(float).mean() / 127.5 - 1 - MEAN) < 0.05


def test_a_mark_in_the_noise_stands_in_the_latents_that_are_sampled_from():
    key = WatermarkKey(bytes(range(32)))
    noise, marks = Shading(key).noise([1, 1], (4, 16, 16))
    geometry = geometry_of((4, 16, 16))
    for row, mark in zip(noise, marks, strict=True):
        assert (decode(row.numpy(), key, mark.nonce, geometry) == payload(mark.identity, geometry)).all()
    assert marks[0].nonce != marks[1].nonce


def test_numbers_that_are_not_finite_are_no_picture():
    broken = exact(prediction="epsilon")
    broken.network.bars = torch.full_like(broken.network.bars, float("nan"))
    with pytest.raises(SamplingFailed, match="not finite"):
        drawn(broken, "ddim", steps=2)


def test_half_precision_makes_nearly_the_same_picture(trained, model):
    half = load_model(trained("latent"), Running("bf16", "cpu"))
    request = Request(["a cat"], [""], [1])
    a, b = (Sampler(one, settings_for(one, "ddim")).sample(request).astype(int) for one in (half, model("latent")))
    assert half.network.dtype == torch.bfloat16
    assert 0 < np.abs(a - b).mean() < 8


def test_decoding_in_tiles_is_for_large_pictures_and_for_autoencoders(trained, model, pixel_training):
    tiled, request = load_model(trained("latent"), Running(device="cpu", tiling=True)), Request(["a"], [""], [1])
    small = [Sampler(one, settings_for(one, "ddim")).sample(request) for one in (tiled, model("latent"))]
    assert (small[0] == small[1]).all()
    wide = [
        Sampler(one, settings_for(one, "ddim", steps=1, width=640)).sample(request) for one in (tiled, model("latent"))
    ]
    assert wide[0].shape == (1, 16, 640, 3)
    assert (wide[0] != wide[1]).any()
    with pytest.raises(BadInput, match="no autoencoder to tile"):
        load_model(pixel_training / "step-00000002", Running(device="cpu", tiling=True))


def test_precision_that_the_device_cannot_do_is_refused(trained):
    with pytest.raises(BadInput, match="needs a GPU"):
        load_model(trained("latent"), Running("fp16", "cpu"))


@pytest.mark.parametrize(
    ("name", "words"),
    [("unet/diffusion_pytorch_model.safetensors", "was changed"), ("scheduler/scheduler_config.json", "was changed")],
)
def test_a_checkpoint_whose_files_were_changed_signs_nothing(trained, tmp_path, name, words):
    folder = tmp_path / "step-00000002"
    shutil.copytree(trained("latent"), folder)
    data = bytearray((folder / name).read_bytes())
    data[-2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(BadInput, match=words):
        load_model(folder, Running(device="cpu"))


def test_facts_that_state_another_identity_are_refused(trained, tmp_path):
    folder = tmp_path / "step-00000002"
    shutil.copytree(trained("latent"), folder)
    facts = (folder / "assay.json").read_text()
    identity = load_model(folder, Running(device="cpu")).identity
    (folder / "assay.json").write_text(facts.replace(identity, "0" * 64))
    with pytest.raises(BadInput, match="do not give the identity"):
        load_model(folder, Running(device="cpu"))
