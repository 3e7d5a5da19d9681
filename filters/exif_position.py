"""Where a picture says it was taken: latitude and longitude of its EXIF block, read by structure and in bounds.

Pillow's own reader copies whatever a directory's entries claim, which hostile entries can make gigabytes of; four
small fields need none of that.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

#: EXIF 3.0 §4.6.3: the directory of positions, and in it north or south, latitude, east or west, longitude.
_GPS = 0x8825
_LATITUDE_REF, _LATITUDE, _LONGITUDE_REF, _LONGITUDE = 1, 2, 3, 4
_ASCII, _LONG, _RATIONAL, _IFD = 2, 4, 5, 13

#: Most entries of one directory that are looked at; real ones have fewer than a hundred.
_MAX_ENTRIES = 1000
#: Most characters of ImageMagick's text form of an EXIF block: two for each byte of the largest JPEG segment.
_MAX_TEXT = 1 << 18


def exif_position(exif: bytes) -> tuple[float, float] | None:
    """Return latitude (-90 to 90) and longitude (-180 to 180), in degrees, of an EXIF block or a classic TIFF file.

    None where there is none, or anything about it is not as EXIF has it: a value without its direction, a zero under a
    fraction, minutes over 60, a latitude over 90, a wrong type, an offset past the end.
    """
    start = 0
    while exif.startswith(b"Exif\0\0", start):
        start += 6
    block = memoryview(exif)[start:]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(block[:4]))
    if order is None or len(block) < 8:
        return None
    try:
        (first,) = struct.unpack_from(order + "I", block, 4)
        for tag, kind, count, at in _entries(block, order, first):
            if tag == _GPS and kind in (_LONG, _IFD) and count == 1:
                return _position(block, order, struct.unpack_from(order + "I", block, at)[0])
    except struct.error:
        return None  # an offset past the end
    return None


def exif_of_text(text: object) -> bytes | None:
    """Return the EXIF block that ImageMagick writes into a PNG's text: a name, a length, and digits in lines."""
    if not isinstance(text, str) or len(text) > _MAX_TEXT:
        return None
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return None


def _entries(block: memoryview, order: str, at: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield tag, type, count and place of the value of each entry of the directory at `at`."""
    (count,) = struct.unpack_from(order + "H", block, at)
    for entry in range(at + 2, at + 2 + 12 * min(count, _MAX_ENTRIES), 12):
        yield *struct.unpack_from(order + "HHI", block, entry), entry + 8


def _position(block: memoryview, order: str, at: int) -> tuple[float, float] | None:
    signs: dict[int, int] = {}
    degrees: dict[int, float | None] = {}
    for tag, kind, count, value in _entries(block, order, at):
        if tag in (_LATITUDE_REF, _LONGITUDE_REF) and kind == _ASCII and count == 2:
            directions = {b"N": 1, b"S": -1} if tag == _LATITUDE_REF else {b"E": 1, b"W": -1}
            signs[tag] = directions.get(bytes(block[value : value + 1]), 0)
        elif tag in (_LATITUDE, _LONGITUDE) and kind == _RATIONAL and count == 3:
            degrees[tag] = _degrees(
                struct.unpack_from(order + "6I", block, *struct.unpack_from(order + "I", block, value))
            )
    latitude, longitude = degrees.get(_LATITUDE), degrees.get(_LONGITUDE)
    north, east = signs.get(_LATITUDE_REF, 0), signs.get(_LONGITUDE_REF, 0)
    if latitude is None or longitude is None or not north or not east or latitude > 90 or longitude > 180:
        return None
    return north * latitude, east * longitude


def _degrees(parts: tuple[int, ...]) -> float | None:
    """Return degrees, minutes and seconds, each a fraction, as degrees."""
    if 0 in parts[1::2]:
        return None
    whole, minutes, seconds = (parts[i] / parts[i + 1] for i in (0, 2, 4))
    return whole + minutes / 60 + seconds / 3600 if minutes <= 60 and seconds <= 60 else None
