"""The eight flips and right-angle turns of a picture, done to its PDQ hash."""

from __future__ import annotations

from itertools import product

import numpy as np

#: Transpose, then negate every second row, every second column of the DCT's bits.
Turn = tuple[int, int, int]

ITSELF: Turn = (0, 0, 0)
#: The two quarter turns undo each other; every other one undoes itself.
INVERSE: dict[Turn, Turn] = {(1, 0, 1): (1, 1, 0), (1, 1, 0): (1, 0, 1)}
#: All eight, itself first.
TURNS: tuple[Turn, ...] = tuple((a, b, c) for a, b, c in product((0, 1), repeat=3))
#: What a search among all pairs has to try: of each turn and its inverse, one.
TRIED: tuple[Turn, ...] = tuple(turn for turn in TURNS[1:] if turn != (1, 1, 0))

_BLOCK = 1 << 16


def turned(codes: np.ndarray, turn: Turn) -> np.ndarray:
    """Return the PDQ hashes uint64 (n, 4) of the same pictures flipped or turned, from the hashes alone.

    The bits are the signs of 16 x 16 DCT coefficients around their median. Derived hashes differ from computed ones
    by up to 10 bits, because the median moves (see `filters.optout.look_alike.dihedral`).
    """
    if turn == ITSELF:
        return codes
    transpose, rows, cols = turn
    found = np.empty_like(codes)
    odd = (np.arange(16) % 2).astype(np.uint8)
    for start in range(0, len(codes), _BLOCK):
        block = np.ascontiguousarray(codes[start : start + _BLOCK]).view(np.uint8)
        bits = np.unpackbits(block, axis=1).reshape(-1, 16, 16)
        bits = (bits.transpose(0, 2, 1) if transpose else bits) ^ (odd[:, None] * rows) ^ (odd[None, :] * cols)
        found[start : start + _BLOCK] = np.packbits(bits.reshape(len(block), 256), axis=1).view(np.uint64)
    return found
