"""Thumbnails for the report: read from the run's archives, checked, counted against a budget of bytes."""

from __future__ import annotations

import base64
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass

from filters.headers import declared_size
from pipelines.run.directory import Run
from pipelines.run.parts import part_name

#: Largest thumbnail file that is taken in, bytes; `score` writes some 2 to 12 KB.
_MAX_BYTES = 64 << 10

#: Largest side that is believed, pixels.
_MAX_SIDE = 128


@dataclass(frozen=True)
class Picture:
    """One thumbnail as a data URI, with its size in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Thumbnails:
    """Pictures by (part, uid), and the archives that could not be read."""

    found: dict[tuple[int, str], Picture]
    problems: list[str]


def load_thumbnails(run: Run, wanted: Iterable[tuple[int, str]]) -> Thumbnails:
    """Read the thumbnails of the given (part, uid). What is missing is left out."""
    by_part: dict[int, set[str]] = {}
    for part, uid in wanted:
        by_part.setdefault(part, set()).add(uid)
    found: dict[tuple[int, str], Picture] = {}
    problems = []
    for part, uids in sorted(by_part.items()):
        name = part_name("thumbnails", part, ".tar")
        if not run.store.exists(name):
            problems.append(f"{name} is missing")
            continue
        try:
            found.update(((part, uid), picture) for uid, picture in _read(run, name, uids))
        except (tarfile.TarError, EOFError) as error:
            problems.append(f"{name} is unreadable ({error})")
    return Thumbnails(found, problems)


def _read(run: Run, name: str, uids: set[str]) -> Iterable[tuple[str, Picture]]:
    left = set(uids)
    with run.store.open(name) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        for member in archive:
            uid = member.name.removesuffix(".webp")
            if uid not in left or not member.isfile() or member.size > _MAX_BYTES:
                continue
            left.discard(uid)
            content = archive.extractfile(member)
            picture = embed(content.read()) if content else None
            if picture:
                yield uid, picture
            if not left:
                return


def embed(data: bytes) -> Picture | None:
    """Turn the bytes of a thumbnail into a data URI; None where they are no small WebP."""
    if data[:4] != b"RIFF" or data[8:15] != b"WEBPVP8":
        return None
    try:
        size = declared_size(data, "WEBP")
    except (ValueError, IndexError):
        return None
    if size is None or not 0 < max(size) <= _MAX_SIDE:
        return None
    return Picture("data:image/webp;base64," + base64.b64encode(data).decode(), *size)
