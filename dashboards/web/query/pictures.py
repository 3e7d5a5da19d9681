"""Thumbnails from a run's own archives: one member read by its offset, and only where it may be shown."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageFilter

from dashboards.web.catalogue import Opened
from dashboards.web.places import within
from dashboards.web.query.samples import picture_sql
from filters.headers import declared_size
from pipelines.run.parts import part_name

#: Largest thumbnail file that is sent, bytes, and its largest side, pixels; `score` writes some 2 to 12 KB.
_MAX_BYTES, _MAX_SIDE = 64 << 10, 512

#: Archives whose members' places are kept in memory; one of 10,000 pictures takes about 2 MB.
_ARCHIVES = 24


@dataclass(frozen=True)
class Thumbnail:
    """A WebP picture as it is sent, and the name of its state for caches."""

    data: bytes
    etag: str


class Archives:
    """Places of members by archive, the last used ones. An archive that was written anew is read anew."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[str, int, int], dict[str, tuple[int, int]]] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, path: Path, uid: str) -> bytes | None:
        """Return the bytes of one member, None where the archive has none of that name."""
        try:
            facts = path.stat()
            place = self._members(path, (str(path), facts.st_size, facts.st_mtime_ns)).get(uid)
            if place is None:
                return None
            with path.open("rb") as stream:
                stream.seek(place[0])
                return stream.read(place[1])
        except (OSError, tarfile.TarError, EOFError):
            return None

    def _members(self, path: Path, key: tuple[str, int, int]) -> dict[str, tuple[int, int]]:
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
            members: dict[str, tuple[int, int]] = {}
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    if member.isfile() and member.size <= _MAX_BYTES and member.name.endswith(".webp"):
                        members.setdefault(member.name.removesuffix(".webp"), (member.offset_data, member.size))
                    archive.members = []  # type: ignore[attr-defined]  # tarfile keeps every header otherwise
            self._found[key] = members
            while len(self._found) > _ARCHIVES:
                self._found.popitem(last=False)
            return members


def thumbnail(opened: Opened, archives: Archives, row: int, uid: str, unblur: bool) -> Thumbnail | None:
    """Return the picture of the sample at `row`, blurred where it is veiled; None where none may be shown.

    The ledger is asked each time, so a picture that was retracted since is not sent.
    """
    found = opened.reader.rows(f"SELECT uid::VARCHAR, {picture_sql(opened)} FROM samples WHERE rowid = ?", [row])
    if not found or found[0][0].replace("-", "") != uid:
        return None
    state = found[0][1]
    if state not in ("shown", "veiled"):
        return None
    path = opened.place.path / part_name("thumbnails", opened.part_of(row).index, ".tar")
    if not within(path, opened.place.path):
        return None
    data = archives.read(path, uid)
    if data is None or not _is_small_webp(data):
        return None
    if state == "veiled" and not unblur:
        blurred = veil(data)
        return None if blurred is None else Thumbnail(blurred, _etag(blurred))
    return Thumbnail(data, _etag(data))


def _is_small_webp(data: bytes) -> bool:
    if data[:4] != b"RIFF" or data[8:15] != b"WEBPVP8":
        return False
    try:
        size = declared_size(data, "WEBP")
    except (ValueError, IndexError):
        return False
    return size is not None and 0 < max(size) <= _MAX_SIDE


def veil(data: bytes) -> bytes | None:
    """Return the picture with nothing left but its colours: six pixels wide, scaled up and blurred."""
    try:
        with Image.open(io.BytesIO(data), formats=["WEBP"]) as picture:
            size = picture.size
            coarse = picture.convert("RGB").resize((6, 6), Image.Resampling.BOX)
    except (OSError, ValueError):
        return None
    out = io.BytesIO()
    coarse.resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(6)).save(out, "WEBP", quality=50)
    return out.getvalue()


def _etag(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=12).hexdigest()
