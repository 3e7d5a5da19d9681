"""One piece of metadata as it stood in a file, and the limits on how much of it is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum

#: Most bytes of one block that are read, unpacked. Camera and editor packets have under 1 MB.
MAX_BLOCK = 4 << 20

#: Most chunks or segments of one file that are walked. A PNG of 400 MB in chunks of 8 KiB has this many.
MAX_BLOCKS = 50_000

#: Most blocks of one file, and bytes in all of them, that are read.
MAX_FILE_BLOCKS = 64
MAX_FILE_BYTES = 2 * MAX_BLOCK

#: Most bytes of one rights text.
MAX_TEXT = 4096


class Kind(str, Enum):
    """What a block holds."""

    XMP = "xmp"
    EXIF = "exif"
    #: Photoshop image resources, which hold IPTC IIM.
    PHOTOSHOP = "photoshop"
    #: IPTC IIM datasets without the Photoshop resources around them.
    IPTC = "iptc"
    #: One text that names rights or maker.
    TEXT = "text"
    C2PA = "c2pa"
    #: No block: the walk over the file's structure ended here.
    BROKEN = "broken"


@dataclass(frozen=True)
class Block:
    """A block's kind, the part of the file that held it, its bytes, and what is wrong with it (None: nothing)."""

    kind: Kind
    source: str
    data: bytes
    problem: str | None = None


def clip_block(kind: Kind, source: str, data: bytes, problem: str | None = None) -> Block:
    """Return the block with at most `MAX_BLOCK` bytes; a longer one has the problem that it is too large."""
    block = Block(kind, source, data, problem)
    if len(data) <= MAX_BLOCK:
        return block
    return replace(block, data=data[:MAX_BLOCK], problem=f"larger than {MAX_BLOCK} bytes")


def limited(blocks: Iterable[Block]) -> Iterator[Block]:
    """Return the blocks up to the limits of a file, then one in their place that says so."""
    size = 0
    for number, block in enumerate(blocks):
        size += len(block.data)
        if number == MAX_FILE_BLOCKS or size > MAX_FILE_BYTES:
            problem = f"the file has more than {MAX_FILE_BLOCKS} blocks or {MAX_FILE_BYTES} bytes of metadata"
            yield Block(Kind.XMP, block.source, b"", problem)
            return
        yield block


def as_text(body: bytes) -> str:
    """Return a rights text: UTF-8 where it is, else Latin-1, which is what most formats prescribe."""
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("latin-1")
