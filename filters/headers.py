"""What a picture's first bytes say, read without any plugin: format and declared size.

Two of Pillow's plugins allocate memory by the declared size as soon as a file is opened (WebP its canvas,
GIF the area that its first frame disposes of), so their sizes are read here first.
"""

from __future__ import annotations

import re

#: Sizes of the BITMAP*HEADER structures; `BM` alone is too weak a signature.
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

#: A JPEG marker: not a stuffed zero, a restart or a fill byte (ITU-T T.81 §B.1.1).
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")

#: Most bytes of GIF extension blocks before the first frame. Pillow joins comments in quadratic time.
MAX_GIF_EXTENSIONS = 1 << 20


def sniff(data: bytes) -> str | None:
    """Return the format that the signature names (`PNG`, `JPEG`, ...), or None for any other bytes."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:15] == b"WEBPVP8":
        return "WEBP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(_TIFF_MAGIC):
        return "TIFF"
    if data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if data[4:8] == b"ftyp" and _avif_brand(data):
        return "AVIF"
    return None


def _avif_brand(data: bytes) -> bool:
    """Tell AVIF from HEIC and other ISO media: one of the brands of the `ftyp` box names it."""
    size = min(int.from_bytes(data[:4], "big"), len(data), 4096)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, size, 4))]
    return b"avif" in brands or b"avis" in brands


def declared_size(data: bytes, format: str) -> tuple[int, int] | None:
    """Return width and height of a WebP or GIF from its bytes; None for the other formats.

    Raises ValueError or IndexError when the bytes end or break before the size is known.
    """
    if format == "WEBP":
        return _webp_size(data)
    if format == "GIF":
        return _gif_size(data)
    return None


def _webp_size(data: bytes) -> tuple[int, int]:
    """Read RFC 9649 §2.5 to §2.7: the canvas of VP8X, else the frame header of VP8 or VP8L."""
    if len(data) < 30:
        raise ValueError("WebP header is cut off")
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    raise ValueError(f"unknown WebP chunk {kind!r}")


def _gif_size(data: bytes) -> tuple[int, int]:
    """Read the logical screen and the first image descriptor: the canvas that holds both."""
    width, height = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    at = 13
    if data[10] & 0x80:
        at += 3 << ((data[10] & 7) + 1)
    start = at
    while data[at] != 0x2C:  # ","
        if data[at] == 0x3B:  # ";"
            raise ValueError("GIF without a frame")
        # An extension has a label and blocks up to an empty one; Pillow skips other bytes one by one.
        at = _skip_blocks(data, at + 2) if data[at] == 0x21 else at + 1
        if at - start > MAX_GIF_EXTENSIONS:
            raise ValueError(f"more than {MAX_GIF_EXTENSIONS} bytes before the first frame")
    left, top, frame_width, frame_height = (
        int.from_bytes(data[at + offset : at + offset + 2], "little") for offset in (1, 3, 5, 7)
    )
    if at + 10 > len(data):
        raise ValueError("GIF frame header is cut off")
    return max(width, left + frame_width), max(height, top + frame_height)


def _skip_blocks(data: bytes, at: int) -> int:
    """Return the position after the sub-blocks that start at `at`."""
    while data[at]:
        at += 1 + data[at]
    return at + 1


def jpeg_scans(data: bytes) -> int:
    """Return the number of scans of the first picture of a JPEG file, up to its end-of-image marker."""
    scans, at = 0, 2
    while (marker := _MARKER.search(data, at)) and marker[0] != b"\xff\xd9":
        if marker[0] == b"\xff\xda":
            scans += 1
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return scans
