"""Does the model repeat what it was trained on? Nearest training pictures of generated ones, against those of unseen.

Two tests a picture. By hash: the bits (of 256) between its PDQ, in all flips and turns, and the nearest training
picture's. By embedding: its distance to the nearest training picture over the mean distance to the next 50, so that a
plain picture, which is near to many, is not taken for a repetition (Carlini et al., arXiv:2301.13188, section 4.2).

What is near is decided by pictures that the model has not seen: a picture is flagged where so few of those are as near
(conformal p value) that a picture like them would be flagged with a stated probability at most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from filters.optout.look_alike import PDQ_DISTANCE
from training.evaluation.manifolds import squared_distances

#: Neighbours behind the nearest that its distance is held against. Source: arXiv:2301.13188, section 4.2.
NEXT = 50

#: Bits of a hash that says nothing are as far as can be.
FAR = 257

#: Share of unseen pictures that may be flagged.
RATE = 0.01

#: With less than this to compare with, the rate would be above it: then nothing is judged.
WORST_RATE = 0.2

_BLOCK = 256


@dataclass(frozen=True)
class Nearest:
    """For each of n pictures: the nearest training picture by hash (row, bits) and by embedding (row, ratio).

    `bits` int64, `FAR` where the picture is too plain for a hash; `ratio` float64 from 0 (a copy) to 1.
    """

    by_hash: np.ndarray
    bits: np.ndarray
    by_embedding: np.ndarray
    ratio: np.ndarray


@dataclass(frozen=True)
class Bounds:
    """From where a picture is flagged: at most so many bits, at most such a ratio; None where no value would do.

    `rate`: an unseen picture is flagged with this probability at most, both tests together; `compared`: pictures that
    the bounds are from.
    """

    bits: int | None
    ratio: float | None
    rate: float
    compared: int


def nearest_by_hash(
    codes: np.ndarray, usable: np.ndarray, training: np.ndarray, known: np.ndarray, own: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the row of the nearest training picture (-1 for none) and the bits between, int64 (n,) each.

    `codes` uint8 (n, 8, 32): hashes of all flips and turns; `training` uint8 (m, 32); `usable` (n,), `known` (m,):
    which hashes say anything. `own` (n,): the training row that a picture itself is, which does not count.
    """
    import faiss  # slow to import

    rows, bits = np.full(len(codes), -1, np.int64), np.full(len(codes), FAR, np.int64)
    there = np.flatnonzero(known)
    asking = np.flatnonzero(usable)
    if not len(there) or not len(asking):
        return rows, bits
    index = faiss.IndexBinaryFlat(256)
    index.add(np.ascontiguousarray(training[there]))
    distance, label = index.search(np.ascontiguousarray(codes[asking].reshape(-1, 32)), min(2, len(there)))
    distance = distance.reshape(len(asking), -1).astype(np.int64)
    label = there[label.reshape(len(asking), -1)]
    if own is not None:
        distance = np.where(label == own[asking][:, None], FAR, distance)
    best = distance.argmin(axis=1)
    at = np.arange(len(asking))
    bits[asking] = distance[at, best]
    rows[asking] = np.where(bits[asking] < FAR, label[at, best], -1)
    return rows, bits


def nearest_by_embedding(
    vectors: np.ndarray, training: np.ndarray, own: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the row of the nearest training picture, int64 (n,), and its distance over that of the next, (n,).

    `vectors` (n, d), `training` (m, d) with 3 rows or more; `own` as in `nearest_by_hash`.
    """
    rows, ratios = [], []
    for start in range(0, len(vectors), _BLOCK):
        distance = np.sqrt(squared_distances(vectors[start : start + _BLOCK], training))
        if own is not None:
            distance[np.arange(len(distance)), own[start : start + _BLOCK]] = np.inf
        others = len(training) - (own is not None)
        count = min(NEXT + 1, others)
        order = np.argpartition(distance, count - 1, axis=1)[:, :count]
        near = np.take_along_axis(distance, order, axis=1)
        first = near.argmin(axis=1)
        at = np.arange(len(near))
        smallest = near[at, first]
        rest = (near.sum(axis=1) - smallest) / (count - 1)
        rows.append(order[at, first])
        ratios.append(np.where(rest > 0, smallest / np.maximum(rest, 1e-12), 1.0))
    return np.concatenate(rows), np.concatenate(ratios)


def bounds_of(unseen: Nearest, rate: float = RATE) -> Bounds | None:
    """Return the bounds that flag an unseen picture with probability `rate` at most; None where they are too few.

    Each test gets half. With n pictures to compare with, the smallest p value is 1 / (n + 1); where half of `rate` is
    below that, the rate is raised to it (split conformal prediction: Vovk, Gammerman and Shafer 2005, chapter 2).
    """
    count = len(unseen.bits)
    rate = max(rate, 2 / (count + 1))
    if rate > WORST_RATE:
        return None
    allowed = int(np.floor(rate / 2 * (count + 1) + 1e-9)) - 1  # as many unseen ones may be as near, or nearer
    return Bounds(_bits(unseen.bits, allowed), _ratio(unseen.ratio, allowed), rate, count)


def _bits(bits: np.ndarray, allowed: int) -> int | None:
    """Return the largest distance to which at most `allowed` of the unseen pictures are; None below 0 bits.

    Never more than what PDQ's makers call alike: beyond it a small distance says nothing.
    """
    beyond = int(np.sort(bits)[allowed]) if allowed < len(bits) else FAR
    bound = min(beyond - 1, PDQ_DISTANCE)
    return bound if bound >= 0 else None


def _ratio(ratios: np.ndarray, allowed: int) -> float | None:
    """Return the largest ratio to which at most `allowed` unseen pictures are; None where that would be below 0."""
    beyond = float(np.sort(ratios)[allowed]) if allowed < len(ratios) else 1.0
    return float(np.nextafter(beyond, -1.0)) if beyond > 0 else None


def flags(found: Nearest, bounds: Bounds) -> np.ndarray:
    """Return bool (n, 2): flagged by hash, by embedding."""
    by_hash = np.zeros(len(found.bits), bool) if bounds.bits is None else found.bits <= bounds.bits
    near = np.zeros(len(found.ratio), bool) if bounds.ratio is None else found.ratio <= bounds.ratio
    return np.stack([by_hash, near], axis=1)
