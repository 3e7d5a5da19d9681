"""Finding input files behind a path, glob or fsspec URL, and reading them.

A failure of the disk or store is asked again and then an error of the job: taken for content, one that passes would
cost samples for good. What is left to a source is what a file holds, or that it is gone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, TypeVar

import fsspec
from fsspec.compression import compr
from fsspec.core import get_compression
from fsspec.utils import glob_translate

from filters.errors import BadInput, first_line
from pipelines.run.steady import Steady, StoreFailed, protocols_of
from pipelines.run.storage import OBJECT_STORES

T = TypeVar("T")

_MARKS = "*?["


def find_files(url: str, suffixes: tuple[str, ...]) -> tuple[Steady, str, list[str]]:
    """Return (file system, root, sorted full paths) of the files behind `url`.

    `url` is one file, a folder (searched for `suffixes`, recursively) or a glob. Raises `BadInput` where
    nothing is there, nothing that fits, or a folder that cannot be read, and `StoreFailed`.
    """
    try:
        fs, path = input_fs(url)
        if any(mark in path for mark in _MARKS):
            root = path[: min(path.index(m) for m in _MARKS if m in path)].rpartition("/")[0]
            paths = _matching(fs, root, path)
        elif (kind := _kind(fs, path)) == "file":
            paths, root = [path], path.rpartition("/")[0]
        elif kind == "directory":
            paths, root = [p for p in _below(fs, path) if p.lower().endswith(suffixes)], path.rstrip("/")
        else:
            raise BadInput(f"{url}: no such input file, folder or glob")
    except (OSError, ImportError, ValueError) as error:
        raise BadInput(f"{url}: cannot read the input ({first_line(error)})") from None
    if not paths:
        raise BadInput(f"{url}: the input is empty (no {', '.join(suffixes)} file)")
    return fs, root, sorted(paths)


def input_fs(url: str) -> tuple[Steady, str]:
    """Return the file system of `url`, asked again where it fails, and the path on it."""
    fs, path = fsspec.core.url_to_fs(url)
    return Steady(fs), str(path)


@contextmanager
def opened(url: str, compression: str | None = None) -> Iterator[IO[bytes]]:
    """Open an input file for reading, unpacked; `compression` is fsspec's name of one, or `infer`.

    Raises `OSError` for what the file is (none, a pipe, another owner's), `StoreFailed` where disk or store go on
    failing or are gone.
    """
    fs, path = input_fs(url)
    unpack = get_compression(path, compression)
    with listed(fs, path, fs.open) as stream:
        if unpack is None:
            yield stream
            return
        with compr[unpack](stream, mode="r") as unpacked:
            yield unpacked


@contextmanager
def opened_file(url: str) -> Iterator[IO[bytes]]:
    """Open one file that the user named, as it is. Raises as `opened`, and `OSError` where there is none."""
    fs, path = input_fs(url)
    with fs.open(path) as stream:
        yield stream


def listed(fs: Steady, path: str, read: Callable[[str], T]) -> T:
    """Return what `read` makes of a file that was listed.

    Raises as `opened`, and `StoreFailed` where the file's whole folder is gone or empty.

    A disk that was unmounted, or a bucket that was emptied, says nothing about one file.
    """
    try:
        if "file" in protocols_of(fs) and fs.info(path)["type"] == "other":
            raise OSError(f"{path}: is no plain file")  # a pipe: its opening would wait for ever
        return read(path)
    except FileNotFoundError:
        folder = path.rpartition("/")[0]
        if fs.exists(folder) and fs.ls(folder, detail=False):
            raise
        words = f"{path}: gone, with all of its folder; bring the input back"
        raise StoreFailed(f"{words} and run the same command again, it resumes") from None


def _kind(fs: Steady, path: str) -> str | None:
    try:
        return str(fs.info(path)["type"])
    except (FileNotFoundError, NotADirectoryError):
        return None


def _matching(fs: Steady, root: str, pattern: str) -> list[str]:
    """Return the files that a glob matches; fsspec's own leaves out folders that it fails to list."""
    depth = None if "**" in pattern else pattern[len(root) + 1 :].count("/") + 1
    fits = re.compile(glob_translate(pattern))
    top = root or ("/" if pattern.startswith("/") else "")
    found = [entry for entry in _entries(fs, top, depth) if fits.match(entry["name"])]
    return [e["name"] for e in found if e["type"] == "file" or _kind(fs, e["name"]) == "file"]


def _below(fs: Steady, folder: str) -> list[str]:
    """Return all files in a folder and the folders in it."""
    if protocols_of(fs) & OBJECT_STORES:  # one flat list there, with a failure told
        return [str(path) for path in fs.find(folder)]
    return [entry["name"] for entry in _entries(fs, folder, None)]


def _entries(fs: Steady, top: str, depth: int | None) -> Iterator[dict[str, Any]]:
    """Yield what lies in `top`, at most `depth` levels down, without the folders. No link to a folder is followed."""
    waiting = [(top, 1)]
    while waiting:
        folder, level = waiting.pop()
        try:
            entries = fs.ls(folder, detail=True)
        except (FileNotFoundError, NotADirectoryError):  # gone since it was listed
            continue
        for entry in entries:
            name = entry["name"].rstrip("/")
            if name == folder.rstrip("/"):  # a store's mark for an empty folder
                continue
            if entry["type"] != "directory":
                yield {**entry, "name": name}
            elif depth is None or level < depth:
                waiting.append((name, level + 1))


def relative(path: str, root: str) -> str:
    """Return `path` relative to `root`, whole where it lies elsewhere."""
    return path[len(root) + 1 :] if root and path.startswith(root + "/") else path.lstrip("/")


def state_of(fs: Any, paths: Iterable[str], wanted: Callable[[str], bool] = lambda _: True) -> str:
    """Return a text that changes when one of the files changes: size and time or tag of each.

    A file that is gone since it was listed, or a link to nowhere, has a state as well: reading it is what tells of it.
    """
    states = []
    for path in paths:
        if wanted(path):
            try:
                info = fs.info(path)
            except OSError:
                states.append("unreadable")
                continue
            stamp = next((info[k] for k in ("ETag", "etag", "mtime", "LastModified", "created") if k in info), "")
            states.append(f"{info.get('size')}:{stamp}")
    return "|".join(states)


def full_url(fs: Any, path: str) -> str:
    """Return a URL that opens `path` again in another process."""
    return str(fs.unstrip_protocol(path))
