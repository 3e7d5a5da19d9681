"""Picture files made byte by byte, for what Pillow would not write."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return one PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: bytes) -> bytes:
    """Return a PNG of raw `rows`, each with its filter byte; `chunks` go before the pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return PNG + header + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    """Return the picture as Pillow writes it."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def bomb(side: int = 30_000) -> bytes:
    """Return a whole and valid black PNG of `side` x `side` pixels, about 100 kB a gigapixel."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    pixels = b"".join([*(packer.compress(row) for _ in range(side)), packer.flush()])
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return PNG + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def gif(screen: tuple[int, int], frame: tuple[int, int, int, int], disposal: int = 0, extra: bytes = b"") -> bytes:
    """Return a GIF of two colours whose one frame (left, top, width, height) has a pixel of data."""
    head = b"GIF89a" + struct.pack("<HH", *screen) + b"\x80\0\0" + bytes([255, 0, 0, 0, 0, 255])
    control = b"!\xf9\x04" + bytes([disposal << 2]) + b"\0\0\0\0"
    return head + extra + control + b"," + struct.pack("<HHHH", *frame) + b"\0\x02\x02\x44\x01\0;"


def shared_claims(entries: int, size: int = 1 << 20, order: str = "<", first: bytes = b"") -> bytes:
    """Return a TIFF block of `size` bytes whose `entries` claim a megabyte each, all of them the same one.

    `first`: entries to stand before them, 12 bytes each.
    """
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    claims = b"".join(struct.pack(order + "HHII", 0x9000 + at, 1, 1 << 20, 8) for at in range(entries))
    table = struct.pack(order + "H", entries + len(first) // 12) + first + claims
    return (head + table + bytes(4)).ljust(size + 16, b"\0")
