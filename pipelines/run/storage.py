"""Files of a run on any fsspec URL, written so that a reader never sees half of one.

On a local disk: temporary name, fsync, atomic rename. Elsewhere (object stores, memory) a put is atomic,
and a rename is a copy, so the finished temporary file, on this machine's disk, is put under its final name. Large
files go up in pieces, and the object is there once the last step names them all: killed before, it is not.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

import fsspec

from filters.errors import BadInput, first_line
from pipelines.run.steady import Steady, protocols_of

_TEMPORARY = ".tmp-"

#: fsspec's names of the file systems in which a path is a key, and folders do not exist.
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci"}


class Store:
    """One directory on a file system; all paths are relative to it, with forward slashes."""

    def __init__(self, url: str) -> None:
        if not url:  # fsspec would take the current folder
            raise BadInput("an empty path: give the folder or URL of a run")
        try:
            # other processes write as well: what was listed a moment ago need not be so
            self.fs, self.root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise BadInput(f"{url}: {first_line(error)}") from None
        self.url = url
        self.root = self.root.rstrip("/") or "/"
        protocols = protocols_of(self.fs)
        self.local = "file" in protocols
        self._has_folders = not protocols & OBJECT_STORES
        if not self.local:
            self.fs = Steady(self.fs)

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return Store, (self.url,)

    def path(self, name: str) -> str:
        """Return the full path of `name`; refuses names that leave the directory."""
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{name}: leaves the store")
        return f"{self.root.rstrip('/')}/{name}"

    def exists(self, name: str) -> bool:
        """Tell whether the file is there."""
        return bool(self.fs.exists(self.path(name)))

    def size(self, name: str) -> int | None:
        """Return the size in bytes, None where the file is absent."""
        try:
            return int(self.fs.info(self.path(name))["size"])
        except FileNotFoundError:
            return None

    def open(self, name: str) -> IO[bytes]:
        """Open for reading. Raises `BadInput` where the file is absent."""
        try:
            stream: IO[bytes] = self.fs.open(self.path(name), "rb")
        except FileNotFoundError:
            raise BadInput(f"{self.url}/{name}: no such file") from None
        return stream

    def find(self, name: str) -> bytes | None:
        """Return the whole file, None where it is absent; one request to an object store, not one for each step."""
        path = self.path(name)
        try:
            data: bytes = Path(path).read_bytes() if self.local else self.fs.cat_file(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return data

    def read(self, name: str) -> bytes:
        """Return the whole file. Raises `BadInput` where it is absent."""
        data = self.find(name)
        if data is None:
            raise BadInput(f"{self.url}/{name}: no such file")
        return data

    def list(self, folder: str) -> list[str]:
        """Return the names of the files directly in `folder`, sorted, without temporary ones."""
        try:
            # another process may have written since fsspec last looked
            self.fs.invalidate_cache()
            entries = self.fs.ls(self.path(folder), detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = [entry["name"].rsplit("/", 1)[-1] for entry in entries if entry["type"] == "file"]
        return sorted(f"{folder}/{name}" for name in names if _TEMPORARY not in name)

    def write(self, name: str, data: bytes) -> None:
        """Write the whole file atomically."""
        with self.create(name) as path:
            path.write_bytes(data)

    @contextmanager
    def create(self, name: str) -> Iterator[Path]:
        """Give a local temporary path; what was written there appears as `name` when the block ends well."""
        target = self.path(name)
        if self.local:
            folder = Path(target).parent
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = Path(tempfile.gettempdir())
        temporary = folder / f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}-{Path(target).name}"
        try:
            yield temporary
            self._publish(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)

    def _publish(self, temporary: Path, target: str) -> None:
        if not self.local:
            self.make_folder_of(target)
            self.fs.put_file(str(temporary), target)
            return
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, target)
        descriptor = os.open(Path(target).parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def make_folder_of(self, path: str) -> None:
        """Make the folder of a full path where the file system has folders.

        An object store has none, and asked for one, s3fs would make a bucket of a mistyped name.
        """
        if self._has_folders:
            self.fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)

    def delete(self, name: str) -> None:
        """Delete the file if it is there."""
        try:
            self.fs.rm_file(self.path(name))
        except FileNotFoundError:
            return

    def sweep(self) -> None:
        """Delete temporary files that a killed job left behind. Only under the run's lock."""
        if self.local and Path(self.root).is_dir():
            for path in Path(self.root).rglob(f"{_TEMPORARY}*"):
                path.unlink(missing_ok=True)


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a local file, 64 hex digits."""
    with path.open("rb") as stream:
        return sha256_stream(stream)


def sha256_stream(stream: IO[bytes]) -> str:
    """Return the SHA-256 of what is left in `stream`, 64 hex digits."""
    digest = hashlib.sha256()
    while chunk := stream.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()
