"""Known damage does what its name says, and the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from filters.degradations import MILD, STANDARD, blurred, compressed, exposed, noisy


@pytest.fixture
def edge() -> Image.Image:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, 32:] = 255
    return Image.fromarray(pixels)


def test_exposure_is_a_factor_on_linear_light():
    grey = Image.new("RGB", (4, 4), (188, 100, 0))  # 188 codes half of all light
    assert exposed(grey, 0).getpixel((0, 0)) == (188, 100, 0)
    assert exposed(grey, 1).getpixel((0, 0)) == (255, 138, 0)
    assert exposed(Image.new("RGB", (1, 1), "white"), -1).getpixel((0, 0)) == (188, 188, 188)


def test_noise_has_its_deviation_and_its_seed():
    grey = Image.new("RGB", (200, 200), (128, 128, 128))
    found = np.asarray(noisy(grey, 20), float)
    assert found.std() == pytest.approx(20, rel=0.02)
    assert found.mean() == pytest.approx(128, abs=0.3)
    np.testing.assert_array_equal(found, np.asarray(noisy(grey, 20)))
    assert (found != np.asarray(noisy(grey, 20, seed=1))).any()


def test_blur_spreads_an_edge_as_a_gaussian_does(edge):
    row = np.asarray(blurred(edge, 2.0), float)[32, :, 0] / 255
    steps = np.diff(row)
    at = np.arange(len(steps)) - 31
    assert np.sqrt((steps * at**2).sum() / steps.sum()) == pytest.approx(2.0, rel=0.1)


def test_compression_is_jpeg(edge):
    assert np.abs(np.asarray(compressed(edge, 5), int) - np.asarray(edge)).max() > 0
    assert compressed(edge, 95).mode == "RGB"


def test_every_kind_has_two_strengths(edge):
    assert list(STANDARD) == list(MILD)
    for kinds in (STANDARD, MILD):
        for damage in kinds.values():
            assert damage(edge).size == edge.size
