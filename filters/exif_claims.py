"""How many bytes the directory of an EXIF block or a TIFF file claims, before Pillow copies them all.

Each entry names a place and a length, and nothing keeps many entries from naming the same megabyte: a file of one
megabyte can claim a hundred gigabytes. Pillow copies what every entry claims, whether anybody asks for it or not.
"""

from __future__ import annotations

import numpy as np

#: Most bytes that entries may claim beyond the length of what they stand in. In sound files entries share next to
#: nothing; broken ones of the size of a camera's block (64 KiB, a thousand entries) stay below it.
MOST_SHARED = 1 << 26

#: Bytes of one value by type (TIFF 6.0 §2, EXIF 3.0 §4.6.2, BigTIFF's 16 to 18); types that are none are taken for 8.
_SIZES = np.full(65_536, 8, np.uint64)
_SIZES[[1, 2, 6, 7]] = 1
_SIZES[[3, 8]] = 2
_SIZES[[4, 9, 11, 13]] = 4


def claims_too_much(block: bytes) -> bool:
    """Tell whether the first directory's entries claim more than the block's length and `MOST_SHARED` together.

    A block that is cut short or has no directory claims nothing.
    """
    start = 0
    while block.startswith(b"Exif\0\0", start):
        start += 6
    view = memoryview(block)[start:]
    order, magic = {b"II": "<", b"MM": ">"}.get(bytes(view[:2])), bytes(view[2:4])
    if order is None or len(view) < 16:
        return False
    # Pillow takes the version for one of 32 or of 64 bits in either order of its bytes
    big = b"+" in magic
    number, entry = ("u8", 20) if big else ("u2", 12)
    (first,) = np.frombuffer(view, order + ("u8" if big else "u4"), 1, 8 if big else 4)
    at = int(first) + np.dtype(number).itemsize
    if at > len(view):
        return False
    (count,) = np.frombuffer(view, order + number, 1, int(first))
    fits = min(int(count), (len(view) - at) // entry)
    return _claimed(view, at, fits, order, big) > len(view) + MOST_SHARED


def _claimed(view: memoryview, at: int, entries: int, order: str, big: bool) -> int:
    """Return the bytes that entries claim outside themselves, each no more than lies behind its place."""
    word = order + ("u8" if big else "u4")
    table = np.frombuffer(
        view, np.dtype([("tag", order + "u2"), ("kind", order + "u2"), ("count", word), ("place", word)]), entries, at
    )
    # no count beyond the block's length matters, and clipping keeps the product from wrapping round
    claimed = np.minimum(table["count"], len(view)).astype(np.uint64) * _SIZES[table["kind"]]
    behind = len(view) - np.minimum(table["place"], len(view)).astype(np.uint64)
    inside = claimed <= np.uint64(8 if big else 4)
    return int(np.where(inside, 0, np.minimum(claimed, behind)).sum(dtype=np.uint64))
