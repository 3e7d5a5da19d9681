"""Technical quality: its measures against their definitions, its ranking on real pictures."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import tarfile
from functools import partial

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from filters.decoding import Undecodable, decode
from filters.degradations import STANDARD, blurred, compressed, exposed, noisy
from filters.errors import BadInput
from filters.scorers import quality as module
from filters.scorers.quality import QualityScorer, model, quality
from filters.scorers.quality_features import aggd, blockiness, features, scene_statistics
from filters.scoring import Picture, Scorer


@pytest.fixture(scope="session")
def photos(shared_data) -> list[Image.Image]:
    files = sorted((shared_data / "flickr8k_sample" / "images").glob("*.jpg"))[3::10]
    if not files:
        pytest.skip("no flickr8k_sample in the test data")
    return [decode(path.read_bytes()).image for path in files]


@pytest.fixture(scope="session")
def drawings(openclipart) -> list[Image.Image]:
    """Drawings by artists whom the fit has not seen."""
    found = []
    with tarfile.open(openclipart / "openclipart-00001.tar") as tar:
        held = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}
    for name in sorted(held):
        if not name.endswith(".png"):
            continue
        artist = json.loads(held[name[:-4] + ".json"]).get("creator") or name
        if int(hashlib.sha256(artist.encode()).hexdigest(), 16) % 100 >= 75:
            try:
                image = decode(held[name]).image
            except Undecodable:
                continue
            if min(image.size) >= 64 and max(image.size) <= 800:
                found.append(image)
    return found[:: max(1, len(found) // 50)][:50]


def changed(image: Image.Image, copy: Image.Image) -> bool:
    return np.abs(np.asarray(copy, float) - np.asarray(image, float)).mean() >= 1


@pytest.mark.parametrize("kind", STANDARD)
def test_ranks_damaged_photos_below_their_originals(photos, kind):
    right = [quality(STANDARD[kind](image)) < quality(image) for image in photos]
    assert len(right) == 50
    assert np.mean(right) >= 0.95


@pytest.mark.parametrize("kind", STANDARD)
def test_ranks_damaged_drawings_below_their_originals(drawings, kind):
    pairs = [(image, copy) for image in drawings if changed(image, copy := STANDARD[kind](image))]
    assert len(pairs) >= 20
    assert np.mean([quality(copy) < quality(image) for image, copy in pairs]) >= 0.9


@pytest.mark.parametrize(
    "levels",
    [
        [partial(compressed, quality=90), partial(compressed, quality=25), partial(compressed, quality=5)],
        [partial(noisy, sigma=0), partial(noisy, sigma=15), partial(noisy, sigma=40)],
        [partial(blurred, sigma=0), partial(blurred, sigma=1.5), partial(blurred, sigma=4)],
        [partial(exposed, stops=0), partial(exposed, stops=-1.5), partial(exposed, stops=-3)],
        [partial(exposed, stops=0), partial(exposed, stops=1.5), partial(exposed, stops=3)],
    ],
)
def test_more_damage_is_worse_in_the_mean(photos, levels):
    means = [np.mean([quality(damage(image)) for image in photos[::4]]) for damage in levels]
    assert means[0] > means[1] + 0.1
    assert means[1] > means[2]


@pytest.mark.parametrize(("shape", "draw"), [(2.0, "standard_normal"), (1.0, "laplace")])
def test_the_fit_finds_the_shape_of_known_distributions(shape, draw):
    chance = np.random.default_rng(3)
    values = chance.laplace(size=400_000) if draw == "laplace" else chance.standard_normal(400_000)
    found, mean, left, right = aggd(values)
    assert found == pytest.approx(shape, rel=0.02)
    assert mean == pytest.approx(0, abs=0.01)
    assert left == pytest.approx(values.std(), rel=0.01)
    # Twice as wide to the right: the spreads of both sides, and a mean that moves there.
    found, mean, left, right = aggd(np.where(values > 0, 2 * values, values))
    assert right / left == pytest.approx(2, rel=0.02)
    assert mean > 0.3


def test_normalised_luma_is_that_of_the_paper(photos):
    luma = np.asarray(photos[0].convert("L"), np.float32)
    window = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
    window /= window.sum()

    def smooth(values):
        return ndimage.correlate1d(ndimage.correlate1d(values, window, 0, mode="nearest"), window, 1, mode="nearest")

    wide = luma.astype(np.float64)
    mean = smooth(wide)
    deviation = np.sqrt(np.maximum(smooth(wide**2) - mean**2, 0))
    mscn = ((wide - mean) / (deviation + 1))[deviation > 0.5]
    measured = features(photos[0])
    assert measured["detail_textured"] == pytest.approx(len(mscn) / luma.size, abs=1e-3)
    assert measured["detail_spread"] == pytest.approx(np.mean(mscn**2), rel=1e-3)
    flat = scene_statistics(np.zeros((32, 32), np.float32), np.zeros((32, 32)), np.zeros((32, 32)))
    assert flat["spread"] == 0


def test_noise_and_blocks_are_measured_as_made(photos):
    grey = Image.new("RGB", (256, 256), (120, 120, 120))
    for sigma in (2.0, 8.0, 20.0):
        # Independent noise, and rounding to 8 bits, in three channels that luma adds up; luma is rounded again.
        variance = (sigma**2 + 1 / 12) * (0.299**2 + 0.587**2 + 0.114**2) + 1 / 12
        estimate = np.exp(features(noisy(grey, sigma))["detail_immerkaer"]) - 0.05
        assert estimate == pytest.approx(np.sqrt(variance), rel=0.03)
    for image in photos[:5]:
        clean, blocky = (
            blockiness(np.asarray(picture.convert("L"), np.float32)) for picture in (image, compressed(image, 10))
        )
        assert blocky["blocks"] > clean["blocks"] + 0.02
        assert blocky["frozen"] >= clean["frozen"]


def test_every_picture_gets_finite_measures(made_pictures, real_pictures):
    for picture in [*made_pictures[::4], *real_pictures[::6]]:
        values = features(picture.image)
        assert np.isfinite(list(values.values())).all()
        assert set(model().names) == set(values)
        assert 0 <= quality(picture.image) <= 1
    for size in ((1, 1), (1, 3000), (3000, 2), (15, 17), (2500, 1500)):
        assert 0 <= quality(Image.new("RGB", size, "teal")) <= 1


def test_is_a_scorer(real_pictures, batch_of):
    scorer = pickle.loads(pickle.dumps(QualityScorer()))
    assert isinstance(scorer, Scorer)
    scorer.load()
    pictures = real_pictures[:6]
    scores = scorer.score(batch_of(pictures))
    assert scores.schema.equals(scorer.fields)
    assert scores["technical_quality"].to_pylist() == [
        scorer.score(batch_of([picture]))["technical_quality"][0].as_py() for picture in pictures
    ]
    assert scorer.model_id().startswith("nss-quality@sha256:")
    assert scorer.score(batch_of([])).num_rows == 0


def test_does_not_depend_on_the_file(photos, batch_of):
    """The same pixels by way of PNG give the same score: nothing is read but pixels."""
    buffer = io.BytesIO()
    photos[0].save(buffer, "PNG")
    again = Picture(decode(buffer.getvalue()).image)
    assert quality(again.image) == quality(photos[0])


def test_missing_weights_are_named(monkeypatch):
    monkeypatch.setattr(module, "_WEIGHTS", "absent.json")
    module.model.cache_clear()
    with pytest.raises(BadInput, match=r"absent\.json is missing"):
        QualityScorer().load()
    module.model.cache_clear()
