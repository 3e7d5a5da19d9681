"""Changing many files of a run as one: all of the change, or none of it.

The new files are written to `.pending/ID/`, beside the run. One atomic write of `.pending/commit.json`
decides: before it the old run is whole and untouched; after it the new files are moved into place, and where
that is interrupted, whoever opens the run next moves the rest. A redo log, as databases keep one.

Where there is no lock (object stores), several processes may do all this at once. So nobody there deletes the stage of
another one that may be at work, a change may be finished by two at a time, and each file is known by its SHA-256.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import IO, Any

from filters.errors import AssayError, BadInput
from pipelines.run.storage import Store, sha256_file, sha256_stream

_FOLDER = ".pending"
_COMMIT = f"{_FOLDER}/commit.json"

#: Moved last, in this order: readers take the manifest for the word on all other files.
_LAST = ("manifest.json", "manifest.sig")

#: How long after its last write a stage on an object store counts as abandoned. Nothing there tells whether its owner
#: lives; a retraction writes file after file, and seconds after the last it commits. One that slept for longer finds
#: its files gone when it commits, and says so. Until then what a killed one left stays, whoever comes.
ABANDONED = timedelta(days=1)

#: Under what names the object stores tell when a file was written.
_WRITTEN = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")


class Interfered(AssayError):
    """Files of a change that were deleted or replaced by another hand."""


@dataclass(frozen=True)
class _File:
    """A staged file: its size in bytes and SHA-256."""

    size: int
    sha256: str


@dataclass(frozen=True)
class _Commit:
    """What the commit record says: whose stage, the SHA-256 of each file to put in place, in order; what goes."""

    ident: str
    replace: dict[str, str]
    delete: list[str]

    def dump(self) -> bytes:
        files = [{"name": name, "sha256": sha256} for name, sha256 in self.replace.items()]
        return json.dumps({"id": self.ident, "replace": files, "delete": self.delete}, indent=1).encode()


class Staged(Store):
    """The run as it will be: reads see what was staged here over what is there, writes are staged.

    What reaches the run does so in `commit`; a stage that is given up leaves the run as it was.
    """

    def __init__(self, base: Store) -> None:
        super().__init__(base.url)
        self._base = base
        self._ident = secrets.token_hex(8)
        self._written: dict[str, _File] = {}
        self._deleted: set[str] = set()

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        raise TypeError("a staged change belongs to one process")

    def _place(self, name: str) -> str:
        return _staged(self._ident, name) if name in self._written else name

    @property
    def changed(self) -> list[str]:
        """Return the names of the files that will be new or replaced, sorted."""
        return sorted(self._written)

    @property
    def removed(self) -> list[str]:
        """Return the names of the files that will be gone, sorted."""
        return sorted(self._deleted)

    def exists(self, name: str) -> bool:
        """Tell whether the file will be there."""
        return name not in self._deleted and super().exists(self._place(name))

    def size(self, name: str) -> int | None:
        """Return the size in bytes that the file will have, None where it will be absent."""
        return None if name in self._deleted else super().size(self._place(name))

    def find(self, name: str) -> bytes | None:
        """Return the whole file, None where it will be absent."""
        return None if name in self._deleted else super().find(self._place(name))

    def open(self, name: str) -> IO[bytes]:
        """Open for reading. Raises `BadInput` where the file will be absent."""
        if name in self._deleted:
            raise BadInput(f"{self.url}/{name}: no such file")
        return super().open(self._place(name))

    def list(self, folder: str) -> list[str]:
        """Return the names of the files that will be in `folder`, sorted."""
        staged = {name for name in self._written if name.rpartition("/")[0] == folder}
        return sorted((set(super().list(folder)) | staged) - self._deleted)

    @contextmanager
    def create(self, name: str) -> Iterator[Path]:
        """Stage a file: what was written to the path given is `name` after the commit."""
        self.path(name)
        with super().create(_staged(self._ident, name)) as path:
            yield path
            file = _File(path.stat().st_size, sha256_file(path))
        self._written[name] = file
        self._deleted.discard(name)

    def delete(self, name: str) -> None:
        """Stage the deletion of a file, if it is there."""
        if name in self._written:
            del self._written[name]
            super().delete(_staged(self._ident, name))
        if super().exists(name):
            self._deleted.add(name)

    def commit(self) -> None:
        """Make the change; from the write of the commit record on it cannot be lost.

        Raises `Interfered` where a staged file is not there as it was written, or another change is just being put in
        place; then nothing has changed.
        """
        for name, file in self._written.items():
            if self._base.size(_staged(self._ident, name)) != file.size:
                raise Interfered(
                    f"{self.url}: {name} of this change was deleted by another job before it counted; "
                    "the dataset is as it was: run the same command again"
                )
        if committed(self._base):  # under a lock it was settled before
            raise Interfered(f"{self.url}: another job changes the dataset at this moment; run the same command again")
        names = sorted(self._written, key=lambda name: (name in _LAST, _rank(name), name))
        replace = {name: self._written[name].sha256 for name in names}
        self._base.write(_COMMIT, _Commit(self._ident, replace, sorted(self._deleted)).dump())
        _apply(self._base)


def committed(store: Store) -> bool:
    """Tell whether a change was committed and is not in place yet."""
    return store.exists(_COMMIT)


def settle(store: Store) -> None:
    """Finish a change that was committed, drop what is left of one that was not. Under the run's lock, if it has one.

    On an object store, which has none, only stages are dropped to which nothing was written for `ABANDONED`: a younger
    one may be that of a retraction at work. Raises `Interfered` where a file of a committed change is lost, `BadInput`
    for a record that is none.
    """
    if store.exists(_COMMIT):
        _apply(store)
    if store.local:
        _sweep(store, _FOLDER)
    else:
        _sweep_abandoned(store, datetime.now(timezone.utc) - ABANDONED)


def _rank(name: str) -> int:
    return _LAST.index(name) if name in _LAST else -1


def _staged(ident: str, name: str) -> str:
    return f"{_FOLDER}/{ident}/{name}"


def _apply(store: Store) -> None:
    """Move and delete what the commit record names; each step may have been done before, or be done by another too."""
    commit = _read_commit(store)
    if commit is None:
        return
    for name in commit.delete:
        store.delete(name)
    for name, sha256 in commit.replace.items():
        _move(store, commit.ident, name, sha256)
    if _counts(store, commit.ident):
        store.delete(_COMMIT)
    # after the record: a stage that is gone then tells that its change is in place
    _sweep(store, f"{_FOLDER}/{commit.ident}" if not store.local else _FOLDER)


def _read_commit(store: Store) -> _Commit | None:
    """Return what the commit record says, None where another process has finished it. Raises `BadInput`."""
    data = store.find(_COMMIT)
    if data is None:
        return None
    try:
        body = json.loads(data)
        replace = {str(file["name"]): str(file["sha256"]) for file in body["replace"]}
        found = _Commit(str(body["id"]), replace, [str(name) for name in body["delete"]])
        for name in (*found.replace, *found.delete):
            store.path(name)
        if not re.fullmatch("[0-9a-f]{16}", found.ident):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadInput(
            f"{store.url}/{_COMMIT}: not the record of a change, or that of another version of Assay; "
            "finish the change with the version that began it, or restore the run from a copy"
        ) from None
    return found


def _counts(store: Store, ident: str) -> bool:
    """Tell whether the commit record is still that of the stage `ident`: on an object store others end it too."""
    commit = _read_commit(store)
    return commit is not None and commit.ident == ident


def _sweep(store: Store, folder: str) -> None:
    with suppress(FileNotFoundError):  # another process was quicker
        if store.fs.exists(store.path(folder)):
            store.fs.rm(store.path(folder), recursive=True)


def _sweep_abandoned(store: Store, before: datetime) -> None:
    """Delete the stages of which every file was written before `before`, by the store's own clock."""
    root = store.path(_FOLDER)
    try:
        store.fs.invalidate_cache()
        found: dict[str, Any] = store.fs.find(root, detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return
    stages: dict[str, list[datetime | None]] = {}
    for path, details in found.items():
        ident, _, rest = path.rpartition(f"{root.strip('/')}/")[2].partition("/")
        if rest and re.fullmatch("[0-9a-f]{16}", ident):
            stages.setdefault(ident, []).append(_written_at(details))
    for ident, times in stages.items():
        # a store that does not tell the time keeps everything
        if all(at is not None and at < before for at in times) and not _counts(store, ident):
            _sweep(store, f"{_FOLDER}/{ident}")


def _written_at(details: dict[str, Any]) -> datetime | None:
    """Return when a file was written, in UTC, as far as the store's listing tells."""
    for at in map(details.get, _WRITTEN):
        if isinstance(at, datetime):
            return at.replace(tzinfo=timezone.utc) if at.tzinfo is None else at
        if isinstance(at, int | float):
            return datetime.fromtimestamp(at, timezone.utc)
    return None


def _move(store: Store, ident: str, target: str, sha256: str) -> None:
    """Put a staged file in place. Raises `Interfered` where it is neither staged nor in place."""
    source, place = _staged(ident, target), store.path(target)
    try:
        if store.local:
            Path(place).parent.mkdir(parents=True, exist_ok=True)
            os.replace(store.path(source), place)
            _sync(Path(place).parent)
        else:
            # copied, not moved: of two that finish the change each finds all of it, and the stage goes at the end
            store.make_folder_of(place)
            store.fs.copy(store.path(source), place)
    except FileNotFoundError:
        if _has(store, target, sha256):
            return  # moved before the interruption
        if not store.local and not _counts(store, ident):
            return  # another process has finished the change, and yet another made the next
        raise Interfered(
            f"{store.url}: {target} of a change that was under way is lost; restore the run from a copy"
        ) from None


def _has(store: Store, name: str, sha256: str) -> bool:
    """Tell whether the file is there with this content."""
    try:
        with store.fs.open(store.path(name), "rb") as stream:
            return sha256_stream(stream) == sha256
    except FileNotFoundError:
        return False


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
