"""pHash takes small drawings on a large white page for one picture; PDQ has a second look at what it takes for one."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from filters.duplicates import METHODS
from filters.duplicates_likeness import PDQ_QUALITY, Bounds, Features, Likeness
from filters.scorers.hashes import phashes
from filters.scorers.pdq import pdq_hash
from filters.scoring import Picture

TAKEN = METHODS.index("phash")


def compared(*images, confirm=62, without_pdq=()):
    """The likeness of pictures by pHash within 4 bits, confirmed by PDQ."""
    count = len(images)
    found = [pdq_hash(image) for image in images]
    pdq = np.array([np.frombuffer(code, dtype=np.uint64) for code, _ in found])
    pdq[list(without_pdq)] = 0
    codes = phashes([Picture(image) for image in images]).reshape(-1, 1)
    none, all_of_them = np.full(count, -1, dtype=np.int64), np.ones(count, dtype=bool)
    good = np.array([quality >= PDQ_QUALITY for _, quality in found])
    features = Features(none, none, codes, all_of_them, pdq, good, np.zeros((0, 1), np.float16), none)
    return Likeness(features, Bounds(exact=False, phash=4, confirm=confirm))


def page(draw):
    image = Image.new("RGB", (744, 1052), "white")
    draw(ImageDraw.Draw(image))
    return image


@pytest.fixture(scope="module")
def small():
    """Two small drawings at one place of a page, that have nothing else in common."""
    ring = page(lambda d: d.ellipse((324, 478, 420, 574), outline="blue", width=5))
    bars = (324, 522, 420, 530), (368, 478, 376, 574)
    cross = page(lambda d: [d.rectangle(bar, fill="blue") for bar in bars])
    return ring, cross


def method(likeness):
    return int(likeness.explain(np.array([1]), np.array([0]))[0][0])


def test_small_drawings_on_a_page_are_one_to_phash_alone_and_two_when_pdq_is_asked(small):
    assert method(compared(*small, confirm=None)) == TAKEN
    assert method(compared(*small)) == -1


def test_where_one_has_no_pdq_phash_is_taken_at_its_word(small):
    assert method(compared(*small, without_pdq=(1,))) == TAKEN


@pytest.mark.parametrize("quality", [30, 90])
def test_a_re_encoded_and_resized_copy_is_confirmed(quality):
    rng = np.random.default_rng(5)
    small = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    image = small.resize((320, 240), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.resize((160, 120)).save(buffer, "JPEG", quality=quality)
    assert method(compared(image, Image.open(buffer).convert("RGB"))) == TAKEN
