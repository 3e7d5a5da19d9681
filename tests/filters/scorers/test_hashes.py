"""The perceptual hash equals imagehash's, on every kind of picture."""

from __future__ import annotations

import json

import imagehash
import numpy as np
import pytest
from PIL import Image

from filters.decoding import decode
from filters.scorers.hashes import HashScorer, hash_thumbnails, phash_hex, phashes
from filters.scoring import Picture


def hex_of(pictures: list[Picture]) -> list[str]:
    return [phash_hex(value) for value in phashes(pictures)]


def test_equals_imagehash_on_real_pictures(real_pictures):
    assert hex_of(real_pictures) == [str(imagehash.phash(picture.image)) for picture in real_pictures]


def test_equals_imagehash_on_blank_tiny_and_drawn_pictures(made_pictures):
    assert hex_of(made_pictures) == [str(imagehash.phash(picture.image)) for picture in made_pictures]


def test_gives_the_value_that_imagehash_asserts(shared_data):
    folder = shared_data / "phash_reference"
    expected = json.loads((folder / "imagehash_expected.json").read_text())["imagehash.png"]["phash"]
    picture = decode((folder / "imagehash" / "imagehash.png").read_bytes())
    assert hex_of([picture]) == [expected]


@pytest.mark.parametrize("size", [1, 2, 3, 31, 64])
def test_a_hash_does_not_depend_on_its_batch(made_pictures, size):
    batches = [made_pictures[at : at + size] for at in range(0, len(made_pictures), size)]
    assert [value for batch in batches for value in hex_of(batch)] == hex_of(made_pictures)


def test_every_grey_gives_imagehashs_rounding_noise():
    flat = np.repeat(np.arange(256, dtype=np.uint8), 1024).reshape(256, 32, 32)
    expected = [str(imagehash.phash(Image.fromarray(grey))) for grey in flat]
    assert [phash_hex(value) for value in hash_thumbnails(flat)] == expected


def test_column_is_unsigned_and_the_first_bit_is_the_highest(made_pictures, batch_of):
    found = HashScorer().score(batch_of(made_pictures))
    assert found.schema.equals(HashScorer().fields)
    bits = imagehash.phash(made_pictures[1].image).hash.flatten()
    assert found.column("phash")[1].as_py() == int("".join("01"[bit] for bit in bits.astype(int)), 2)
    assert HashScorer().score(batch_of([])).num_rows == 0
