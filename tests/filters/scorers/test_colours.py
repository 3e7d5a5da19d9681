"""A layout says which colours stand where, in CIELAB, whatever the picture's size."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from filters.scorers.colours import ColourScorer, layouts
from filters.scoring import Batch, Picture


def flag(*stripes, size=(96, 64)):
    """A picture of upright stripes."""
    image = Image.new("RGB", (len(stripes), 1))
    image.putdata([tuple(stripe) for stripe in stripes])
    return Picture(image.resize(size, Image.Resampling.NEAREST))


# a and b of CIE 1976 for D65, as any colour table has them
@pytest.mark.parametrize(
    ("rgb", "luma", "a", "b"),
    [
        ((255, 0, 0), 38, 80, 67),
        ((0, 255, 0), 75, -86, 83),
        ((0, 0, 255), 14, 79, -108),
        ((255, 255, 255), 127, 0, 0),
        ((119, 119, 119), 59, 0, 0),
        ((0, 0, 0), 0, 0, 0),
    ],
)
def test_plain_colours_have_their_place_in_cielab(rgb, luma, a, b):
    found = layouts([flag(rgb)])[0]
    assert (found == [luma, a, b]).all()


def test_parts_stand_where_they_are_and_size_does_not_count():
    small, large = layouts([flag((255, 0, 0), (0, 0, 255)), flag((255, 0, 0), (0, 0, 255), size=(808, 400))])
    assert (small[:, :2, 1] == 80).all()
    assert (small[:, 2:, 2] == -108).all()
    assert np.abs(small.astype(int) - large).max() <= 2


def test_a_grey_copy_keeps_its_luma_and_a_tiny_picture_has_a_layout():
    noise = np.random.default_rng(0).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((333, 222), Image.Resampling.BICUBIC)
    own, grey, tiny = layouts(
        [Picture(p) for p in (image, ImageOps.grayscale(image).convert("RGB"), image.crop((0, 0, 1, 1)))]
    )
    assert np.abs(own[..., 0].astype(int) - grey[..., 0]).max() <= 1
    assert (grey[..., 1:] == 0).all()
    assert tiny.shape == (4, 4, 3)
    assert layouts([]).shape == (0, 4, 4, 3)


def test_the_scorer_returns_48_bytes_a_picture():
    picture = flag((1, 2, 3))
    found = ColourScorer().score(Batch(["u"], ["c"], [b""], [picture]))
    assert found.column("colours").to_pylist() == [layouts([picture])[0].tobytes()]
    assert found.schema.field("colours").type.byte_width == 48
