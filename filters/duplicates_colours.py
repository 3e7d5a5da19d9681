"""Whether two pictures with like hashes also have like colours: perceptual hashes look at a grey picture only.

A layout is the mean colour of 4 x 4 parts, as `filters.scorers.colours` stores it, in coarser steps: pictures whose
layouts are equal then stand for each other in a search, and a million plain pictures have few layouts.
"""

from __future__ import annotations

import numpy as np

from filters.duplicates_turns import ITSELF, Turn

#: Bytes of a layout: 4 x 4 parts, each with half the luma, CIELAB a and b.
SIZE, _GRID = 48, 4
#: Steps in which luma and a, b are compared.
_STEPS = np.array([2, 4, 4], dtype=np.float32)
#: Stands in every place of the layout of a picture that has none.
UNKNOWN = -128
#: Largest difference of luma (0 to 127) in any part. Brightening by 1.3 makes at most 28; where colours agree and luma
#: differs by more, the pictures of openclipart that were looked at were no copies (black and white shapes).
LUMA = 32
#: The same where one of the two is grey and the colours are others: then only luma can tell. A grey copy is within 2;
#: other pictures of the same hash began at 5.
GREY_LUMA = 4

_BLOCK = 1 << 15


def coarse(layouts: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return layouts int8 (n, 48) in steps; `UNKNOWN` everywhere in rows that are not `known` (n,) bool."""
    parts = layouts.reshape(-1, _GRID * _GRID, 3) / _STEPS
    found: np.ndarray = np.rint(parts).astype(np.int8).reshape(-1, SIZE)
    found[~known] = UNKNOWN
    return found


def turned_layouts(layouts: np.ndarray, turn: Turn) -> np.ndarray:
    """Return the layouts int8 (n, 48) of the pictures flipped or turned."""
    if turn == ITSELF:
        return layouts
    transpose, rows, cols = turn
    grid = layouts.reshape(-1, _GRID, _GRID, 3)
    grid = grid.transpose(0, 2, 1, 3) if transpose else grid
    grid = grid[:, :: -1 if rows else 1, :: -1 if cols else 1]
    return np.ascontiguousarray(grid).reshape(-1, SIZE)


def agree(one: np.ndarray, other: np.ndarray, bound: float) -> np.ndarray:
    """Return (n,) bool: which pairs of coarse layouts int8 (n, 48) may be of one picture.

    Either the colours of every part lie within `bound` in CIELAB's a and b and its luma within `LUMA`; or one of the
    two pictures is grey as a whole and luma is within `GREY_LUMA`. A picture without a layout agrees with all.
    """
    found = np.empty(len(one), dtype=bool)
    for start in range(0, len(one), _BLOCK):
        part = slice(start, start + _BLOCK)
        a, b = (some[part].reshape(-1, _GRID * _GRID, 3).astype(np.int16) for some in (one, other))
        unknown = (a[:, 0, 0] == UNKNOWN) | (b[:, 0, 0] == UNKNOWN)
        apart = (a - b).astype(np.float32) * _STEPS
        luma = np.abs(apart[:, :, 0]).max(axis=1)
        colour = (apart[:, :, 1:] ** 2).sum(axis=2).max(axis=1)
        grey = _grey(a) != _grey(b)
        near = ((colour <= bound * bound) & (luma <= LUMA)) | (grey & (luma <= GREY_LUMA))
        found[part] = unknown | near
    return found


def _grey(layouts: np.ndarray) -> np.ndarray:
    """Return (n,) bool: no part of the layout (n, 16, 3) is further than one step from grey on either axis."""
    found: np.ndarray = (np.abs(layouts[:, :, 1:]) <= 1).all(axis=(1, 2))
    return found
