"""Two samples are the same by the first method that holds, at its distance, and only by methods that are on."""

import numpy as np
import pytest

from filters.duplicates import METHODS
from filters.duplicates_likeness import Bounds, Features, Likeness
from filters.duplicates_turns import turned

RANDOM = np.random.default_rng(0)
PDQ = RANDOM.integers(0, 2**64, (1, 4), dtype=np.uint64)


def features():
    """Rows: 0; its bytes; its pixels; 3 bits of pHash; 20 bits of PDQ; PDQ flipped; like embedding; nothing at all."""
    count = 8
    vectors = np.eye(9, dtype=np.float16)[:count]
    vectors[6] = 0
    vectors[6, [0, 1]] = 0.9, 0.1
    pdq = RANDOM.integers(0, 2**64, (count, 4), dtype=np.uint64)
    pdq[0], pdq[4], pdq[5] = PDQ[0], PDQ[0] ^ np.uint64((1 << 5) - 1), turned(PDQ, (0, 0, 1))[0]
    phash = RANDOM.integers(0, 2**63, (count, 1), dtype=np.uint64)
    phash[0], phash[3] = 1, 6
    return Features(
        sha256=np.array([5, 5, 1, 2, 3, 4, 6, -1]),
        pixels=np.array([7, 0, 7, 1, 2, 3, 4, -1]),
        phash=phash,
        has_phash=np.arange(count) != 7,
        pdq=pdq,
        has_pdq=np.arange(count) != 7,
        vectors=vectors,
        vector=np.where(np.arange(count) == 7, -1, np.arange(count)),
    )


ALL = Bounds(exact=True, phash=4, pdq=31, dihedral=True, cosine=0.95)


def explained(bounds, row, head=0):
    method, distance = Likeness(features(), bounds).explain(np.array([row]), np.array([head]))
    return (METHODS[method[0]] if method[0] >= 0 else None, round(float(distance[0]), 3))


@pytest.mark.parametrize(
    ("row", "method", "distance"),
    [
        (1, "sha256", 0),
        (2, "pixels", 0),
        (3, "phash", 3),
        (4, "pdq", 20),
        (5, "pdq_dihedral", 0),
        (6, "embedding", 0.006),
    ],
)
def test_each_method_is_named_with_its_distance_both_ways(row, method, distance):
    assert explained(ALL, row) == (method, distance)
    assert explained(ALL, 0, row) == (method, distance)


def test_nothing_is_like_a_row_without_anything():
    likeness = Likeness(features(), ALL)
    assert not likeness.near(7, np.arange(7)).any()
    assert not likeness.near(0, np.array([7])).any()
    assert likeness.near(0, np.arange(7)).all()


@pytest.mark.parametrize(
    ("bounds", "near"),
    [
        (Bounds(exact=True), [1, 2]),
        (Bounds(exact=False), []),
        (Bounds(exact=False, phash=3), [3]),
        (Bounds(exact=False, phash=2), []),
        (Bounds(exact=False, pdq=31), [4]),
        (Bounds(exact=False, pdq=31, dihedral=True), [4, 5]),
        (Bounds(exact=False, cosine=0.99), [6]),
        (Bounds(exact=False, cosine=0.999), []),
    ],
)
def test_a_method_that_is_off_finds_nothing(bounds, near):
    found = Likeness(features(), bounds).near(0, np.arange(1, 8))
    assert (np.flatnonzero(found) + 1).tolist() == near
