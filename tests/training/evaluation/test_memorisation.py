"""Nearest training pictures: copies are flagged, pictures like unseen ones are not beyond the stated rate."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import stats

from filters.optout.look_alike import PDQ_DISTANCE
from filters.scorers.pdq import dihedral_hashes
from training.evaluation.memorisation import (
    FAR,
    Nearest,
    bounds_of,
    flags,
    nearest_by_embedding,
    nearest_by_hash,
)


def vectors(count, seed, dimension=24):
    found = np.random.default_rng(seed).normal(size=(count, dimension))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def judged(pictures, training, own=None):
    """The nearest by embedding; no picture has a hash."""
    row, ratio = nearest_by_embedding(pictures, training, own)
    far = np.full(len(row), FAR)
    return Nearest(np.full(len(row), -1), far, row, ratio)


def scribble(seed):
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (64, 64), tuple(int(v) for v in random.integers(0, 256, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, w, h = (int(v) for v in random.integers(0, 40, 4))
        draw.rectangle((x, y, x + w, y + h), fill=tuple(int(v) for v in random.integers(0, 256, 3)))
    return image


def hashed(images):
    codes = [b"".join(dihedral_hashes(image)[0]) for image in images]
    return np.frombuffer(b"".join(codes), np.uint8).reshape(-1, 8, 32)


@pytest.mark.parametrize("by_itself", [False, True])
def test_pictures_like_unseen_ones_are_flagged_no_more_than_the_rate(by_itself):
    """The bounds hold whether they are from unseen pictures or from training pictures held against each other."""
    flagged = total = 0
    for seed in range(6):
        training = vectors(1500, seed)
        against = (
            judged(training, training, np.arange(1500)) if by_itself else judged(vectors(600, 50 + seed), training)
        )
        bounds = bounds_of(against)
        assert bounds.rate == 0.01
        flagged += int(flags(judged(vectors(500, 100 + seed), training), bounds).sum())
        total += 500
    # embeddings get half of the rate; far above it would be wrong, none at all as well
    assert 0 < flagged <= stats.binom.ppf(0.9999, total, 0.006)


def test_copies_and_near_copies_are_flagged():
    training = vectors(1500, 0)
    bounds = bounds_of(judged(vectors(600, 1), training))
    near = training[:40] + 0.02 * vectors(40, 2)
    found = judged(np.concatenate([training[40:60], near / np.linalg.norm(near, axis=1, keepdims=True)]), training)
    assert flags(found, bounds)[:, 1].all()
    assert found.by_embedding.tolist() == [*range(40, 60), *range(40)]


def test_a_plain_picture_that_is_near_to_all_is_not_flagged():
    training = vectors(1500, 0) + 3.0 * np.eye(24)[0]
    bounds = bounds_of(judged(vectors(600, 1) + 3.0 * np.eye(24)[0], training))
    middle = np.tile(training.mean(axis=0), (5, 1))
    assert not flags(judged(middle, training), bounds).any()


def test_few_unseen_pictures_raise_the_rate_and_fewer_end_the_audit():
    training = vectors(300, 0)
    assert bounds_of(judged(vectors(60, 1), training)).rate == pytest.approx(2 / 61)
    assert bounds_of(judged(vectors(8, 1), training)) is None


def test_hashes_find_copies_in_any_flip_and_turn():
    images = [scribble(seed) for seed in range(30)]
    training, known = hashed(images)[:, 0], np.ones(30, bool)
    copies = [images[3], images[7].transpose(Image.Transpose.ROTATE_90), images[9].resize((48, 48)), scribble(99)]
    rows, bits = nearest_by_hash(hashed(copies), np.ones(4, bool), training, known)
    assert rows[:3].tolist() == [3, 7, 9]
    assert (bits[:3] <= PDQ_DISTANCE).all()
    assert bits[3] > PDQ_DISTANCE


def test_a_picture_is_not_its_own_neighbour_and_plain_ones_have_none():
    codes = hashed([scribble(1), scribble(1), scribble(2)])
    usable = np.array([True, True, False])
    rows, bits = nearest_by_hash(codes, usable, codes[:, 0], usable, np.arange(3))
    assert rows.tolist() == [1, 0, -1]
    assert bits.tolist() == [0, 0, FAR]
    alone = nearest_by_hash(codes[:1], usable[:1], codes[:1, 0], usable[:1], np.arange(1))
    assert alone[1].tolist() == [FAR]


def test_no_bound_of_bits_goes_beyond_what_a_hash_can_tell():
    far = Nearest(np.full(400, -1), np.full(400, 120), np.zeros(400, int), np.linspace(0.5, 1, 400))
    assert bounds_of(far).bits == PDQ_DISTANCE
    copies = Nearest(np.zeros(400, int), np.zeros(400, int), np.zeros(400, int), np.zeros(400))
    found = bounds_of(copies)  # a dataset full of duplicates: nothing is near enough to stand out
    assert (found.bits, found.ratio) == (None, None)
    assert not flags(copies, found).any()
