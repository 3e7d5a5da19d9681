"""The contract of a source: shards in a fixed order, records in a fixed order within a shard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from filters.reasons import Reason


@dataclass(frozen=True)
class ShardRef:
    """One input shard: its name relative to the input, its place, and what tells that it has changed.

    `members` lists the files of a shard that is a slice of a folder.
    """

    name: str
    url: str
    state: str
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Record:
    """One record as it came in. `failure` is set where the source itself found it unreadable.

    `caption` and `metadata` are raw bytes where they come from files, Python values where they come from a
    table. A field that is larger than its limit arrives cut to one byte more than the limit.
    """

    key: str
    image: bytes | None = None
    caption: bytes | str | None = None
    metadata: bytes | dict[str, Any] | None = None
    failure: Reason | None = None
    detail: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ReadLimits:
    """Most bytes of a field that a source reads into memory (plus one, which shows the excess)."""

    image: int
    caption: int
    metadata: int


class Source(Protocol):
    """Lists shards and reads their records; picklable, and safe to read again in another process."""

    def shards(self) -> list[ShardRef]:
        """Return all shards, sorted. Raises `BadInput` where the input is missing or empty."""
        ...

    def records(self, shard: ShardRef, limits: ReadLimits) -> Iterator[Record]:
        """Read one shard; never raises for what the shard contains, only `StoreFailed` for what does not give it."""
        ...
