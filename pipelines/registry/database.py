"""What a registry needs of a database, and its tables.

Rows are written once. Triggers refuse updates and deletions, so that only somebody who removes the triggers can
change an entry; and then its hash, or that of the one behind it, no longer fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

#: Names of the tables; the first holds one row: who the registry is.
TABLES = ("optout_registry", "optout_entries", "optout_reviews", "optout_verdicts")

#: Columns of the tables, with BLOB and BIGINT as SQLite writes them.
DEFINITIONS = {
    "optout_registry": "id TEXT NOT NULL, format BIGINT NOT NULL, created_at TEXT NOT NULL",
    "optout_entries": (
        "seq BIGINT NOT NULL PRIMARY KEY, kind TEXT NOT NULL, value TEXT NOT NULL, entry_keys TEXT NOT NULL, "
        "aliases TEXT NOT NULL, requester TEXT NOT NULL, basis TEXT NOT NULL, note TEXT NOT NULL, "
        "created_at TEXT NOT NULL, previous BLOB NOT NULL, hash BLOB NOT NULL"
    ),
    "optout_reviews": (
        "id BIGINT NOT NULL PRIMARY KEY, entry BIGINT NOT NULL, picture TEXT NOT NULL, uid TEXT NOT NULL, "
        "cosine REAL NOT NULL, queued_at TEXT NOT NULL, UNIQUE (entry, picture)"
    ),
    "optout_verdicts": (
        "id BIGINT NOT NULL PRIMARY KEY, review BIGINT NOT NULL, verdict TEXT NOT NULL, reviewer TEXT NOT NULL, "
        "note TEXT NOT NULL, decided_at TEXT NOT NULL"
    ),
}

#: Few entries are of these kinds, and all of them are read at once.
SPECIAL = "kind IN ('pdq', 'embedding', 'grant')"
INDEXES = (f"CREATE INDEX optout_special ON optout_entries (kind, seq) WHERE {SPECIAL}",)

#: Columns of the registry's own record.
RECORD_COLUMNS = "id, format, created_at"

#: Columns of an entry in the order in which they are read and written.
ENTRY_COLUMNS = "seq, kind, value, entry_keys, aliases, requester, basis, note, created_at, previous, hash"


class Database(Protocol):
    """One connection. SQL has `?` for parameters; every error is a `BadInput` that names the registry."""

    #: The registry's URL as it may be shown: without a password.
    shown: str

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        ...

    def insert(self, table: str, columns: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Insert rows; only in a `writing` block."""
        ...

    def writing(self) -> AbstractContextManager[None]:
        """Hold the one writer's place: all that the block inserts is there when it ends well, else nothing."""
        ...

    def create(self, record: tuple[str, int, str]) -> None:
        """Make the tables, their triggers and the registry's own `record` (`RECORD_COLUMNS`), all or nothing.

        Tables without a record, as an older Assay left them that was killed while making them, are given theirs.
        Raises `BadInput` where there is a registry.
        """
        ...

    def exists(self) -> bool:
        """Tell whether the tables are there."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...
