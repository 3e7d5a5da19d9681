"""The runs that a dashboard knows, each with its index: made once, kept outside the run, opened read-only."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from dashboards.web.columns import Column, Columns
from dashboards.web.indexing import VERSION, Part, build
from dashboards.web.places import Place, check_links, find_places, open_place, state_of_files, within
from dashboards.web.settings import Settings
from filters.errors import AssayError, BadInput
from pipelines.engine import explain
from pipelines.run.directory import Run
from pipelines.run.parts import part_name

#: Seconds for which a look at the disk holds. A run that changes is indexed again after this.
_FRESH = 1.0

#: Seconds after which an index that could not be made (a full disk, say) is tried again.
_RETRY = 15.0


class UnknownRun(LookupError):
    """No run of that name lies below the root."""


class NotReady(Exception):
    """The run's index is being made; `done` of `total` rows are in."""

    def __init__(self, done: int, total: int) -> None:
        super().__init__("the run is being indexed")
        self.done, self.total = done, total


class Unreadable(Exception):
    """The run is there and cannot be shown; the message says why."""


class Reader:
    """A run's index for one request. `rows` runs one statement; values go in as parameters, never into its text."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of one SELECT."""
        found: list[tuple[Any, ...]] = self._connection.execute(sql, list(parameters)).fetchall()
        return found

    def dicts(self, sql: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
        """Return the rows of one SELECT by column name."""
        cursor = self._connection.execute(sql, list(parameters))
        names = [item[0] for item in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@dataclass(frozen=True)
class Opened:
    """A run that can be shown: its directory, its index's columns and parts, and a reader of the index."""

    name: str
    place: Place
    run: Run
    columns: Columns
    parts: tuple[Part, ...]
    reader: Reader

    def part_of(self, row: int) -> Part:
        """Return the part that holds position `row`."""
        return next(part for part in self.parts if part.start <= row < part.start + part.rows)

    def files(self, artefact: str) -> list[str]:
        """Return the paths of an artefact's parts that are there, for `read_parquet(?)`."""
        found = [self.file(artefact, part) for part in self.parts]
        return [path for path in found if path is not None]

    def file(self, artefact: str, part: Part) -> str | None:
        """Return the path of one part, None where it is not there or a link leads out of the run."""
        path = self.place.path / part_name(artefact, part.index)
        return str(path) if path.is_file() and within(path, self.place.path) else None


@dataclass
class _Entry:
    """What is known of one run between requests."""

    checked: float = 0.0
    key: str = ""
    run: Run | None = None
    attached: str = ""
    columns: Columns | None = None
    parts: tuple[Part, ...] = ()
    problem: str = ""
    again: float = 0.0
    building: Future[None] | None = None
    progress: list[int] = field(default_factory=lambda: [0, 0])
    lock: threading.Lock = field(default_factory=threading.Lock)


class Catalogue:
    """Finds runs, makes their indexes one after the other, and hands out readers. Safe to use from many threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._root = settings.root.resolve()
        self._cache = _private_folder(settings.cache)
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()
        self._listed: tuple[float, list[Place]] = (0.0, [])
        self._builder = ThreadPoolExecutor(1, "index")
        self._stopping = threading.Event()
        self._database = duckdb.connect(":memory:", config={"memory_limit": settings.memory})
        self._database.execute(f"SET threads={int(settings.threads)}")
        self._database.execute("SET autoinstall_known_extensions=false")
        self._database.execute("SET autoload_known_extensions=false")
        folders = [f"{folder}/" for folder in (self._root, self._cache)]
        self._database.execute("SET allowed_directories=?", [folders])
        self._database.execute("SET enable_external_access=false")
        self._database.execute("SET lock_configuration=true")

    def close(self) -> None:
        """Stop the builder, in the middle of an index if need be, and let go of the indexes."""
        self._stopping.set()
        self._builder.shutdown(wait=False, cancel_futures=True)
        self._database.close()

    def places(self) -> list[Place]:
        """Return the runs below the root, by name."""
        with self._lock:
            at, found = self._listed
            if time.monotonic() - at > _FRESH or not at:
                found = find_places(self._root)
                self._listed = (time.monotonic(), found)
            return found

    def place(self, name: str) -> Place:
        """Return the run of that name. Raises `UnknownRun`."""
        found = next((place for place in self.places() if place.name == name), None)
        if found is None:
            raise UnknownRun(name)
        return found

    def directory(self, name: str) -> Run:
        """Return the run's directory, decided or not. Raises `UnknownRun`, `Unreadable`."""
        place = self.place(name)
        try:
            check_links(place, self._root)
            return open_place(place)
        except (AssayError, OSError) as error:
            raise Unreadable(_words(error, place)) from None

    def open(self, name: str, patience: float | None = None) -> Opened:
        """Return the run with its index. Raises `UnknownRun`, `NotReady`, `Unreadable`."""
        place = self.place(name)
        with self._lock:
            entry = self._entries.setdefault(str(place.path), _Entry())
        with entry.lock:
            if time.monotonic() - entry.checked > _FRESH:
                self._look(place, entry)
            building = entry.building
        if building is not None:
            try:
                building.result(self.settings.patience if patience is None else patience)
            except NotYet:
                raise NotReady(*entry.progress) from None
        with entry.lock:
            if entry.building is not None and entry.building.done():
                self._finish(entry)
            if entry.problem:
                raise Unreadable(entry.problem)
            if entry.columns is None or entry.run is None:
                raise NotReady(*entry.progress)
            connection = self._database.cursor()
            connection.execute(f"USE {entry.attached}")
            return Opened(name, place, entry.run, entry.columns, entry.parts, Reader(connection))

    def _look(self, place: Place, entry: _Entry) -> None:
        """Compare the run on the disk with what the index was made from."""
        try:
            key = _key(place)
        except (AssayError, OSError) as error:
            entry.problem, entry.key, entry.checked = _words(error, place), "", time.monotonic()
            return
        entry.checked = time.monotonic()
        if key == entry.key and (not entry.problem or entry.building is not None or entry.checked < entry.again):
            return
        entry.again = entry.checked + _RETRY
        entry.key, entry.problem, entry.columns, entry.progress = key, "", None, [0, 0]
        entry.building = self._builder.submit(self._prepare, place, entry, key)

    def _prepare(self, place: Place, entry: _Entry, key: str) -> None:
        """Make the index where there is none yet. Runs in the builder's thread."""
        target = self._cache / f"{_short(str(place.path))}-{key}.duckdb"

        def told(done: int, total: int) -> None:
            entry.progress = [done, total]
            if self._stopping.is_set():
                raise BadInput("the dashboard was stopped")

        try:
            check_links(place, self._root)
            run = open_place(place)
            if not target.exists():
                build(run, target, self.settings.memory, self.settings.threads, told)
                _forget_older(target)
            entry.run = run
        except (AssayError, OSError, duckdb.Error) as error:
            entry.problem = _words(error, place)

    def _finish(self, entry: _Entry) -> None:
        """Attach the new index in place of the old one."""
        entry.building = None
        if entry.problem or entry.run is None:
            return
        target = self._cache / f"{_short(entry.run.store.root)}-{entry.key}.duckdb"
        name = f"run_{target.stem.replace('-', '_')}"
        try:
            quoted = str(target).replace("'", "''")
            self._database.execute(f"ATTACH IF NOT EXISTS '{quoted}' AS {name} (READ_ONLY)")
            reader = Reader(self._database.cursor())
            (body,) = reader.rows(f"SELECT body FROM {name}.about")[0]
            entry.parts = tuple(Part(*row) for row in reader.rows(f"SELECT * FROM {name}.parts ORDER BY start"))
            entry.columns, entry.attached = _read_columns(json.loads(body)), name
        except duckdb.Error as error:
            entry.problem = f"the index is unreadable ({str(error).splitlines()[0]}); delete {target.name}"


def _read_columns(body: dict[str, Any]) -> Columns:
    found = body["columns"]
    return Columns(tuple(Column(**c) for c in found["scores"]), tuple(Column(**c) for c in found["groups"]))


def _key(place: Place) -> str:
    return _short(json.dumps([VERSION, duckdb.__version__, state_of_files(place)]))


def _short(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()


def _forget_older(target: Path) -> None:
    """Delete indexes of earlier states of the same run, and its search files. Whoever has one open keeps it."""
    run = target.stem.partition("-")[0]
    for path in target.parent.glob(f"{run}-*.duckdb"):
        if path != target:
            path.unlink(missing_ok=True)
    # files for searches by picture hold hashes of samples that a retraction has taken out
    for folder in target.parent.glob(f"search-{run}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _private_folder(path: Path) -> Path:
    """Make the folder for indexes; they hold captions, so nobody else may read them. Raises `BadInput`."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not os.access(path, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise BadInput(f"{path}: no index can be kept there ({error.strerror}); set XDG_CACHE_HOME") from None
    return path.resolve()


def _words(error: BaseException, place: Place) -> str:
    """Return one line without the place of the run on this machine."""
    text = explain(error) if isinstance(error, OSError) else str(error)
    return " ".join(text.split()).replace(str(place.path), place.name)
