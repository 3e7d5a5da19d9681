"""WebDataset tars: consecutive members with the same name up to the first dot of the last part are one record.

Read with `tarfile` and nothing extracted to disk. `tarfile` ends silently at a broken header, so the end
of the archive is checked here: what is lost is always shown as a row with `UNREADABLE_SHARD`.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO

from filters.errors import first_line
from filters.reasons import Reason
from pipelines.sources.base import ReadLimits, Record, ShardRef
from pipelines.sources.listing import find_files, full_url, opened, relative, state_of

IMAGE_SUFFIXES = ("png", "jpg", "jpeg", "webp", "gif", "tif", "tiff", "bmp", "avif")
_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
#: Most bytes of a header that carries a long name or attributes; those that are written hold a few hundred.
_MAX_EXTRA = 1 << 20
_EXTRA = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
_BROKEN = (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, OverflowError, RecursionError)


class _Header(tarfile.TarInfo):
    """A header of a possible size: `tarfile` reads what one carries at once, and steps back by what is below 0."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        found = super().frombuf(buf, encoding, errors)
        if found.size < 0 or (found.type in _EXTRA and found.size > _MAX_EXTRA):
            raise tarfile.HeaderError(f"a header of {found.size} bytes")
        return found


@dataclass
class _Open:
    """The record that is being collected."""

    key: str
    image: bytes | None = None
    caption: bytes | None = None
    metadata: bytes | None = None
    suffixes: set[str] = field(default_factory=set)
    failure: Reason | None = None
    detail: str | None = None

    def close(self) -> Record:
        return Record(self.key, self.image, self.caption, self.metadata, self.failure, self.detail)


@dataclass(frozen=True)
class WebDatasetSource:
    """All tars behind `path` (a tar, a folder, or a glob)."""

    path: str

    def shards(self) -> list[ShardRef]:
        """Return one shard a tar, sorted by path."""
        fs, root, paths = find_files(self.path, _TAR_SUFFIXES)
        return [ShardRef(relative(p, root), full_url(fs, p), state_of(fs, [p])) for p in paths]

    def records(self, shard: ShardRef, limits: ReadLimits) -> Iterator[Record]:
        """Read the tar's records in order of their members. Raises `StoreFailed`."""
        compression = "gzip" if shard.url.endswith(("gz", "tgz")) else None
        try:
            with opened(shard.url, compression) as stream:
                yield from _grouped(stream, limits)
        except _BROKEN as error:
            yield _unreadable("", f"cannot be opened: {first_line(error)}")


def split_name(name: str) -> tuple[str, str]:
    """Split a member's name into key and extension, e.g. `a/b.seg.png` into `a/b` and `seg.png`."""
    folder, slash, base = name.rpartition("/")
    stem, _, suffix = base.partition(".")
    return f"{folder}{slash}{stem}", suffix.lower()


def _grouped(stream: IO[bytes], limits: ReadLimits) -> Iterator[Record]:
    current: _Open | None = None
    try:
        with tarfile.open(fileobj=stream, mode="r:", tarinfo=_Header) as archive:
            try:
                # asked for a member of an empty archive, Python 3.10 looks before its first byte
                while archive.offset and (member := archive.next()) is not None:
                    # tarfile remembers every member, and a shard may have millions
                    archive.members = []  # type: ignore[attr-defined]
                    # attributes may state a size of their own, which leads back to the same header
                    if member.size < 0 or archive.offset <= member.offset:
                        raise tarfile.ReadError(f"member {member.name!r} states a size of {member.size}")
                    if member.isdir():
                        continue
                    key, suffix = split_name(member.name)
                    if current is not None and (key != current.key or suffix in current.suffixes):
                        yield current.close()
                        current = None
                    current = current or _Open(key)
                    current.suffixes.add(suffix)
                    _add(current, archive, member, suffix, limits)
            except _BROKEN as error:
                yield _unreadable(current.key if current else "", first_line(error))
                return
            if current is not None:
                yield current.close()
            lost = _after_end(stream, archive.offset)
            if lost:
                yield _unreadable("", lost)
    except tarfile.ReadError as error:
        yield _unreadable("", f"not a tar archive: {first_line(error)}")


def _add(record: _Open, archive: tarfile.TarFile, member: tarfile.TarInfo, suffix: str, limits: ReadLimits) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not member.isreg():
        record.failure = Reason.UNSAFE_PATH
        record.detail = f"member {member.name!r} is no plain file inside the archive"
        return
    limit = _limit(suffix, limits)
    if limit is None:
        return
    content = archive.extractfile(member)
    data = content.read(limit + 1) if content else b""
    if len(data) < min(member.size, limit + 1):
        raise tarfile.ReadError(f"member {member.name!r} ends after {len(data)} of {member.size} bytes")
    if suffix == "txt":
        record.caption = data
    elif suffix == "json":
        record.metadata = data
    elif record.image is None:
        record.image = data


def _limit(suffix: str, limits: ReadLimits) -> int | None:
    if suffix in IMAGE_SUFFIXES:
        return limits.image
    return {"txt": limits.caption, "json": limits.metadata}.get(suffix)


def _after_end(stream: IO[bytes], offset: int) -> str | None:
    """Tell what is wrong with the end of the archive: None where two zero blocks and nothing else follow."""
    try:
        stream.seek(offset)
        block = stream.read(tarfile.BLOCKSIZE)
        if block.strip(b"\0"):
            return f"broken header at byte {offset}; the rest is unreadable"
        if len(block) < tarfile.BLOCKSIZE:
            return f"cut off at byte {offset}: no end-of-archive marker"
        while chunk := stream.read(1 << 20):
            if chunk.strip(b"\0"):
                return "there is data after the end-of-archive marker"
    except _BROKEN as error:
        return first_line(error)
    return None


def _unreadable(key: str, detail: str) -> Record:
    return Record(key, failure=Reason.UNREADABLE_SHARD, detail=detail)
