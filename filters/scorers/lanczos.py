"""Pillow's LANCZOS resize of a grey picture to a small square, bit for bit, as products of matrices.

Pillow weighs 8-bit pixels by whole numbers, 22 bits after the point, first along rows, then along columns, and rounds
after each (libImaging/Resample.c). A float64 product of whole numbers below 2**53 is exact in any order, so BLAS gives
the very same sums in a third to a half of the time.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image

#: Longest side that is resized by matrices; larger pictures go through Pillow. Bounds what is kept: see `_bands`.
LONGEST = 2048

#: Most times that one side may be longer: for tall strips Pillow works along columns first.
MAX_RATIO = 16

#: Columns of the result that are computed in one product: each needs only the pixels that its filter covers.
_GROUP = 8

#: OpenBLAS stays on the calling thread up to this many multiplications (its threads would wait for each other).
_ONE_THREAD = 1 << 18

_POINT = 2.0**22


def thumbnail(grey: Image.Image, side: int) -> np.ndarray:
    """Return `grey.resize((side, side), LANCZOS)` of a picture of mode L as uint8 (side, side)."""
    width, height = grey.size
    if max(width, height) > min(LONGEST, MAX_RATIO * min(width, height)):
        return np.asarray(grey.resize((side, side), Image.Resampling.LANCZOS))
    across = _product(np.asarray(grey), width, side)
    found: np.ndarray = _product(across.T, height, side).T.astype(np.uint8)
    return found


def _product(rows: np.ndarray, length: int, side: int) -> np.ndarray:
    """Return (n, side) of (n, length) rows of pixels: whole numbers 0..255 as float64."""
    found = np.empty((len(rows), side))
    bands = _bands(length, side)
    block = max(1, _ONE_THREAD // max(weights.size for _, weights in bands))
    for top in range(0, len(rows), block):
        part = rows[top : top + block].astype(np.float64)
        for number, (first, weights) in enumerate(bands):
            columns = slice(number * _GROUP, number * _GROUP + weights.shape[1])
            np.matmul(part[:, first : first + len(weights)], weights, out=found[top : top + block, columns])
    found += 0.5
    np.floor(found, out=found)
    return np.clip(found, 0, 255, out=found)


@lru_cache(maxsize=256)
def _bands(length: int, side: int) -> tuple[tuple[int, np.ndarray], ...]:
    """Return first pixel and weights (pixels, `_GROUP`) of each group of columns; at most 0.3 MB in all."""
    starts, weights = coefficients(length, side)
    bands = []
    for at in range(0, side, _GROUP):
        own = slice(at, min(at + _GROUP, side))
        first, last = int(starts[own].min()), min(length, int(starts[own].max()) + weights.shape[1])
        columns = np.arange(own.stop - at)[:, None]
        # What reaches beyond the last pixel has no weight.
        places = np.minimum(starts[own, None] - first + np.arange(weights.shape[1]), last - first)
        band = np.zeros((last - first + 1, own.stop - at))
        band[places, columns] = weights[own]
        bands.append((first, np.ascontiguousarray(band[:-1]) / _POINT))
    return tuple(bands)


def coefficients(length: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return first pixels (side,) and weights in units of 2**-22 (side, taps), as `precompute_coeffs` has them."""
    scale = length / side
    widened = max(scale, 1.0)
    support = 3.0 * widened
    centres = (np.arange(side) + 0.5) * scale
    starts = np.maximum((centres - support + 0.5).astype(np.int64), 0)
    ends = np.minimum((centres + support + 0.5).astype(np.int64), length)
    taps = np.arange((ends - starts).max())
    x = (taps + starts[:, None] - centres[:, None] + 0.5) * (1.0 / widened)
    turns = np.where(x == 0, 1.0, x * np.pi)
    third = np.where(x == 0, 1.0, x / 3 * np.pi)
    weights = np.where(x == 0, 1.0, np.sin(turns) / turns * (np.sin(third) / third))
    weights[(x < -3) | (x >= 3) | (taps >= (ends - starts)[:, None])] = 0.0
    weights *= 1.0 / weights.sum(axis=1, keepdims=True)
    return starts, np.trunc(weights * _POINT + np.copysign(0.5, weights))
