"""Copies of a registered picture are found through flips, turns and recompression; other pictures are not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from filters.optout.look_alike import EmbeddingIndex, PdqIndex, dihedral
from filters.scorers.pdq import dihedral_hashes, pdq_hash


def picture(seed: int) -> Image.Image:
    """A picture of soft blobs: structure at every scale, as photos have."""
    rng = np.random.default_rng(seed)
    layers = [Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)) for side in (4, 9, 23)]
    arrays = [np.asarray(layer.resize((400, 300), Image.Resampling.BICUBIC), dtype=np.float32) for layer in layers]
    return Image.fromarray(np.mean(arrays, axis=0).astype(np.uint8))


def codes_of(images: list[Image.Image]) -> np.ndarray:
    return np.stack([np.frombuffer(pdq_hash(image)[0], dtype=np.uint8) for image in images])


def recompressed(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.resize((300, 225)).save(buffer, "JPEG", quality=75)
    return Image.open(buffer).convert("RGB")


CHANGES = [
    *(lambda image, op=op: image.transpose(op) for op in Image.Transpose),
    recompressed,
    lambda image: ImageOps.mirror(recompressed(image)),
    lambda image: ImageOps.autocontrast(image),
]


@pytest.mark.parametrize("derived", [False, True], ids=["hashes of the picture", "derived from one hash"])
def test_flips_turns_and_copies_are_found_and_others_not(derived):
    registered = [picture(seed) for seed in range(5)]
    hashes = [dihedral(pdq_hash(image)[0]) if derived else dihedral_hashes(image)[0] for image in registered]
    index = PdqIndex.of([b"".join(codes) for codes in hashes])
    changed = [change(image) for image in registered for change in CHANGES]
    found = index.search(codes_of(changed), np.ones(len(changed), dtype=bool))
    assert found.samples.tolist() == list(range(len(changed)))
    assert found.registered.tolist() == [at // len(CHANGES) for at in range(len(changed))]
    assert found.distance.max() <= 31
    others = [picture(seed) for seed in range(100, 140)]
    assert len(index.search(codes_of(others), np.ones(40, dtype=bool)).samples) == 0


def test_the_radius_is_exact():
    code = np.frombuffer(bytes(range(32)), dtype=np.uint8)
    index = PdqIndex(code[None], np.zeros(1, np.int64))
    for flips, expected in ((0, 1), (31, 1), (32, 0)):
        bits = np.unpackbits(code)
        bits[:flips] ^= 1
        found = index.search(np.packbits(bits)[None], np.ones(1, dtype=bool))
        assert len(found.samples) == expected
        assert found.distance.tolist() == [flips] * expected


def test_hashes_of_low_quality_match_nothing():
    code = np.zeros((1, 32), dtype=np.uint8)
    index = PdqIndex(code, np.zeros(1, np.int64))
    assert len(index.search(code, np.zeros(1, dtype=bool)).samples) == 0
    assert len(PdqIndex.of([]).search(code, np.ones(1, dtype=bool)).samples) == 0


def test_a_hash_is_the_first_of_its_own_turns_and_turning_again_gives_the_same_set():
    code = pdq_hash(picture(1))[0]
    turned = dihedral(code)
    assert turned[0] == code
    assert len(set(turned)) == 8
    assert all(set(dihedral(other)) == set(turned) for other in turned)


def test_cosines_over_the_bound_are_found_and_rows_without_a_vector_not():
    rng = np.random.default_rng(3)
    works = rng.normal(size=(7, 64)).astype(np.float32)
    works /= np.linalg.norm(works, axis=1, keepdims=True)
    rows = np.concatenate([works * 3, np.zeros((1, 64)), np.full((1, 64), np.nan), rng.normal(size=(20, 64))])
    found = EmbeddingIndex(works).search(rows.astype(np.float16), np.ones(len(rows), dtype=bool), 0.95)
    assert found.samples.tolist() == found.registered.tolist() == list(range(7))
    np.testing.assert_allclose(found.distance, 1, atol=1e-3)
    assert len(EmbeddingIndex(np.empty((0, 1), np.float32)).search(rows, np.ones(len(rows), bool), 0.9).samples) == 0
