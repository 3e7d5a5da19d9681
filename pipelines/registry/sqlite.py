"""A registry in one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from filters.errors import BadInput, first_line
from pipelines.registry.database import DEFINITIONS, INDEXES, RECORD_COLUMNS, TABLES

#: Marks the file as ours ("AsOr").
_APPLICATION = 0x41734F72

#: Seconds for which one writer waits for another, and for which a reader waits for a large import.
_PATIENCE = 60.0


class SqliteDatabase:
    """One connection to a registry's file. Entries are plain rows: `sqlite3 FILE` shows them."""

    def __init__(self, path: Path, create: bool = False, patience: float = _PATIENCE) -> None:
        self.shown = str(path)
        self.path = path
        try:
            if not create and not path.is_file():
                raise BadInput(f"{path}: no registry; make one with assay optout init {path}")
            if create and path.exists() and not _unmade(path, patience):
                raise BadInput(f"{path}: there is a file already; choose another name")
        except OSError as error:
            raise BadInput(f"{str(path)[:200]}: {error.strerror}") from None
        with self._explained():
            uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
            # Beam sets a unit up on one thread and calls it on another, never on two at once.
            self._connection = sqlite3.connect(uri, uri=True, timeout=patience, check_same_thread=False)
            self._connection.isolation_level = None
            # A commit is on the disk when it returns.
            self._connection.execute("PRAGMA synchronous = FULL")
            # Appending a large import must not lock readers out before it ends: pages are held back up to here.
            self._connection.execute("PRAGMA cache_size = -65536")
            self._connection.execute("PRAGMA trusted_schema = OFF")

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._explained():
            return self._connection.execute(sql, parameters).fetchall()

    def insert(self, table: str, columns: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Insert rows."""
        marks = ", ".join("?" for _ in columns.split(","))
        with self._explained():
            self._connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the write lock for the block; commit at its end, roll back when it fails."""
        with self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            with self._explained():
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def create(self, record: tuple[str, int, str]) -> None:
        """Make the tables, their triggers and the registry's own record, all or nothing."""
        with self.writing():
            # asked again: of two makers at once the second has waited here for the first
            if not self.exists():
                self._make_tables()
            elif self.rows("SELECT 1 FROM optout_registry UNION ALL SELECT 1 FROM optout_entries LIMIT 1"):
                raise BadInput(f"{self.shown}: there is a registry already")
            self.insert(TABLES[0], RECORD_COLUMNS, [record])

    def _make_tables(self) -> None:
        with self._explained():
            self._connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            for table in TABLES:
                self._connection.execute(f"CREATE TABLE {table} ({_typed(DEFINITIONS[table])}) STRICT")
                for what in ("UPDATE", "DELETE"):
                    self._connection.execute(
                        f"CREATE TRIGGER {table}_no_{what.lower()} BEFORE {what} ON {table} "
                        f"BEGIN SELECT RAISE(ABORT, 'the registry is append-only'); END"
                    )
                self._connection.execute(_only_next(table))
            for index in INDEXES:
                self._connection.execute(index)

    def exists(self) -> bool:
        """Tell whether the file is a registry."""
        mine = self.rows("PRAGMA application_id") == [(_APPLICATION,)]
        return mine and bool(self.rows("SELECT 1 FROM sqlite_master WHERE name = ?", (TABLES[-1],)))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise BadInput(f"{self.shown}: another process is writing to the registry; try again later") from None
            raise BadInput(f"{self.shown}: {first_line(error)}") from None
        except sqlite3.DatabaseError as error:
            raise BadInput(f"{self.shown}: no usable registry ({first_line(error)})") from None


def _unmade(path: Path, patience: float) -> bool:
    """Tell whether a file is what a killed maker left: empty, or ours without the registry's own record."""
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=patience)) as found:
            # the first reading undoes what a journal beside the file says was not finished
            tables = [name for (name,) in found.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            if not tables:
                return bool(found.execute("PRAGMA page_count").fetchone() == (0,))
            mine = found.execute("PRAGMA application_id").fetchone() == (_APPLICATION,)
            if not mine or not set(TABLES) <= set(tables):
                return False
            held = "SELECT 1 FROM optout_registry UNION ALL SELECT 1 FROM optout_entries LIMIT 1"
            return not found.execute(held).fetchall()
    except sqlite3.DatabaseError:
        return False


def _typed(columns: str) -> str:
    # INTEGER PRIMARY KEY is the row's own number: no second tree.
    return columns.replace("BIGINT NOT NULL PRIMARY KEY", "INTEGER PRIMARY KEY").replace("BIGINT", "INTEGER")


def _only_next(table: str) -> str:
    """Return a trigger that takes only the next number: `INSERT OR REPLACE` would overwrite without a deletion."""
    if table == "optout_registry":
        condition = "EXISTS (SELECT 1 FROM optout_registry)"
    else:
        number = "seq" if table == "optout_entries" else "id"
        condition = f"NEW.{number} IS NOT (SELECT coalesce(max({number}), 0) + 1 FROM {table})"
    return (
        f"CREATE TRIGGER {table}_only_next BEFORE INSERT ON {table} WHEN {condition} "
        f"BEGIN SELECT RAISE(ABORT, 'the registry is append-only'); END"
    )
