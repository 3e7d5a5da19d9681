"""Every pair within the radius is found once, and no other: by any bands, for even and uneven codes."""

import numpy as np
import pytest

from filters import duplicates_hamming as hamming
from filters.duplicates_hamming import Band, bands, between, within


def random_codes(count, words, seed=0):
    return np.random.default_rng(seed).integers(0, 2**64, (count, words), dtype=np.uint64)


def clustered(count, words, flips, seed=0):
    random = np.random.default_rng(seed)
    codes = np.repeat(random_codes(count // 10, words, seed), 10, axis=0)
    for _ in range(flips):
        rows = np.flatnonzero(random.random(len(codes)) < 0.6)
        bit = random.integers(0, 64, len(rows), dtype=np.uint64)
        codes[rows, random.integers(0, words, len(rows))] ^= np.uint64(1) << bit
    return np.unique(codes, axis=0)


def brute_force(codes, radius):
    found = set()
    for a in range(len(codes)):
        bits = np.bitwise_count(codes[a + 1 :] ^ codes[a]).sum(axis=1)
        found |= {(a, a + 1 + int(b), int(bits[b])) for b in np.flatnonzero(bits <= radius)}
    return found


def listed(pairs):
    return [(min(a, b), max(a, b), int(d)) for a, b, d in zip(pairs.a, pairs.b, pairs.distance, strict=True)]


CASES = [(1, 4, 3), (1, 4, 5), (1, 7, 4), (1, 16, 8), (4, 31, 16), (4, 31, 32), (4, 20, 11)]


@pytest.mark.parametrize(("words", "radius", "count"), CASES)
@pytest.mark.parametrize("kind", ["random", "clustered", "half equal"])
def test_bands_find_each_pair_once(words, radius, count, kind):
    codes = random_codes(600, words) if kind == "random" else clustered(600, words, 6 * words)
    if kind == "half equal":
        codes = np.unique(codes & np.uint64(0xFFFF00000000FFFF), axis=0)
    found = [pair for i in range(count) for pair in listed(within(codes, radius, Band(i, count, radius // count)))]
    assert len(found) == len(set(found))
    assert set(found) == brute_force(codes, radius)
    assert set(listed(within(codes, radius, Band(0, 0, 0)))) == set(found)


def test_between_two_sets_finds_what_comparing_all_finds():
    codes = clustered(800, 4, 24)
    one, other = codes[::2], codes[1::2]
    bits = np.bitwise_count(one[:, None] ^ other[None]).sum(axis=2)
    found = [between(one, other, 31, Band(i, 16, 1)) for i in range(16)]
    pairs = {(a, b) for part in found for a, b in zip(part.a.tolist(), part.b.tolist(), strict=True)}
    assert pairs == set(zip(*(rows.tolist() for rows in np.nonzero(bits <= 31)), strict=True))
    assert sum(map(len, found)) == len(pairs) > 0
    assert len(between(one[:0], other, 31, Band(0, 0, 0))) == 0


def test_a_bucket_larger_than_a_block_loses_nothing(monkeypatch):
    codes = np.unique(random_codes(500, 1) & np.uint64(0xFFFFFFF), axis=0)  # one bucket of the upper bands
    want = brute_force(codes, 6)
    monkeypatch.setattr(hamming, "_BLOCK", 37)
    found = [pair for index in range(3) for pair in listed(within(codes, 6, Band(index, 3, 2)))]
    assert set(found) == want
    assert len(found) == len(want)


def test_uneven_codes_are_all_compared_and_even_ones_banded():
    assert bands(random_codes(50_000, 1), 4)[0].count > 0
    assert bands(random_codes(50_000, 1) & np.uint64(0xFFFFF), 4) == [Band(0, 0, 0)]
    assert bands(random_codes(10, 1), 4) == [Band(0, 0, 0)]


def test_too_many_pairs_become_a_forest_of_the_same_components_and_say_so(monkeypatch):
    codes = np.concatenate([np.arange(200, dtype=np.uint64), np.arange(200, dtype=np.uint64) + (np.uint64(2**63))])
    codes = codes.reshape(-1, 1) * np.uint64(1)
    whole = within(codes, 8, Band(0, 0, 0))
    monkeypatch.setattr(hamming, "MAX_PAIRS", 1000)
    thinned = within(codes, 8, Band(0, 0, 0))
    assert (whole.thinned, thinned.thinned) == (False, True)
    assert len(thinned) < len(whole)
    from filters.duplicates import Edges, cluster

    labels = [cluster(400, [Edges.of(p.a, p.b, p.distance)]) for p in (whole, thinned)]
    assert (labels[0] == labels[1]).all()
    across = between(codes[:200], codes[200:], 8, Band(0, 0, 0))
    assert across.thinned
    assert set(across.a) == set(range(200)) == set(across.b)


@pytest.mark.parametrize("crowd", [50, 2000])
@pytest.mark.parametrize(("words", "radius", "count"), CASES)
def test_crowded_buckets_are_searched_by_themselves_without_a_loss(words, radius, count, crowd, monkeypatch):
    monkeypatch.setattr(hamming, "CROWD", crowd)
    monkeypatch.setattr(hamming, "_SMALL", 20)
    codes = clustered(600, words, 6 * words)
    codes[::2] &= np.uint64(0xFFFFFFFF00000000)
    codes = np.unique(codes, axis=0)
    found = [pair for i in range(count) for pair in listed(within(codes, radius, Band(i, count, radius // count)))]
    assert len(found) == len(set(found))
    assert set(found) == brute_force(codes, radius)
    one, other = codes[::2], codes[1::2]
    bits = np.bitwise_count(one[:, None] ^ other[None]).sum(axis=2)
    across = [between(one, other, radius, Band(i, count, radius // count)) for i in range(count)]
    pairs = [pair for part in across for pair in zip(part.a.tolist(), part.b.tolist(), strict=True)]
    assert len(pairs) == len(set(pairs)) == (bits <= radius).sum()
