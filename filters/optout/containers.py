"""Where picture files keep their metadata: XMP, EXIF, IPTC and C2PA blocks, cut out of the bytes by structure.

Nothing is decoded and no length is believed. What is there and cannot be had whole is returned with its
`problem`, so that a channel can say so; no function here raises for what the bytes contain.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from filters.headers import sniff
from filters.optout.jpeg_blocks import jpeg_blocks
from filters.optout.metadata_blocks import MAX_BLOCK, MAX_BLOCKS, MAX_TEXT, Block, Kind, as_text, clip_block, limited
from filters.optout.tiff_blocks import tiff_blocks

#: The type of a C2PA manifest store's JUMBF box (C2PA 2.2), the same in every kind of file.
_STORE_TYPE = b"c2pa\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71"

#: PNG keywords under which XMP, EXIF or IPTC stands: the registered one and those of ImageMagick's raw profiles.
_PNG_KEYWORDS = {
    b"XML:com.adobe.xmp": Kind.XMP,
    b"Raw profile type xmp": Kind.XMP,
    b"Raw profile type exif": Kind.EXIF,
    b"Raw profile type APP1": Kind.EXIF,
    b"Raw profile type iptc": Kind.PHOTOSHOP,
    b"Raw profile type 8bim": Kind.PHOTOSHOP,
}
_PNG_RIGHTS = {b"copyright": "Copyright", b"author": "Author", b"artist": "Author"}
_PNG_TEXT = (b"iTXt", b"tEXt", b"zTXt")

#: Start and end of a packet in a file whose structure is not walked (XMP part 1 allows to scan for it).
_PACKET = re.compile(rb"<\?xpacket begin=|<[A-Za-z_][\w.-]{0,30}:(?:xmpmeta|xapmeta|RDF)[\s>]")
_PACKET_END = re.compile(rb"<\?xpacket end=[^>]{0,20}>|</[A-Za-z_][\w.-]{0,30}:(?:xmpmeta|xapmeta)\s{0,9}>")
_RDF = b"http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_GIF_XMP = b"!\xff\x0bXMP DataXMP"


@dataclass(frozen=True)
class Container:
    """What was found in one file: its blocks, and whether its structure broke off before its end.

    `credentials` is the bytes of the C2PA manifest store (as far as they could be cut out), None where the
    file has none. `broken` says in words where the walk over the structure ended too early.
    """

    format: str | None
    blocks: tuple[Block, ...] = ()
    credentials: bytes | None = None
    broken: str | None = None


def read_container(data: bytes) -> Container:
    """Return the metadata blocks of a picture file. Unknown and broken files are searched for XMP packets."""
    format = sniff(data)
    walk = _WALKS.get(format or "", _scanned)
    found = list(limited(walk(data)))
    broken = next((block.problem for block in found if block.kind is Kind.BROKEN), None)
    blocks = [block for block in found if block.kind not in (Kind.BROKEN, Kind.C2PA)]
    if broken and not any(block.kind is Kind.XMP for block in blocks):
        blocks += _scanned(data)
    return Container(format, tuple(blocks), _store(data, found, format in _STORED), broken)


def _store(data: bytes, found: list[Block], walked: bool) -> bytes | None:
    """Return the manifest store: the block that the walk found, else what stands at its type anywhere."""
    stores = [block.data for block in found if block.kind is Kind.C2PA]
    if stores:
        # JUMBF serves other ends too: the one that calls itself C2PA goes first.
        return next((store for store in stores if b"c2pa" in store), stores[0])
    if walked and not any(block.kind is Kind.BROKEN for block in found):
        return None
    at = data.find(_STORE_TYPE)
    if at < 0:
        return None
    # 16 bytes before: length and type of the superbox `jumb`, then those of its description box `jumd`.
    start = max(0, at - 16)
    return data[start : start + min(int.from_bytes(data[start : start + 4], "big"), MAX_BLOCK)]


def _png(data: bytes) -> Iterator[Block]:
    """Walk the chunks of a PNG up to IEND (PNG 3rd edition §5.3)."""
    at = 8
    for _ in range(MAX_BLOCKS):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"IEND":
            return
        if len(kind) < 4:
            yield Block(Kind.BROKEN, "png", b"", "the file ends before its IEND chunk")
            return
        if kind in _PNG_TEXT or kind in (b"eXIf", b"caBX"):
            yield from _png_chunk(data, at, length, kind)
        if at + length + 12 > len(data):
            yield Block(Kind.BROKEN, "png", b"", "a chunk runs past the end of the file")
            return
        at += length + 12
    yield Block(Kind.BROKEN, "png", b"", f"more than {MAX_BLOCKS} chunks")


def _png_chunk(data: bytes, at: int, length: int, kind: bytes) -> Iterator[Block]:
    """Return the block of one metadata chunk, with a problem where it is cut off or its checksum is wrong."""
    body = data[at + 8 : at + 8 + min(length, MAX_BLOCK + 1)]
    problem = None
    if at + 12 + length > len(data):
        problem = "cut off"
    elif length > MAX_BLOCK:
        problem = f"larger than {MAX_BLOCK} bytes"
    elif zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(data[at + 8 + length : at + 12 + length], "big"):
        problem = "wrong checksum"
    if kind == b"caBX":
        yield Block(Kind.C2PA, "png:caBX", body, problem)
    elif kind == b"eXIf":
        yield clip_block(Kind.EXIF, "png:eXIf", body, problem)
    else:
        yield from _png_text(kind, body, problem)


def _png_text(kind: bytes, body: bytes, problem: str | None) -> Iterator[Block]:
    """Return the block of a text chunk whose keyword announces metadata or names the rights holder."""
    keyword, _, rest = body[:MAX_BLOCK].partition(b"\0")
    wanted, label = _PNG_KEYWORDS.get(keyword[:79]), _PNG_RIGHTS.get(keyword[:79].lower())
    if wanted is None and label is None:
        return
    packed = kind == b"zTXt"
    if packed:
        rest = rest[1:]
    elif kind == b"iTXt" and rest[:1] in (b"\0", b"\1"):  # some writers put the text right after the keyword
        packed = rest[:1] == b"\1"
        # language tag and translated keyword, each ended by a zero byte
        rest = rest[2:].split(b"\0", 2)[2] if rest.count(b"\0", 2, 4096) >= 2 else rest[2:].lstrip(b"\0")
    if packed:
        rest, packing = _inflate(rest)
        problem = problem or packing
    source = f"png:{kind.decode()}"
    if keyword.startswith(b"Raw profile"):
        rest, hexing = _raw_profile(rest)
        problem = problem or hexing
    if wanted is not None:
        yield clip_block(wanted, source, rest, problem)
    elif label is not None:
        yield Block(Kind.TEXT, f"{source}:{label}", as_text(rest[:MAX_TEXT]).encode(), problem)


def _inflate(packed: bytes) -> tuple[bytes, str | None]:
    """Return the unpacked bytes, at most one more than `MAX_BLOCK`, and what was wrong."""
    unpacker = zlib.decompressobj()
    try:
        body = unpacker.decompress(packed, MAX_BLOCK + 1)
    except zlib.error as error:
        return b"", f"cannot be unpacked: {error}"
    return body, None if unpacker.eof or len(body) > MAX_BLOCK else "compressed data ends early"


def _raw_profile(text: bytes) -> tuple[bytes, str | None]:
    """Return the bytes that ImageMagick wrote as `\\nNAME\\n  LENGTH\\nhexadecimal digits`."""
    lines = text.split(b"\n", 3)
    try:
        return bytes.fromhex(lines[3].decode("ascii")), None
    except (IndexError, ValueError):
        return b"", "raw profile is not hexadecimal"


def _webp(data: bytes) -> Iterator[Block]:
    """Walk the chunks of a WebP (RFC 9649 §2.3), past the RIFF length where the file goes on."""
    kinds = {b"XMP ": Kind.XMP, b"XMP\0": Kind.XMP, b"EXIF": Kind.EXIF, b"C2PA": Kind.C2PA}
    at = 12
    for _ in range(MAX_BLOCKS):
        if at + 8 > len(data):
            return
        length, kind = int.from_bytes(data[at + 4 : at + 8], "little"), data[at : at + 4]
        cut = at + 8 + length > len(data)
        if kind in kinds:
            body = data[at + 8 : at + 8 + min(length, MAX_BLOCK + 1)]
            yield clip_block(kinds[kind], f"webp:{kinds[kind].name}", body, "cut off" if cut else None)
        if cut:
            yield Block(Kind.BROKEN, "webp", b"", "a chunk runs past the end of the file")
            return
        at += 8 + length + (length & 1)
    yield Block(Kind.BROKEN, "webp", b"", f"more than {MAX_BLOCKS} chunks")


def _gif(data: bytes) -> Iterator[Block]:
    """Find the XMP application extensions of a GIF: plain text up to a trailer of descending bytes."""
    at = data.find(_GIF_XMP)
    for _ in range(16):
        if at < 0:
            return
        start = at + len(_GIF_XMP)
        end = data.find(b"\x01\xff\xfe", start)
        body = data[start : min(end if end >= 0 else len(data), start + MAX_BLOCK + 1)]
        yield clip_block(Kind.XMP, "gif:XMP", body, None if end >= 0 else "cut off")
        at = data.find(_GIF_XMP, start)


def _scanned(data: bytes) -> Iterator[Block]:
    """Find XMP packets by their own marks, for files whose structure is not walked or broke off."""
    at = 0 if _RDF in data else len(data)
    for _ in range(16):
        start = _PACKET.search(data, at)
        if start is None:
            return
        limit = min(len(data), start.start() + MAX_BLOCK + 1)
        end = _PACKET_END.search(data, start.end(), limit)
        wrapped = start[0].startswith(b"<?xpacket")
        # Inside a wrapper the first end mark may be that of `xmpmeta`; the packet is whole there already.
        stop = end.end() if end else limit
        at = stop
        body = data[start.start() : stop]
        if wrapped:
            body = body.partition(b"?>")[2] or body
        yield clip_block(Kind.XMP, "scan", body, None if end else "its end was not found")


#: Formats whose walk finds the manifest store wherever it may stand.
_STORED = ("PNG", "WEBP", "JPEG")

_WALKS = {"PNG": _png, "WEBP": _webp, "GIF": _gif, "JPEG": jpeg_blocks, "TIFF": tiff_blocks}
