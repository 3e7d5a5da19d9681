"""Made-up hashes and embeddings for `benchmarks.dedup`, the same in every run."""

from __future__ import annotations

import numpy as np

#: Of the clustered data, the share that are copies of others, and members of one family at most.
_COPIES, _FAMILY = 0.3, 20
_BLOCK = 16_384


def random_codes(count: int, words: int) -> np.ndarray:
    """Return uint64 (count, words) of random bits."""
    return np.random.default_rng(1).integers(0, 2**64, (count, words), dtype=np.uint64)


def clustered_codes(count: int, words: int) -> np.ndarray:
    """Return uint64 (count, words): random ones, a third of them in families that differ by a few bits.

    Half of the families share one half of their bits with all others, as the hashes of simple drawings do.
    """
    random = np.random.default_rng(2)
    codes = random.integers(0, 2**64, (count, words), dtype=np.uint64)
    alike = random.random(count) < 0.05
    codes[alike] &= np.uint64(0xFFFFFFFF00000000)
    copies = np.flatnonzero(random.random(count) < _COPIES)
    codes[copies] = codes[random.integers(0, max(1, count // _FAMILY), len(copies))]
    for _ in range(4 * words):  # up to so many bits each
        flipped = copies[random.random(len(copies)) < 0.4]
        word, bit = random.integers(0, words, len(flipped)), random.integers(0, 64, len(flipped), dtype=np.uint64)
        codes[flipped, word] ^= np.uint64(1) << bit
    return codes


def embeddings(count: int, dimension: int) -> np.ndarray:
    """Return float16 (count, dimension) unit vectors: topics around one common direction, and copies of 0.9 to 1.0.

    As with CLIP's picture embeddings, two pictures have a cosine of about 0.5, two of a topic of about 0.75.
    """
    random = np.random.default_rng(3)
    common = random.normal(size=dimension)
    topics = random.normal(size=(max(1, count // 300), dimension)).astype(np.float32)
    found = np.empty((count, dimension), dtype=np.float16)
    for start in range(0, count, _BLOCK):
        rows = min(_BLOCK, count - start)
        own = random.normal(size=(rows, dimension)).astype(np.float32)
        block = 1.0 * common + 0.7 * topics[random.integers(0, len(topics), rows)] + 0.7 * own
        found[start : start + rows] = block / np.linalg.norm(block, axis=1, keepdims=True)
    copies = np.flatnonzero(random.random(count) < _COPIES)
    for start in range(0, len(copies), _BLOCK):
        rows = copies[start : start + _BLOCK]
        block = found[random.integers(0, count, len(rows))].astype(np.float32)
        noise = random.normal(size=block.shape).astype(np.float32) / np.sqrt(dimension)
        block += noise * random.uniform(0.02, 0.4, (len(rows), 1)).astype(np.float32)
        found[rows] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return found
