"""Metadata segments of a JPEG: EXIF, XMP (standard and extended), Photoshop resources, C2PA."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from filters.optout.metadata_blocks import MAX_BLOCK, MAX_BLOCKS, Block, Kind, clip_block

_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED = b"http://ns.adobe.com/xmp/extension/\0"
_PHOTOSHOP = b"Photoshop 3.0\0"
_EXIF = (b"Exif\0\0", b"Exif\0\xff")
#: xmpNote:HasExtendedXMP as attribute or element; its value is the MD5 of the extended packet (XMP part 3).
_HAS_EXTENDED = re.compile(rb"HasExtendedXMP\s{0,9}(?:=\s{0,9}[\"']|>)\s{0,9}([0-9A-Fa-f]{32})")

#: Most extended packets of one file; there should be one.
_MAX_EXTENDED = 8

_SOS, _EOI = 0xDA, 0xD9
_STANDALONE = {0x01, *range(0xD0, 0xD9)}


@dataclass
class _Parts:
    """What is spread over several segments and joined at the end."""

    extended: dict[bytes, dict[int, bytes]] = field(default_factory=dict)
    lengths: dict[bytes, int] = field(default_factory=dict)
    photoshop: list[bytes] = field(default_factory=list)
    jumbf: dict[bytes, list[bytes]] = field(default_factory=dict)
    announced: set[bytes] = field(default_factory=set)
    size: int = 0

    def has_room(self, body: bytes) -> bool:
        """Count the bytes that are kept for joining; False when there are too many."""
        self.size += len(body)
        return self.size <= 4 * MAX_BLOCK


def jpeg_blocks(data: bytes) -> Iterator[Block]:
    """Walk the marker segments up to the first scan (ITU-T T.81 §B.1.1) and join what is in parts."""
    parts = _Parts()
    for segment in _segments(data):
        if isinstance(segment, Block):
            yield segment
        else:
            yield from _segment(*segment, parts)
    yield from _joined(parts)


def _segments(data: bytes) -> Iterator[tuple[int, bytes] | Block]:
    """Return marker and body of each segment before the first scan; a `BROKEN` block where the walk ends early."""
    at = 2
    for _ in range(MAX_BLOCKS):
        if data[at : at + 1] != b"\xff":
            yield Block(Kind.BROKEN, "jpeg", b"", f"no marker at byte {at}")
            return
        marker = data[at + 1] if at + 1 < len(data) else _EOI
        if marker in (_SOS, _EOI):
            return
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in _STANDALONE:
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if length < 2 or at + 2 + length > len(data):
            # What is left of the segment may hold the beginning of a packet.
            yield marker, data[at + 4 : at + 2 + length]
            yield Block(Kind.BROKEN, "jpeg", b"", f"segment at byte {at} has the impossible length {length}")
            return
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + length
    yield Block(Kind.BROKEN, "jpeg", b"", f"more than {MAX_BLOCKS} segments")


def _segment(marker: int, body: bytes, parts: _Parts) -> Iterator[Block]:
    """Return the segment's block, or keep it in `parts`."""
    if marker == 0xE1 and body.startswith(_XMP):
        packet = body[len(_XMP) :]
        parts.announced.update(match[1].upper() for match in _HAS_EXTENDED.finditer(packet))
        yield Block(Kind.XMP, "jpeg:APP1", packet)
    elif marker == 0xE1 and body.startswith(_EXTENDED) and parts.has_room(body):
        head = len(_EXTENDED)
        guid = body[head : head + 32].upper()
        parts.lengths[guid] = int.from_bytes(body[head + 32 : head + 36], "big")
        offset = int.from_bytes(body[head + 36 : head + 40], "big")
        parts.extended.setdefault(guid, {})[offset] = body[head + 40 :]
    elif marker == 0xE1 and body.startswith(_EXIF):
        yield Block(Kind.EXIF, "jpeg:APP1", body[6:])
    elif marker == 0xED and body.startswith(_PHOTOSHOP) and parts.has_room(body):
        parts.photoshop.append(body[len(_PHOTOSHOP) :])
    elif marker == 0xEB and body.startswith(b"JP"):
        # CI, box instance, sequence number; the box header is repeated in each part (ISO/IEC 19566-5)
        pieces = parts.jumbf.setdefault(body[2:4], [])
        if parts.has_room(body):
            pieces.append(body[16 if pieces else 8 :])


def _joined(parts: _Parts) -> Iterator[Block]:
    """Return the blocks that were spread over segments."""
    if parts.photoshop:
        yield clip_block(Kind.PHOTOSHOP, "jpeg:APP13", b"".join(parts.photoshop))
    for pieces in parts.jumbf.values():
        yield Block(Kind.C2PA, "jpeg:APP11", b"".join(pieces)[:MAX_BLOCK])
    for guid in sorted(parts.announced | parts.extended.keys())[:_MAX_EXTENDED]:
        yield _extended(guid, parts)


def _extended(guid: bytes, parts: _Parts) -> Block:
    """Return the extended packet of that GUID: pieces by offset, whole only with the right length and MD5."""
    pieces = parts.extended.get(guid, {})
    joined, problem = bytearray(), None
    for offset in sorted(pieces):
        if offset != len(joined):
            problem = "a piece of the extended packet is missing"
        joined += pieces[offset]
        if len(joined) > MAX_BLOCK:
            break
    body = bytes(joined)
    if not pieces:
        problem = "announced by the main packet, and missing"
    elif problem is None and len(body) != parts.lengths[guid]:
        problem = "the extended packet has another length than announced"
    elif problem is None and hashlib.md5(body, usedforsecurity=False).hexdigest().upper().encode() != guid:
        problem = "the extended packet has another MD5 than announced"
    return clip_block(Kind.XMP, "jpeg:APP1 extended", body, problem)
