"""The run directory as a whole: its recipe, its parts, its lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from filters.errors import BadInput
from pipelines.run.lock import locked
from pipelines.run.parts import Marker, part_indices, part_name, read_marker, read_table
from pipelines.run.recipe import Recipe, parse_recipe
from pipelines.run.staged import committed
from pipelines.run.storage import Store

RECIPE = "recipe.yaml"
MANIFEST = "manifest.json"
#: The opt-out registry's state that the run is up to date with.
REGISTRY = "registry.json"


@dataclass(frozen=True)
class Run:
    """A run directory and the recipe that it was made by."""

    store: Store
    recipe: Recipe

    def parts(self, artefact: str) -> list[int]:
        """Return the indices of the finished parts of an artefact."""
        return part_indices(self.store, artefact)

    def marker(self, artefact: str, index: int) -> Marker:
        """Return the marker of a finished part. Raises `BadInput` where the stage has not run."""
        marker = read_marker(self.store, part_name(artefact, index, ""))
        if marker is None:
            raise BadInput(f"{self.store.url}: {artefact} part {index} is not finished; run the stage before this one")
        return marker

    def table(self, artefact: str, index: int, columns: list[str] | None = None) -> pa.Table:
        """Read one part (some columns, those that it has)."""
        return read_table(self.store, part_name(artefact, index), columns)

    def tables(self, artefact: str, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Read all parts in order."""
        for index in self.parts(artefact):
            yield self.table(artefact, index, columns)

    def rows(self, artefact: str) -> int:
        """Return the number of rows by the markers."""
        return sum(self.marker(artefact, index).rows for index in self.parts(artefact))

    def finished(self) -> bool:
        """Tell whether the run has its manifest."""
        return self.store.exists(MANIFEST)


def create_run(url: str, recipe: Recipe) -> Run:
    """Open `url` as the run of `recipe`, new or unfinished. Raises `BadInput` for another dataset."""
    store = Store(url)
    try:
        if store.exists(RECIPE):
            old = parse_recipe(store.read(RECIPE).decode(), f"{url}/{RECIPE}", [])
            if store.exists(MANIFEST) and old != recipe:
                raise BadInput(
                    f"{url}: holds the finished dataset of another recipe; use another --out, or assay replay"
                )
        _check_free(store)
        store.write(RECIPE, recipe.dump().encode())
    except OSError as error:
        raise BadInput(f"{url}: cannot be written ({error.strerror or error})") from None
    return Run(store, recipe)


def open_run(url: str) -> Run:
    """Open an existing run, with an interrupted retraction finished first. Raises `BadInput` where there is none."""
    store = Store(url)
    if committed(store):
        with locked(store):
            pass
    if not store.exists(RECIPE):
        raise BadInput(f"{url}: no such run (no {RECIPE} there)")
    return Run(store, parse_recipe(store.read(RECIPE).decode(), f"{url}/{RECIPE}", []))


@contextmanager
def locked_place(url: str) -> Iterator[None]:
    """Hold the lock of a run that `create_run` is to open.

    Raises `BadInput` as that and `locked` do, and leaves nothing in a folder that holds other things than a run.
    """
    store = Store(url)
    _check_free(store)
    with locked(store):
        yield


def _check_free(store: Store) -> None:
    if store.local and not store.exists(RECIPE) and _occupied(store):
        raise BadInput(f"{store.url}: exists and is no run (no {RECIPE}); use another --out")


def _occupied(store: Store) -> bool:
    if not store.fs.exists(store.root):
        return False
    entries: list[Any] = store.fs.ls(store.root, detail=False)
    return any(not str(entry).rsplit("/", 1)[-1].startswith(".") for entry in entries)
