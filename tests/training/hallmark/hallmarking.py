"""Small helpers of the hallmark's tests."""

from __future__ import annotations

import io
import struct
import zlib
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from PIL import Image

from training.hallmark.chains import Chain
from training.hallmark.claim import DatasetFacts, Facts, ModelFacts
from training.hallmark.keys import SigningKey, key_from_files

DATASET, CHECKPOINT = "d" * 64, "c" * 64


def some_facts(prompt: str = "a cat on a wall", dataset: str = DATASET) -> Facts:
    """Facts about a picture that never was."""
    return Facts(
        ModelFacts("example-ldm", "1.4.2", CHECKPOINT),
        DatasetFacts("example", dataset, "runs/example"),
        prompt,
        "Example Lab",
        datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc),
        {"steps": 20, "guidance": 7.5},
    )


def key_of(chain: Chain, folder: Path) -> SigningKey:
    """Write a chain to files and load it."""
    (folder / "key.pem").write_bytes(chain.key)
    (folder / "chain.pem").write_bytes(chain.certificates)
    return key_from_files(folder / "key.pem", folder / "chain.pem")


def encode(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """The file of some pixels, without any metadata."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def pixels_of(data: bytes) -> np.ndarray:
    """The pixels of a file."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a PNG: type and body."""
    found, at = [], 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        found.append((kind, data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG of chunks, with right checksums."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, body in chunks:
        parts.append(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))
    return b"".join(parts)


def with_manifest_of(data: bytes, pixels: np.ndarray) -> bytes:
    """Other pixels under the manifest of a signed PNG, which stands where it stood."""
    chunks = png_chunks(encode(pixels))
    manifest = next(chunk for chunk in png_chunks(data) if chunk[0] == b"caBX")
    return png_of([chunks[0], manifest, *chunks[1:]])


def edited(data: bytes, old: bytes, new: bytes) -> bytes:
    """A signed PNG with bytes inside its manifest replaced; the checksum is made right."""
    assert len(old) == len(new)
    chunks = [(kind, body.replace(old, new, 1) if kind == b"caBX" else body) for kind, body in png_chunks(data)]
    assert png_of(chunks) != data
    return png_of(chunks)
