"""Long strips, which fit the limit on pixels: scorers that look at a square or turn a line take no more for them."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from filters.decoding import MAX_PIXELS, MAX_SIDE
from filters.scorers import nudity
from filters.scorers.hashes import HashScorer
from filters.scorers.text_detection import line
from filters.scoring import Batch, Picture


@pytest.mark.parametrize("size", [(MAX_SIDE, 4), (4, MAX_SIDE)])
def test_the_longest_strip_has_hashes(size):
    assert size[0] * size[1] < MAX_PIXELS
    scored = HashScorer().score(Batch(["u"], ["a strip"], [b""], [Picture(Image.new("RGB", size, (9, 9, 200)))]))
    assert scored.column("phash").null_count == 0


def test_nudity_pads_no_square_of_a_strips_length(monkeypatch):
    tracemalloc.start()
    small = nudity.preprocess(Image.new("RGB", (100_000, 8), (255, 0, 0)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000
    assert small.shape == (1, 3, 320, 320)
    assert small[0, :, 0].tolist() == [[0.0] * 320, [0.0] * 320, [1.0] * 320]
    assert not small[0, :, 1:].any()
    picture = Image.linear_gradient("L").resize((2000, 700)).convert("RGB")
    padded = nudity.preprocess(picture)
    monkeypatch.setattr(nudity, "_LONGEST_SQUARE", 1000)
    assert np.abs(nudity.preprocess(picture) - padded).mean() < 0.01


def test_a_line_of_text_longer_than_opencv_turns_is_read_all_the_same():
    image = Image.new("RGB", (40_000, 700), "white")
    ImageDraw.Draw(image).text((300, 50), "x" * 60, fill="black", font=ImageFont.load_default(size=500))
    whole = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64)
    found = line(image, whole)
    assert found.shape == (48, 480, 3)
    shrunk = line(image.reduce(2), whole)
    assert np.abs(found.astype(int) - shrunk).mean() < 8
