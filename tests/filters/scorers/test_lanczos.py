"""The resize by matrices gives Pillow's pixels, all of them, on every shape."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from filters.scorers import lanczos
from filters.scorers.lanczos import LONGEST, MAX_RATIO, thumbnail

SIZES = [(n, n) for n in (1, 2, 5, 31, 32, 33, 64, 100, 257)]
SIZES += [(640, 480), (333, 500), (1000, 63), (63, 1000), (20, 20 * MAX_RATIO), (LONGEST, 130), (130, LONGEST)]


def pillow(grey: Image.Image, side: int) -> np.ndarray:
    return np.asarray(grey.resize((side, side), Image.Resampling.LANCZOS))


def greys(size: tuple[int, int]) -> list[Image.Image]:
    """Noise, hard edges (where the filter overshoots below 0 and above 255), one grey."""
    width, height = size
    rng = np.random.default_rng(width * 10_000 + height)
    noise = rng.integers(0, 256, (height, width), dtype=np.uint8)
    edges = np.where(np.arange(width) * 3 // width % 2 ^ (np.arange(height) * 5 // height % 2)[:, None], 255, 0)
    flat = np.full((height, width), rng.integers(0, 256))
    return [Image.fromarray(pixels.astype(np.uint8)) for pixels in (noise, edges, flat)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_are_pillows(size):
    for grey in greys(size):
        np.testing.assert_array_equal(thumbnail(grey, 32), pillow(grey, 32))


def test_many_random_sizes_and_other_sides():
    rng = np.random.default_rng(3)
    for width, height, side in rng.integers(1, (700, 700, 41), (150, 3)).tolist():
        grey = greys((width, height))[0]
        np.testing.assert_array_equal(thumbnail(grey, side), pillow(grey, side), err_msg=f"{width} {height} {side}")


@pytest.mark.parametrize("size", [(LONGEST + 1, 200), (3, 400), (400, 3), (1, 1500)], ids=str)
def test_larger_and_longer_pictures_go_through_pillow(size, monkeypatch):
    grey = greys(size)[0]
    monkeypatch.setattr(lanczos, "_product", None)  # would raise if it were called
    np.testing.assert_array_equal(thumbnail(grey, 32), pillow(grey, 32))


def test_what_is_kept_of_a_size_is_small():
    assert sum(weights.nbytes for _, weights in lanczos._bands(LONGEST, 32)) < 300_000
