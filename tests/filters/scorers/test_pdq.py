"""PDQ hashes are within the tolerance of those that Meta's own tests assert."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from filters.decoding import decode
from filters.scorers.pdq import PdqScorer, dihedral_hashes, pdq_hash, reduced
from filters.scoring import Picture

#: Meta's tests allow so many differing bits.
TOLERANCE = 16


def bits(code: bytes) -> np.ndarray:
    return np.unpackbits(np.frombuffer(code, dtype=np.uint8))


def differing(a: bytes, b: bytes) -> int:
    return int((bits(a) != bits(b)).sum())


def test_hashes_are_those_that_meta_asserts(shared_data):
    folder = shared_data / "phash_reference"
    rows = list(csv.DictReader((folder / "pdq_expected.csv").open()))
    rows = [row for row in rows if (folder / "pdq" / row["path"]).exists()]
    assert rows
    for row in rows:
        code, _ = pdq_hash(decode((folder / "pdq" / row["path"]).read_bytes()).image)
        assert differing(code, bytes.fromhex(row["pdq_hex"])) <= TOLERANCE, row["path"]


def test_edited_versions_of_one_photo_are_within_the_distance_and_other_photos_not(shared_data):
    folder = shared_data / "phash_reference" / "pdq"
    original, _ = pdq_hash(decode((folder / "bridge-mods" / "aaa-orig.jpg").read_bytes()).image)
    for path in (folder / "bridge-mods").glob("*.jpg"):
        if "128" not in path.name and "256" not in path.name and "512" not in path.name:
            assert differing(original, pdq_hash(decode(path.read_bytes()).image)[0]) <= 31, path.name
    for path in sorted((shared_data / "flickr8k_sample" / "images").glob("*.jpg"))[:30]:
        assert differing(original, pdq_hash(decode(path.read_bytes()).image)[0]) > 80, path.name


def test_columns_are_32_bytes_and_a_quality(made_pictures, batch_of):
    found = PdqScorer().score(batch_of(made_pictures))
    assert found.schema.equals(PdqScorer().fields)
    assert all(len(code) == 32 for code in found.column("pdq").to_pylist())
    assert all(0 <= quality <= 100 for quality in found.column("pdq_quality").to_pylist())
    assert PdqScorer().score(batch_of([])).num_rows == 0


def test_blank_pictures_have_no_quality():
    assert pdq_hash(Image.new("RGB", (300, 200), "white"))[1] < 50


@pytest.mark.parametrize("size", [(1, 1), (2, 3000), (3000, 2), (513, 512), (2000, 1500)])
def test_pictures_are_reduced_to_512_pixels(size):
    array = reduced(Image.new("RGB", size, "red"))
    assert array.shape[2] == 3
    assert max(array.shape[:2]) == min(512, max(size))
    pdq_hash(Image.new("RGB", size, "red"))


def test_the_first_turn_is_the_picture_itself(made_pictures: list[Picture]):
    codes, quality = dihedral_hashes(made_pictures[0].image)
    assert len(codes) == 8
    assert (codes[0], quality) == pdq_hash(made_pictures[0].image)
