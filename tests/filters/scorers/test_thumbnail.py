"""Thumbnails: small, upright, the same bytes every time."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from filters.scorers.thumbnail import thumbnail
from filters.scoring import Picture


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize(
    ("size", "small"),
    [
        ((640, 480), (128, 96)),
        ((300, 900), (43, 128)),
        ((100, 60), (100, 60)),
        ((9000, 20), (128, 1)),
        ((1, 1), (1, 1)),
    ],
)
def test_keeps_the_shape_and_never_enlarges(size, small):
    image = opened(thumbnail(Picture(Image.new("RGB", size, "orange"))))
    assert (image.format, image.size) == ("WEBP", small)


def test_is_the_picture_the_same_bytes_again_and_without_metadata(real_pictures):
    picture = real_pictures[-1]
    again = Picture(picture.image.copy())
    again.image.info = {"icc_profile": b"x" * 200, "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0", "xmp": b"<x/>"}
    data = thumbnail(picture)
    assert thumbnail(again) == data
    assert len(data) < 10_000
    direct = picture.image.resize(opened(data).size, Image.Resampling.BICUBIC).convert("L")
    difference = [abs(a - b) for a, b in zip(direct.tobytes(), opened(data).convert("L").tobytes(), strict=True)]
    assert sum(difference) / len(difference) < 5


def test_other_sizes(real_pictures):
    assert max(opened(thumbnail(real_pictures[-1], side=200)).size) == 200
    with pytest.raises(ValueError, match="0 pixels"):
        thumbnail(real_pictures[-1], side=0)
