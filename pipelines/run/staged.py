"""Changing many files of a run as one: all of the change, or none of it.

The new files are written to `.pending/ID/`, beside the run. One atomic write of `.pending/commit.json`
decides: before it the old run is whole and untouched; after it the new files are moved into place, and where
that is interrupted, whoever opens the run next moves the rest. A redo log, as databases keep one.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from filters.errors import BadInput
from pipelines.run.storage import Store

_FOLDER = ".pending"
_COMMIT = f"{_FOLDER}/commit.json"

#: Moved last, in this order: readers take the manifest for the word on all other files.
_LAST = ("manifest.json", "manifest.sig")


class Staged(Store):
    """The run as it will be: reads see what was staged here over what is there, writes are staged.

    What reaches the run does so in `commit`; a stage that is given up leaves the run as it was.
    """

    def __init__(self, base: Store) -> None:
        super().__init__(base.url)
        self._base = base
        self._ident = secrets.token_hex(8)
        self._written: set[str] = set()
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
        self._written.add(name)
        self._deleted.discard(name)

    def delete(self, name: str) -> None:
        """Stage the deletion of a file, if it is there."""
        if name in self._written:
            self._written.discard(name)
            super().delete(_staged(self._ident, name))
        if super().exists(name):
            self._deleted.add(name)

    def commit(self) -> None:
        """Make the change; from the write of the commit record on it cannot be lost."""
        names = sorted(self._written, key=lambda name: (name in _LAST, _rank(name), name))
        body = {"id": self._ident, "replace": names, "delete": sorted(self._deleted)}
        self._base.write(_COMMIT, json.dumps(body, indent=1).encode())
        _apply(self._base)


def committed(store: Store) -> bool:
    """Tell whether a change was committed and is not in place yet."""
    return store.exists(_COMMIT)


def settle(store: Store) -> None:
    """Finish a change that was committed, drop what is left of one that was not. Only under the run's lock."""
    if store.exists(_COMMIT):
        _apply(store)
    else:
        _sweep(store)


def _rank(name: str) -> int:
    return _LAST.index(name) if name in _LAST else -1


def _staged(ident: str, name: str) -> str:
    return f"{_FOLDER}/{ident}/{name}"


def _apply(store: Store) -> None:
    """Move and delete what the commit record names; each step may have been done before."""
    body = json.loads(store.read(_COMMIT))
    for name in body["delete"]:
        store.delete(name)
    for name in body["replace"]:
        _move(store, _staged(body["id"], name), name)
    store.delete(_COMMIT)
    _sweep(store)


def _sweep(store: Store) -> None:
    if store.fs.exists(store.path(_FOLDER)):
        store.fs.rm(store.path(_FOLDER), recursive=True)


def _move(store: Store, source: str, target: str) -> None:
    if not store.exists(source):
        return  # moved before the interruption
    place = store.path(target)
    if not store.local:
        store.make_folder_of(place)
        store.fs.copy(store.path(source), place)
        store.delete(source)
        return
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    os.replace(store.path(source), place)
    _sync(Path(place).parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
