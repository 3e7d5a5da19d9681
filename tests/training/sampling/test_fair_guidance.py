"""Fair guidance: pictures go to the values that were drawn, by the same amount whatever the objective and sampler."""

import json

import numpy as np
import pytest
import torch
from test_samplers import DIFFUSION, MEAN, exact

from filters.errors import BadInput
from training.sampling.diversify import diversifier_of
from training.sampling.fair import Fair, change, clean
from training.sampling.fair_direction import load_direction, measure_of, shipped_directions
from training.sampling.fair_fitting import _read, fair_name
from training.sampling.fair_probe import Probe, fit_probe, read_probe
from training.sampling.sample import Request, Sampler, Settings

SHAPE = (3, 64, 64)

#: One standard deviation of the stand-in measure, in pixels of -1..1.
STEP = 0.2


def mean_probe(r2=0.9):
    """A probe of the mean pixel that is exactly right, in units of `STEP` around the model's own mean."""
    count = float(np.prod(SHAPE))
    ones = torch.ones(SHAPE)
    return Probe(ones / (count * STEP), ones * STEP, ones * MEAN, r2, MEAN, STEP, 1000)


def fair(scale=1.0, **probe):
    return Fair(load_direction("brightness"), mean_probe(**probe), scale)


def means(name, values, guide, steps=20, **objective):
    """Mean pixel of each picture, in -1..1."""
    sampler = Sampler(exact(**objective), Settings(name, steps, 1.0, 64, 64), fair=guide)
    count = len(values)
    found = sampler.sample(Request(["a"] * count, [""] * count, list(range(count)), None, values))
    return found.astype(float).mean(axis=(1, 2, 3)) / 127.5 - 1


@pytest.mark.parametrize("name", DIFFUSION)
def test_every_sampler_takes_pictures_to_the_drawn_side(name):
    dark, bright = means(name, ["dark", "bright"], fair(), prediction="v")
    assert bright - MEAN == pytest.approx(MEAN - dark, abs=0.02)
    assert 0.3 * STEP < bright - MEAN < 1.5 * STEP


@pytest.mark.parametrize("prediction", ["epsilon", "x0", "flow"])
def test_every_objective_moves_alike(prediction):
    name = "flow-euler" if prediction == "flow" else "ddim"
    found = means(name, ["dark", "bright"], fair(), prediction=prediction)
    wanted = means("ddim", ["dark", "bright"], fair(), prediction="v")
    # the path of rectified flow has other levels, so it is close only
    assert found == pytest.approx(wanted, abs=0.3 * STEP if prediction == "flow" else 0.02)


def test_more_scale_moves_further_and_what_the_probe_does_not_know_less():
    def moved(scale, r2):
        (bright,) = means("ddim", ["bright"], fair(scale, r2=r2), prediction="v")
        return bright - MEAN

    assert moved(0.5, 0.9) < moved(1.0, 0.9)
    assert moved(1.0, 0.2) < moved(1.0, 0.9)


def test_a_picture_without_a_value_stays_to_the_bit():
    settings, model = Settings("ddim", 10, 1.0, 64, 64), exact(prediction="v")
    request = Request(["a", "a"], [""] * 2, [1, 2], None, ["", "bright"])
    guided = Sampler(model, settings, fair=fair()).sample(request)
    plain = Sampler(model, settings).sample(request)
    assert (guided[0] == plain[0]).all()
    assert (guided[1] != plain[1]).any()


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample", "flow"])
def test_the_output_changes_as_the_clean_picture_is_to(kind):
    draws = torch.Generator().manual_seed(0)
    x, output, moved = (torch.randn(1, 3, 4, 4, generator=draws) for _ in range(3))
    alpha, sigma = (0.4, 0.6) if kind == "flow" else (0.6, 0.8)
    before = clean(kind, x, output, alpha, sigma)
    after = clean(kind, x, output + change(kind, moved, alpha, sigma), alpha, sigma)
    assert after - before == pytest.approx(moved, abs=1e-5)


def test_another_size_than_the_probe_s_is_refused():
    sampler = Sampler(exact(prediction="v"), Settings("ddim", 2, 1.0, 128, 64), fair=fair())
    with pytest.raises(BadInput, match="leave --size"):
        sampler.sample(Request(["a"], [""], [1], None, ["bright"]))


def test_values_are_drawn_by_seed_and_shares_and_not_where_the_prompt_states_one():
    gender = Fair(load_direction("gender"), mean_probe(), 1.0, diversifier_of("people"))
    assert gender.value("a portrait of a woman", 1) == ""
    values = [gender.value("a doctor", seed) for seed in range(1000)]
    assert values == [gender.value("a doctor", seed) for seed in range(1000)]
    assert abs(values.count("feminine") / 1000 - 0.5) < 0.06
    assert torch.isnan(gender.targets(["", "feminine"])).tolist() == [True, False]
    assert gender.parameters("")["fair_value"] == "stated in the prompt"


def planted(count, noise, width=24):
    """Latents of which a few numbers together say what was measured, up to noise."""
    draws = np.random.default_rng(0)
    latents = draws.normal(size=(count, 1, 4, width)).astype(np.float32)
    told = latents.reshape(count, -1)[:, :5].sum(axis=1)
    measured = 0.5 + 0.1 * (told + noise * draws.normal(size=count) * 5**0.5)
    return latents, measured, draws.integers(0, 2**63, count).astype(np.uint64)


@pytest.mark.parametrize("width", [24, 600])
def test_the_probe_finds_what_is_there_and_says_how_well(width):
    # the second has more numbers than pictures
    probe = fit_probe(*planted(1200, 0.3, width))
    assert probe.r2 > (0.85 if width == 24 else 0.1)
    assert probe.mean == pytest.approx(0.5, abs=0.03)
    latents, measured, _ = planted(1200, 0.3, width)
    read = probe.read(torch.from_numpy(latents)).numpy()
    assert np.corrcoef(read, measured)[0, 1] > 0.8
    moved = probe.read(torch.from_numpy(latents) + probe.pattern) - probe.read(torch.from_numpy(latents))
    assert moved.numpy() == pytest.approx(1.0, abs=1e-3)


def test_the_probe_says_that_nothing_is_there():
    latents, _, order = planted(800, 0.0)
    assert fit_probe(latents, np.random.default_rng(1).normal(size=800), order).r2 < 0.1
    with pytest.raises(ValueError, match="all pictures measure the same"):
        fit_probe(latents, np.ones(800), order)


def test_a_probe_is_kept_and_a_broken_or_foreign_one_is_not_used(tmp_path):
    from pipelines.run.storage import Store

    probe, store = fit_probe(*planted(400, 0.3)), Store(str(tmp_path))
    body = {"key": "k", "probe": probe.body()}
    (tmp_path / "fair.json").write_text(json.dumps(body))
    kept = _read(store, "k")
    assert torch.equal(kept.weights, probe.weights)
    assert kept.r2 == probe.r2
    assert _read(store, "other") is None
    for text in ("{", "[]", '{"key": "k"}', '{"key": "k", "probe": {"shape": [1, 1, 2], "weights": [1]}}'):
        (tmp_path / "fair.json").write_text(text)
        assert _read(store, "k") is None
    with pytest.raises(ValueError, match="not finite"):
        read_probe({**probe.body(), "r2": float("nan")})


def test_measures_of_pixels():
    bright, warm = (measure_of(load_direction(name), lambda: None) for name in ("brightness", "warmth"))
    red = np.zeros((1, 2, 2, 3), np.uint8)
    red[..., 0] = 255
    assert bright(np.full((1, 2, 2, 3), 255, np.uint8)) == pytest.approx([1.0])
    assert bright(red) == pytest.approx([0.299])
    assert warm(red) == pytest.approx([1.0])
    assert warm(255 - red) == pytest.approx([-1.0])


def test_the_encoder_s_direction_tells_real_pictures_apart(photo_pixels):
    from filters.encoders.uri import load_encoder
    from training.sampling.fair_direction import Direction

    coffee = np.asarray(pytest.importorskip("skimage.data").coffee())
    body = load_direction("gender").model_dump()
    body |= {"stated_by": None, "low": {"value": "cup", "share": 0.5, "texts": ["a cup of coffee"]}}
    body |= {"high": {"value": "cat", "share": 0.5, "texts": ["a photo of a cat", "a kitten"]}}
    measure = measure_of(Direction.model_validate(body), lambda: load_encoder("builtin:mini", threads=1))
    assert measure(photo_pixels[None])[0] > measure(coffee[None])[0]


def test_directions_state_source_and_limits_and_the_names_are_known():
    assert shipped_directions() == ["age", "brightness", "gender", "warmth"]
    for name in shipped_directions():
        direction = load_direction(name)
        assert direction.source
        assert direction.limits
        if direction.stated_by is not None:
            assert direction.stated_by.axis in diversifier_of(direction.stated_by.axes).axes.axes
    assert fair_name("gender", 2.0).endswith("x 2")
    with pytest.raises(BadInput, match="Assay has age, brightness, gender, warmth"):
        load_direction("height")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"share": 0.5}', '"share": 0.9}', "add up to 1.4"),
        ('"measure": "brightness",', "", "need texts"),
        ('"bright"', '"dark"', "same name"),
        ('"brightness"', '"height"', "measure"),
    ],
)
def test_a_broken_direction_is_refused_in_one_line(tmp_path, old, new, words):
    from training.sampling import fair_direction

    text = (fair_direction._FOLDER / "brightness.json").read_text()
    text = text.replace('"name": "brightness"', '"name": "b"')
    assert old in text
    (tmp_path / "own.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(BadInput) as caught:
        load_direction(str(tmp_path / "own.yaml"))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
