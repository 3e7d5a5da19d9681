"""TIFF directories and IPTC datasets: copyright, maker and the blocks that a TIFF or EXIF structure holds."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from filters.optout.metadata_blocks import MAX_BLOCK, MAX_TEXT, Block, Kind, as_text, clip_block

#: Tags of TIFF 6.0, EXIF 3.0 and XMP part 3 that are read.
_TEXTS = {0x8298: "Copyright", 0x013B: "Artist"}
_BLOCKS = {0x02BC: Kind.XMP, 0x83BB: Kind.IPTC, 0x8649: Kind.PHOTOSHOP, 0xCD41: Kind.C2PA}
#: Bytes of one value of each field type (TIFF 6.0 p. 15).
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 13: 4}

_MAX_DIRECTORIES = 8

#: IPTC IIM 4.2: record and dataset of the by-line and the copyright notice.
_IIM_TEXTS = {(2, 80): "By-line", (2, 116): "CopyrightNotice"}
_MAX_DATASETS = 1000
_IPTC_RESOURCE = 0x0404


def tiff_blocks(data: bytes, source: str = "tiff") -> Iterator[Block]:
    """Walk the chain of directories of a TIFF file or an EXIF block; BigTIFF is told as broken."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 8:
        yield Block(Kind.BROKEN, source, b"", "no classic TIFF header")
        return
    at = struct.unpack_from(order + "I", data, 4)[0]
    for _ in range(_MAX_DIRECTORIES):
        if at == 0:
            return
        if at + 2 > len(data):
            yield Block(Kind.BROKEN, source, b"", "a directory starts past the end")
            return
        count = struct.unpack_from(order + "H", data, at)[0]
        end = at + 2 + 12 * count
        for entry in range(at + 2, min(end, len(data) - 11), 12):
            yield from _entry(data, entry, order, source)
        if end + 4 > len(data):
            # Writers often leave out the last link: the directory itself was there.
            if end > len(data):
                yield Block(Kind.BROKEN, source, b"", "a directory is cut off")
            return
        at = struct.unpack_from(order + "I", data, end)[0]


def _entry(data: bytes, at: int, order: str, source: str) -> Iterator[Block]:
    """Return the block of one directory entry, if it is one that is read."""
    tag, kind, count = struct.unpack_from(order + "HHI", data, at)
    if tag not in _TEXTS and tag not in _BLOCKS:
        return
    size = count * _SIZES.get(kind, 1)
    start = at + 8 if size <= 4 else struct.unpack_from(order + "I", data, at + 8)[0]
    body = data[start : start + min(size, MAX_BLOCK + 1)]
    problem = None if start + size <= len(data) else "cut off"
    if tag in _TEXTS:
        text = as_text(body[:MAX_TEXT].strip(b"\0 "))
        if text or problem:
            yield Block(Kind.TEXT, f"{source}:{_TEXTS[tag]}", text.encode(), problem)
    else:
        yield clip_block(_BLOCKS[tag], f"{source}:{tag}", body, problem)


def photoshop_texts(data: bytes, source: str) -> Iterator[Block]:
    """Return the rights texts of the IPTC resource among Photoshop image resources (`8BIM`, number, name, data)."""
    at = 0
    for _ in range(_MAX_DATASETS):
        if data[at : at + 4] != b"8BIM":
            return
        number = int.from_bytes(data[at + 4 : at + 6], "big")
        # A Pascal string and the data are each padded to an even length.
        name = data[at + 6] if at + 6 < len(data) else 0
        at += 6 + (name + 2 & ~1)
        length = int.from_bytes(data[at : at + 4], "big")
        if number == _IPTC_RESOURCE:
            yield from iptc_texts(data[at + 4 : at + 4 + length], source)
        at += 4 + (length + 1 & ~1)


def iptc_texts(data: bytes, source: str) -> Iterator[Block]:
    """Return by-line and copyright notice of IPTC IIM datasets (tag 0x1C, record, dataset, length)."""
    at = 0
    for _ in range(_MAX_DATASETS):
        if data[at : at + 1] != b"\x1c" or at + 5 > len(data):
            return
        key = (data[at + 1], data[at + 2])
        length = int.from_bytes(data[at + 3 : at + 5], "big")
        if length & 0x8000:  # extended length, for pictures and other large objects
            return
        body = data[at + 5 : at + 5 + length]
        if key in _IIM_TEXTS:
            problem = None if len(body) == length else "cut off"
            text = as_text(body[:MAX_TEXT])
            yield Block(Kind.TEXT, f"{source}:{key[0]}:{key[1]} {_IIM_TEXTS[key]}", text.encode(), problem)
        at += 5 + length
