"""Finds the runs below the root. A run is reached by looking its name up in a listing, never by joining paths."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from filters.errors import BadInput
from pipelines.run.directory import MANIFEST, RECIPE, Run
from pipelines.run.recipe import parse_recipe
from pipelines.run.staged import committed
from pipelines.run.storage import Store

#: Folders of a run that a page may read, and files at its top.
_FOLDERS = ("ledger", "samples", "scores", "groups", "signals", "matches", "evidence", "thumbnails", "embeddings")
_FURTHER = ("audit", "duplicates", "policies", "receipts", "retractions", "trainings", "statistics", "balance")
_HISTORY = ("exposures", "history", "index", "waivers")
READ = (*_FOLDERS, *_FURTHER, *_HISTORY)

_LONGEST_NAME = 200


@dataclass(frozen=True)
class Place:
    """A run's name in addresses and where it lies, all links resolved."""

    name: str
    path: Path


def find_places(root: Path) -> list[Place]:
    """Return the runs that lie in `root` (or `root` itself), by name.

    A link that leads out of `root` is no run, nor is a name with control characters in it.
    """
    base = root.resolve()
    if (base / RECIPE).is_file():
        return [Place(base.name or "run", base)]
    found = []
    for entry in sorted(os.scandir(base), key=lambda entry: entry.name):
        path = Path(entry.path).resolve()
        inside = path.is_relative_to(base) and path != base
        if inside and _speakable(entry.name) and (path / RECIPE).is_file() and within(path / RECIPE, base):
            found.append(Place(entry.name, path))
    return found


def _speakable(name: str) -> bool:
    return not name.startswith(".") and name.isprintable() and len(name) <= _LONGEST_NAME


def within(path: Path, root: Path) -> bool:
    """Tell whether `path` lies in `root` when all links are followed."""
    return path.resolve().is_relative_to(root.resolve())


def open_place(place: Place) -> Run:
    """Open a run for reading alone. Raises `BadInput` where a retraction was interrupted half way.

    `pipelines.run.directory.open_run` would finish the retraction, which writes.
    """
    store = Store(str(place.path))
    if committed(store):
        raise BadInput(f"{place.name}: a retraction was interrupted; any assay command on the run finishes it")
    return Run(store, parse_recipe(store.read(RECIPE).decode("utf-8", "replace"), f"{place.name}/{RECIPE}", []))


def state_of_files(place: Place) -> list[tuple[str, int, int]]:
    """Return name, size and time of change (ns) of what an index is made from.

    Folders stand for their files: every file of a run is renamed into place, which changes the folder's time.
    """
    found = []
    for name in ("samples", "scores", "ledger", "groups", "shards", RECIPE, MANIFEST):
        if (place.path / name).exists():
            facts = (place.path / name).stat()
            found.append((name, 0 if (place.path / name).is_dir() else facts.st_size, facts.st_mtime_ns))
    return found


def check_links(place: Place, root: Path) -> None:
    """Refuse a run in which a link leads out of `root`. Raises `BadInput`."""
    for name in (RECIPE, MANIFEST, "registry.json", "parent.json"):
        _refuse_way_out(place, place.path / name, root)
    for folder in READ:
        for base, folders, names in os.walk(place.path / folder):
            for name in (*folders, *names):
                path = Path(base) / name
                if path.is_symlink():
                    _refuse_way_out(place, path, root)
        _refuse_way_out(place, place.path / folder, root)


def _refuse_way_out(place: Place, path: Path, root: Path) -> None:
    if not within(path, root):
        name = path.relative_to(place.path)
        raise BadInput(f"{place.name}/{name}: a link out of the folder that is served; it is not read")
