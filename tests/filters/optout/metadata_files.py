"""Picture files with metadata in every place, made byte by byte."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib

from PIL import Image

PLUS = "http://ns.useplus.org/ldf/xmp/1.0/"
VOCAB = "http://ns.useplus.org/ldf/vocab/"
STORE_TYPE = b"c2pa\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71"
XMP_ID = b"http://ns.adobe.com/xap/1.0/\0"
EXTENDED_ID = b"http://ns.adobe.com/xmp/extension/\0"


def plain(format: str, size: int = 16) -> bytes:
    """A picture without metadata."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((size, size)).convert("RGB").save(buffer, format)
    return buffer.getvalue()


def xmp(
    inner: str = "", attributes: str = "", namespaces: str = f'xmlns:plus="{PLUS}"', wrapper: bool = True
) -> bytes:
    """A packet whose one description has these attributes and elements."""
    body = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {namespaces} {attributes}>{inner}</rdf:Description></rdf:RDF></x:xmpmeta>'
    )
    if wrapper:
        body = f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>{body}{" " * 40}<?xpacket end="w"?>'
    return body.encode()


def segment(marker: int, body: bytes) -> bytes:
    """One JPEG marker segment."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def jpeg(*segments: bytes) -> bytes:
    """A JPEG with these segments after the start of image."""
    data = plain("JPEG")
    return data[:2] + b"".join(segments) + data[2:]


def jpeg_xmp(packet: bytes) -> bytes:
    return jpeg(segment(0xE1, XMP_ID + packet))


def extended_segments(packet: bytes, piece: int = 60_000, guid: bytes | None = None) -> list[bytes]:
    """The segments of an extended packet."""
    guid = guid or hashlib.md5(packet).hexdigest().upper().encode()
    head = EXTENDED_ID + guid + struct.pack(">I", len(packet))
    return [
        segment(0xE1, head + struct.pack(">I", at) + packet[at : at + piece]) for at in range(0, len(packet), piece)
    ]


def jpeg_extended(packet: bytes, piece: int = 60_000) -> bytes:
    """A JPEG whose main packet only announces the extended one."""
    guid = hashlib.md5(packet).hexdigest().upper()
    main = xmp(
        attributes=f'xmpNote:HasExtendedXMP="{guid}"', namespaces='xmlns:xmpNote="http://ns.adobe.com/xmp/note/"'
    )
    return jpeg(segment(0xE1, XMP_ID + main), *extended_segments(packet, piece))


def chunk(kind: bytes, body: bytes) -> bytes:
    """One PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*chunks: bytes, last: bool = False) -> bytes:
    """A PNG with these chunks after its header, or before its end."""
    data = plain("PNG")
    at = len(data) - 12 if last else 33
    return data[:at] + b"".join(chunks) + data[at:]


def itxt(packet: bytes, packed: bool = False, keyword: bytes = b"XML:com.adobe.xmp") -> bytes:
    body = zlib.compress(packet) if packed else packet
    return chunk(b"iTXt", keyword + (b"\0\1\0\0\0" if packed else b"\0\0\0\0\0") + body)


def raw_profile(body: bytes, name: str = "xmp", packed: bool = True) -> bytes:
    """The text chunk that ImageMagick writes for a profile."""
    text = f"\n{name}\n{len(body):8}\n".encode() + body.hex().encode() + b"\n"
    keyword = f"Raw profile type {name}".encode()
    return (
        chunk(b"zTXt", keyword + b"\0\0" + zlib.compress(text)) if packed else chunk(b"tEXt", keyword + b"\0" + text)
    )


def webp(*chunks: tuple[bytes, bytes], base: str = "WEBP") -> bytes:
    """A WebP with these chunks at its end."""
    parts = (kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1) for kind, body in chunks)
    data = plain(base) + b"".join(parts)
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def gif(packet: bytes) -> bytes:
    """A GIF with an XMP application extension and its trailer of 258 bytes."""
    trailer = b"\1" + bytes(range(255, -1, -1)) + b"\0"
    data = plain("GIF")
    return data[:-1] + b"!\xff\x0bXMP DataXMP" + packet + trailer + b";"


def tiff(tags: dict[int, bytes], order: str = "<") -> bytes:
    """A TIFF structure of one directory whose entries are bytes; an EXIF block has the same form."""
    body, entries = b"", b""
    start = 8 + 2 + 12 * len(tags) + 4
    for tag, value in sorted(tags.items()):
        padded = value + b"\0" * (-len(value) % 4)
        if len(value) <= 4:
            entries += struct.pack(order + "HHI", tag, 1, len(value)) + padded.ljust(4, b"\0")
        else:
            entries += struct.pack(order + "HHII", tag, 1, len(value), start + len(body))
            body += padded
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(order + "IH", 8, len(tags)) + entries + b"\0\0\0\0" + body


def avif(packet: bytes) -> bytes:
    """What begins as an AVIF and holds the packet in its data box."""
    return struct.pack(">I", 24) + b"ftypavif\0\0\0\0avifmif1" + struct.pack(">I", 8 + len(packet)) + b"mdat" + packet


def iim(*datasets: tuple[int, int, bytes]) -> bytes:
    """IPTC IIM datasets."""
    return b"".join(struct.pack(">BBBH", 0x1C, r, d, len(body)) + body for r, d, body in datasets)


def photoshop(body: bytes, number: int = 0x0404) -> bytes:
    """Photoshop image resources with one resource."""
    head = b"8BIM" + struct.pack(">H", number) + b"\0\0" + struct.pack(">I", len(body))
    return head + body + b"\0" * (len(body) & 1)


#: One file for each place of an XMP packet.
PLACES = {
    "jpeg": jpeg_xmp,
    "jpeg extended": jpeg_extended,
    "jpeg extended in pieces": lambda packet: jpeg_extended(packet, 100),
    "png": lambda packet: png(itxt(packet)),
    "png compressed": lambda packet: png(itxt(packet, packed=True)),
    "png after the pixels": lambda packet: png(itxt(packet), last=True),
    "png tEXt": lambda packet: png(chunk(b"tEXt", b"XML:com.adobe.xmp\0" + packet)),
    "png raw profile": lambda packet: png(raw_profile(packet)),
    "png raw profile unpacked": lambda packet: png(raw_profile(packet, packed=False)),
    "png exif": lambda packet: png(chunk(b"eXIf", tiff({0x02BC: packet}, ">"))),
    "webp": lambda packet: webp((b"XMP ", packet)),
    "gif": gif,
    "tiff": lambda packet: tiff({0x02BC: packet}),
    "tiff big-endian": lambda packet: tiff({0x02BC: packet}, ">"),
    "avif": avif,
    "jpeg exif": lambda packet: jpeg(segment(0xE1, b"Exif\0\0" + tiff({0x02BC: packet}))),
}
