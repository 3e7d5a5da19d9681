"""PNG by Pillow, unpacked at once by libdeflate where that is installed: the same pixels in less time.

Pillow asks its zlib for one row at a time. Here libdeflate unpacks the whole picture, and Pillow's decoder gets it as
a zlib stream of stored blocks (RFC 1950, RFC 1951 §3.2.4): it still undoes the filters, and judges what is broken.
Whatever is out of the ordinary goes Pillow's own way, so that no file is taken that Pillow refuses.
"""

from __future__ import annotations

import importlib
import io
from typing import Protocol, cast

from PIL.PngImagePlugin import PngImageFile


class _Deflate(Protocol):
    DeflateError: type[Exception]

    def zlib_decompress(self, data: bytes | memoryview, size: int, /) -> bytes: ...


def _installed() -> _Deflate | None:
    try:
        return cast("_Deflate", importlib.import_module("deflate"))
    except ImportError:
        return None


_deflate = _installed()

#: Most unpacked bytes that go this way: they are held twice beside the picture. Also bounds what a bomb can ask for.
MAX_BYTES = 1 << 25

#: Numbers a pixel by colour type (PNG specification, third edition, table 8).
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}

_STORED = 0xFFFF  # most bytes of a stored block


class Png(PngImageFile):
    """A PNG whose pixels are unpacked at once where its file is plain and whole."""

    _asked = False

    def load_read(self, read_bytes: int) -> bytes:
        """Return the whole picture as stored blocks the first time, if that can be; else what Pillow reads."""
        if not self._asked:
            self._asked = True
            if (stored := self._stored()) is not None:
                return stored
        return super().load_read(read_bytes)

    def _stored(self) -> bytes | None:
        if _deflate is None or not isinstance(self.fp, io.BytesIO) or len(self.tile) != 1:
            return None
        data = self.fp.getvalue()
        file = memoryview(data)
        # Where there are two headers, Pillow goes by the last.
        size = _unpacked_size(file) if data.find(b"IHDR", 16) < 0 else None
        if getattr(self, "is_animated", False) or not size or size > MAX_BYTES:
            return None
        packed = _packed(file, self.tile[0].offset)
        if packed is None:
            return None
        try:
            rows = _deflate.zlib_decompress(packed, size)
        except (_deflate.DeflateError, ValueError, OverflowError):
            return None
        return _blocks(rows) if len(rows) == size else None


def _unpacked_size(file: memoryview) -> int | None:
    """Return the bytes of all rows with their filter types; None where they are interlaced or IHDR is odd."""
    width, height = (int.from_bytes(file[at : at + 4], "big") for at in (16, 20))
    depth, colours, interlaced = file[24], file[25], file[28]
    if bytes(file[12:16]) != b"IHDR" or interlaced or colours not in _CHANNELS:
        return None
    return height * (1 + (width * _CHANNELS[colours] * depth + 7) // 8)


def _packed(file: memoryview, start: int) -> bytes | memoryview | None:
    """Return the data of the IDAT chunks in a row, the first of which starts at `start`; None if one is cut off."""
    parts, at = [], start - 8
    while bytes(file[at + 4 : at + 8]) == b"IDAT":
        end = at + 8 + int.from_bytes(file[at : at + 4], "big")
        if end + 4 > len(file):
            return None
        parts.append(file[at + 8 : end])
        at = end + 4
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _blocks(rows: bytes) -> bytes:
    """Return a zlib stream of stored blocks; no checksum, as the decoder has all rows before it would read one."""
    parts: list[bytes | memoryview] = [b"\x78\x01"]
    view = memoryview(rows)
    for at in range(0, len(rows), _STORED):
        block = view[at : at + _STORED]
        length = len(block)
        last = at + length == len(rows)
        parts += [bytes([last]) + length.to_bytes(2, "little") + (length ^ _STORED).to_bytes(2, "little"), block]
    return b"".join(parts)
