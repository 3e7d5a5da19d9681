"""The canary: a job that does nothing but tell where it ran and with what.

Its module is imported by workers: it imports no more than they need.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import time
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any

from filters import __version__
from filters.cores import available_cores
from filters.errors import AssayError, BadInput
from pipelines.run.storage import Store

#: Seconds that a part stays, so that one quick worker does not do all parts.
_STAY = 0.5


@dataclass(frozen=True)
class Note:
    """What one part's worker tells: where, which process, cores, versions, models loaded, and those that failed."""

    host: str
    process: int
    cores: int
    versions: dict[str, str]
    loaded: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Canary:
    """Loads scorers in each worker and leaves a note a part in `folder` (any fsspec URL; None: leaves none)."""

    folder: str | None
    scorers: tuple[str, ...] = ()
    model: str = "builtin:mini"
    heads: Any | None = None

    def load(self) -> None:
        """Nothing: a model that fails is told by the note, not by an error."""

    def run(self, index: int) -> None:
        """Write the note of part `index`."""
        loaded, failed = self._models()
        versions = {
            "python": platform.python_version(),
            "apache-beam": metadata.version("apache-beam"),
            "assay": __version__,
        }
        note = Note(socket.gethostname(), os.getpid(), available_cores(), versions, loaded, failed)
        time.sleep(_STAY)
        if self.folder is not None:
            Store(self.folder).write(f"{index:05d}.json", json.dumps(asdict(note)).encode())

    def _models(self) -> tuple[list[str], dict[str, str]]:
        loaded: list[str] = []
        failed: dict[str, str] = {}
        if not self.scorers:
            return loaded, failed
        from pipelines.jobs.score import unloaded_scorer

        for name in self.scorers:
            try:
                heads = () if self.heads is None else (self.heads,)
                unloaded_scorer(name, self.model, *heads).load()
                loaded.append(name)
            except (AssayError, ImportError, OSError) as error:
                failed[name] = str(error).splitlines()[0] if str(error) else type(error).__name__
        return loaded, failed


def read_notes(canary: Canary) -> list[Note]:
    """Return the notes that can be read from here, and delete them."""
    notes: list[Note] = []
    if canary.folder is None:
        return notes
    store = Store(canary.folder)
    store.fs.invalidate_cache()
    # the folder itself is the store: its files are listed by its own path
    for entry in sorted(store.fs.ls(store.root, detail=False)) if store.fs.exists(store.root) else []:
        name = str(entry).rsplit("/", 1)[-1]
        try:
            notes.append(Note(**json.loads(store.read(name))))
        except (ValueError, TypeError, BadInput):
            continue
    if store.fs.exists(store.root):
        store.fs.rm(store.root, recursive=True)
    return notes
