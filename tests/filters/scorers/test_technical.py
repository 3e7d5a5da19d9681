"""Sharpness, contrast and colourfulness against their definitions and against what they are for."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from filters.scorers.technical import (
    MAX_RATIO,
    SIDE,
    TechnicalScorer,
    colourfulness,
    laplacian_variance,
    luma_at,
    rms_contrast,
)
from filters.scoring import Picture


def scores(images, batch_of):
    found = TechnicalScorer().score(batch_of([Picture(image) for image in images]))
    assert found.schema.equals(TechnicalScorer().fields)
    return found.to_pydict()


def test_a_flat_picture_has_none_of_the_three(batch_of):
    found = scores([Image.new("RGB", (300, 200), "grey"), Image.new("RGB", (1, 1), "white")], batch_of)
    assert found == {"sharpness": [0, 0], "contrast": [0, 0], "colourfulness": [0, 0]}


def test_equal_the_formulas_in_double_precision():
    rgb = np.random.default_rng(1).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    luma, channels = rgb[..., 0].astype(float), rgb.astype(float)
    kernel = [(0, 1, 1), (2, 1, 1), (1, 0, 1), (1, 2, 1), (1, 1, -4)]
    laplacian = sum(weight * luma[y : y + 35, x : x + 51] for y, x, weight in kernel)
    rg, yb = channels[..., 0] - channels[..., 1], (channels[..., 0] + channels[..., 1]) / 2 - channels[..., 2]
    m3 = np.sqrt(rg.var() + yb.var()) + 0.3 * np.sqrt(rg.mean() ** 2 + yb.mean() ** 2)
    assert laplacian_variance(rgb[..., 0]) == pytest.approx(laplacian.var())
    assert rms_contrast(rgb[..., 0]) == pytest.approx(luma.std() / 255)
    assert colourfulness(rgb) == pytest.approx(m3)


def test_half_black_half_white_has_the_greatest_contrast(batch_of):
    image = Image.new("RGB", (256, 256), "black")
    image.paste((255, 255, 255), (0, 0, 128, 256))
    assert scores([image], batch_of)["contrast"] == [0.5]


def test_blur_lowers_sharpness_and_desaturation_colourfulness_on_real_photos(real_pictures, batch_of):
    photos = [picture.image for picture in real_pictures[-10:]]
    sharp = scores(photos, batch_of)
    blurred = scores([photo.filter(ImageFilter.GaussianBlur(4)) for photo in photos], batch_of)
    grey = scores([photo.convert("L").convert("RGB") for photo in photos], batch_of)
    assert all(after < before / 2 for before, after in zip(sharp["sharpness"], blurred["sharpness"], strict=True))
    assert max(grey["colourfulness"]) == 0 < min(sharp["colourfulness"])
    assert all(0 < contrast < 0.5 for contrast in sharp["contrast"])


def test_the_same_pixels_at_twice_the_size_score_alike(real_pictures, batch_of):
    whole = real_pictures[-1].image
    scale = 512 / min(whole.size)
    small = whole.resize((round(whole.width * scale), round(whole.height * scale)), Image.Resampling.BICUBIC)
    large = small.resize((small.width * 2, small.height * 2), Image.Resampling.BICUBIC)
    found = scores([small, large], batch_of)
    for name, tolerance in (("sharpness", 0.2), ("contrast", 0.01), ("colourfulness", 0.02)):
        assert found[name][1] == pytest.approx(found[name][0], rel=tolerance)


def test_luma_has_the_common_size_and_the_pictures_mean():
    ramp = np.tile(np.linspace(0, 255, 1000).astype(np.uint8), (1300, 1))
    for height, width in ((1300, 1000), (1023, 767), (256, 256), (40, 30), (3, 900), (1, 1)):
        luma = luma_at(ramp[:height, :width], SIDE)
        assert min(luma.shape) == SIDE
        longer = min(MAX_RATIO * SIDE, SIDE * max(height, width) / min(height, width))
        assert max(luma.shape) == pytest.approx(longer, abs=2)
        assert luma.mean() == pytest.approx(ramp[:height, :width].mean(), abs=1)


def test_the_grey_picture_is_made_once_for_all_scorers():
    picture = Picture(Image.new("RGB", (8, 8), "red"))
    assert picture.grey is picture.grey
    assert (picture.grey.mode, picture.grey.size, picture.grey.getpixel((0, 0))) == ("L", (8, 8), 76)
