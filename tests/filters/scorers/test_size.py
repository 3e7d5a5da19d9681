"""Sizes of the upright picture."""

from __future__ import annotations

from PIL import Image

from filters.scorers.size import SizeScorer
from filters.scoring import Picture


def test_gives_upright_sizes_and_the_ratio_of_longer_to_shorter(batch_of):
    pictures = [Picture(Image.new("RGB", size)) for size in ((400, 100), (100, 400), (7, 7))]
    found = SizeScorer().score(batch_of(pictures))
    assert found.schema.equals(SizeScorer().fields)
    assert found.to_pydict() == {
        "width_upright": [400, 100, 7],
        "height_upright": [100, 400, 7],
        "min_side": [100, 100, 7],
        "aspect_ratio": [4.0, 4.0, 1.0],
    }
