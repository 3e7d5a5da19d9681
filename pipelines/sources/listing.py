"""Finding input files behind a path, glob or fsspec URL."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import fsspec

from filters.errors import BadInput, first_line


def find_files(url: str, suffixes: tuple[str, ...]) -> tuple[Any, str, list[str]]:
    """Return (file system, root, sorted full paths) of the files behind `url`.

    `url` is one file, a folder (searched for `suffixes`, recursively) or a glob. Raises `BadInput` where
    nothing is there, or nothing that fits.
    """
    try:
        fs, path = fsspec.core.url_to_fs(url)
        if any(mark in path for mark in "*?["):
            paths = [p for p in fs.glob(path) if fs.isfile(p)]
            root = path[: min(path.index(m) for m in "*?[" if m in path)].rpartition("/")[0]
        elif fs.isfile(path):
            paths, root = [path], path.rpartition("/")[0]
        elif fs.isdir(path):
            paths, root = [p for p in fs.find(path) if p.lower().endswith(suffixes)], path.rstrip("/")
        else:
            raise BadInput(f"{url}: no such input file, folder or glob")
    except (OSError, ImportError, ValueError) as error:
        raise BadInput(f"{url}: cannot read the input ({first_line(error)})") from None
    if not paths:
        raise BadInput(f"{url}: the input is empty (no {', '.join(suffixes)} file)")
    return fs, root, sorted(paths)


def relative(path: str, root: str) -> str:
    """Return `path` relative to `root`, whole where it lies elsewhere."""
    return path[len(root) + 1 :] if root and path.startswith(root + "/") else path.lstrip("/")


def state_of(fs: Any, paths: Iterable[str], wanted: Callable[[str], bool] = lambda _: True) -> str:
    """Return a text that changes when one of the files changes: size and time or tag of each."""
    states = []
    for path in paths:
        if wanted(path):
            info = fs.info(path)
            stamp = next((info[k] for k in ("ETag", "etag", "mtime", "LastModified", "created") if k in info), "")
            states.append(f"{info.get('size')}:{stamp}")
    return "|".join(states)


def full_url(fs: Any, path: str) -> str:
    """Return a URL that opens `path` again in another process."""
    return str(fs.unstrip_protocol(path))
