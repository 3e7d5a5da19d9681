"""Play a forger on a signed PNG, for the demo: `python examples/tamper.py SIGNED.png STRIPPED.jpg TAMPERED.png`.

STRIPPED is what many sites make of a picture: encoded again, its credential gone. TAMPERED has a black square painted
in, and the old credential put back.
"""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path

from PIL import Image, ImageDraw

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CREDENTIAL = b"caBX"


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the chunks of a PNG: type and body."""
    found, at = [], len(_SIGNATURE)
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        found.append((kind, data[at + 8 : at + 8 + length]))
        at += length + 12
    return found


def png(parts: list[tuple[bytes, bytes]]) -> bytes:
    """Return the PNG of chunks."""
    bodies = [struct.pack(">I", len(body)) + kind + body for kind, body in parts]
    sums = [struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts]
    return _SIGNATURE + b"".join(body + check for body, check in zip(bodies, sums, strict=True))


def stripped(signed: bytes) -> bytes:
    """Return the picture as a JPEG of quality 90 without anything else."""
    out = io.BytesIO()
    Image.open(io.BytesIO(signed)).convert("RGB").save(out, "JPEG", quality=90)
    return out.getvalue()


def tampered(signed: bytes) -> bytes:
    """Return the picture with a black square over a sixteenth of it, under its old credential."""
    image = Image.open(io.BytesIO(signed)).convert("RGB")
    ImageDraw.Draw(image).rectangle((0, 0, image.width // 4, image.height // 4), fill=(0, 0, 0))
    out = io.BytesIO()
    image.save(out, "PNG")
    header, *rest = chunks(out.getvalue())
    credential = [chunk for chunk in chunks(signed) if chunk[0] == _CREDENTIAL]
    return png([header, *credential, *rest])


def main(names: list[str]) -> None:
    """Write both files."""
    if len(names) != 3:
        sys.exit("give three names: SIGNED.png STRIPPED.jpg TAMPERED.png")
    signed, without, changed = (Path(name) for name in names)
    data = signed.read_bytes()
    without.write_bytes(stripped(data))
    changed.write_bytes(tampered(data))


if __name__ == "__main__":
    main(sys.argv[1:])
