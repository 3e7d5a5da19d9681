"""All metadata of one picture file, read once for every in-file channel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from filters.optout.containers import read_container
from filters.optout.metadata_blocks import Block, Kind, limited
from filters.optout.tiff_blocks import iptc_texts, photoshop_texts, tiff_blocks
from filters.optout.xmp import MAX_NODES, Statement, UnreadableXmp, parse_xmp


@dataclass(frozen=True)
class Packet:
    """One XMP packet: the part of the file that held it, its bytes, what it says, and why it cannot be read whole."""

    source: str
    data: bytes
    statements: tuple[Statement, ...] = ()
    problem: str | None = None

    @cached_property
    def sha256(self) -> str:
        """Return the SHA-256 of the packet, 64 hex digits."""
        return sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Text:
    """A rights text outside of XMP: EXIF, IPTC IIM, a PNG text chunk. The evidence is the text itself, in UTF-8."""

    source: str
    value: str
    problem: str | None = None


@dataclass(frozen=True)
class Embedded:
    """What a file says about itself. `credentials` are the bytes of its C2PA manifest store, None without one."""

    format: str | None = None
    packets: tuple[Packet, ...] = ()
    texts: tuple[Text, ...] = ()
    credentials: bytes | None = None
    broken: str | None = None

    @property
    def doubt(self) -> str | None:
        """Return why nothing in this file may count as a permission; None where all of it was read."""
        bad = next((f"{p.source}: {p.problem}" for p in self.packets if p.problem), None)
        return bad or self.broken

    @cached_property
    def _by_name(self) -> dict[str, list[tuple[Packet, Statement]]]:
        """Return all statements by the local name of their property."""
        found: dict[str, list[tuple[Packet, Statement]]] = {}
        for packet in self.packets:
            for statement in packet.statements:
                found.setdefault(statement.name, []).append((packet, statement))
        return found

    def values(self, namespaces: frozenset[str], name: str) -> Iterator[tuple[Packet, Statement]]:
        """Return every statement of that property, and the packet that holds it."""
        return (pair for pair in self._by_name.get(name, ()) if pair[1].namespace in namespaces)


def read_embedded(image: bytes | None) -> Embedded:
    """Return the metadata of a picture file. Never raises for what the bytes contain."""
    if not image:
        return Embedded()
    container = read_container(image)
    blocks = list(limited(block for outer in container.blocks for block in _unfolded(outer)))
    return Embedded(
        format=container.format,
        packets=tuple(_packets(block for block in blocks if block.kind is Kind.XMP)),
        texts=tuple(
            Text(block.source, block.data.decode("utf-8", "replace"), block.problem)
            for block in blocks
            if block.kind is Kind.TEXT
        ),
        credentials=container.credentials,
        broken=container.broken,
    )


def _unfolded(block: Block) -> Iterator[Block]:
    """Return a block, or the blocks and texts that stand inside it."""
    if block.kind is Kind.EXIF:
        body = block.data[6:] if block.data[:4] == b"Exif" else block.data
        for inner in tiff_blocks(body, f"{block.source}:exif"):
            if inner.kind in (Kind.XMP, Kind.TEXT):
                yield inner
            elif inner.kind in (Kind.PHOTOSHOP, Kind.IPTC):
                yield from _unfolded(inner)
    elif block.kind is Kind.PHOTOSHOP:
        yield from photoshop_texts(block.data, block.source)
    elif block.kind is Kind.IPTC:
        yield from iptc_texts(block.data, block.source)
    else:
        yield block


def _packets(blocks: Iterable[Block]) -> Iterator[Packet]:
    """Parse the XMP blocks; what is read of a damaged one counts, with its problem."""
    left = 2 * MAX_NODES
    for block in blocks:
        try:
            yield Packet(block.source, block.data, parse_xmp(block.data, min(left, MAX_NODES)), block.problem)
        except UnreadableXmp as error:
            yield Packet(block.source, block.data, (), block.problem or str(error))
        # At most so many elements and attributes were looked at.
        left = max(0, left - block.data.count(b"<") - block.data.count(b"="))
