"""The register of issued hallmarks: SQLite by default, PostgreSQL by URL.

One row a picture, written once, before the picture is. It leads from a mark in a stripped file back to the stored
manifest. The row itself need not be trusted: what counts is signed inside the manifest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from filters.errors import BadInput
from pipelines.registry.database import Database
from training.hallmark.gaussian_shading import NONCE_BYTES

_TABLE = "hallmarks"

#: Columns in the order of `Entry`'s fields; nonce and mark may be absent.
_COLUMNS = (
    "id TEXT NOT NULL PRIMARY KEY, sha256 TEXT NOT NULL, pdq BLOB NOT NULL, quality BIGINT NOT NULL, "
    "store BLOB NOT NULL, checkpoint TEXT NOT NULL, dataset TEXT NOT NULL, mark TEXT, nonce BLOB UNIQUE, "
    "created_at TEXT NOT NULL"
)
_INDEXES = (f"CREATE INDEX hallmarks_mark ON {_TABLE} (mark)", f"CREATE INDEX hallmarks_sha256 ON {_TABLE} (sha256)")

#: Marks the SQLite file as ours ("AsHa").
_APPLICATION = 0x41734861

_PAGE = 2000
_HASH_BYTES = 32

_IDENTITY = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Entry:
    """One issued picture.

    `id`: 32 hex digits. `sha256` of the written file. `pdq`: 32 bytes, of the signed pixels, with its `quality`.
    `store`: the manifest store. `checkpoint`, `dataset`: 64 hex digits. `mark`: the word of the mark that was put in
    afterwards (hex); `nonce`: that of the mark at sampling; None where there is none. `created_at`: UTC.
    """

    id: str
    sha256: str
    pdq: bytes
    quality: int
    store: bytes
    checkpoint: str
    dataset: str
    mark: str | None
    nonce: bytes | None
    created_at: datetime


_NAMES = ", ".join(one.name for one in fields(Entry))


class HallmarkRegistry:
    """An open register; nothing here changes or deletes a row. Usable by one thread at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.shown = database.shown

    def __enter__(self) -> HallmarkRegistry:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def add(self, entry: Entry) -> None:
        """Write a row; it is on the disk when this returns. Raises `BadInput`, also for an id or nonce used before."""
        row = _to_row(entry)
        marks = ", ".join("?" for _ in row)
        self._database.rows(f"INSERT INTO {_TABLE} ({_NAMES}) VALUES ({marks})", row)

    def get(self, identity: str) -> Entry | None:
        """Return the row of an id."""
        found = self._select("WHERE id = ?", (identity,))
        return found[0] if found else None

    def issued(self, sha256: str) -> bool:
        """Tell whether a file with this SHA-256 (64 hex digits) was issued."""
        return bool(self._database.rows(f"SELECT 1 FROM {_TABLE} WHERE sha256 = ? LIMIT 1", (sha256,)))

    def by_mark(self, mark: str) -> Iterator[Entry]:
        """Yield the rows whose mark put in afterwards is this one, in order of their ids, in bounded memory."""
        since = ""
        while found := self._select(f"WHERE mark = ? AND id > ? ORDER BY id LIMIT {_PAGE}", (mark, since)):
            yield from found
            since = found[-1].id

    def nonces(self, checkpoint: str | None = None) -> Iterator[tuple[str, bytes]]:
        """Yield (id, nonce) of all pictures that were marked at sampling, in bounded memory.

        With `checkpoint` (64 hex digits) only of those that it made.
        """
        since = ""
        condition, given = ("AND checkpoint = ?", (checkpoint,)) if checkpoint is not None else ("", ())
        sql = (
            f"SELECT id, nonce FROM {_TABLE} WHERE nonce IS NOT NULL AND id > ? {condition} ORDER BY id LIMIT {_PAGE}"
        )
        while found := self._database.rows(sql, (since, *given)):
            yield from (self._checked(name, nonce, NONCE_BYTES) for name, nonce in found)
            since = str(found[-1][0])

    def like(
        self, codes: Sequence[bytes], radius: int, quality: int, mark: str | None = None
    ) -> list[tuple[Entry, int]]:
        """Return rows within `radius` bits of any of these PDQ hashes, nearest first, at most 100, with the distance.

        Only rows of at least that `quality`, and of that `mark` where one is given. Reads every such row's hash.
        """
        near: list[tuple[int, str]] = []
        queries = np.frombuffer(b"".join(codes), np.uint8).reshape(-1, 1, _HASH_BYTES)
        condition, given = ("AND mark = ?", (mark,)) if mark is not None else ("", ())
        since = ""
        sql = f"SELECT id, pdq FROM {_TABLE} WHERE quality >= ? AND id > ? {condition} ORDER BY id LIMIT {_PAGE}"
        while found := self._database.rows(sql, (quality, since, *given)):
            rows = [self._checked(name, pdq, _HASH_BYTES) for name, pdq in found]
            stored = np.frombuffer(b"".join(pdq for _, pdq in rows), np.uint8).reshape(-1, _HASH_BYTES)
            away = np.bitwise_count(stored ^ queries).sum(axis=2, dtype=np.int64).min(axis=0)
            near += [(int(away[at]), rows[at][0]) for at in np.flatnonzero(away <= radius)]
            since = str(found[-1][0])
        return [(entry, distance) for distance, name in sorted(near)[:100] if (entry := self.get(name)) is not None]

    def count(self) -> int:
        """Return the number of rows."""
        return int(self._database.rows(f"SELECT count(*) FROM {_TABLE}")[0][0])

    def _checked(self, identity: Any, value: Any, size: int) -> tuple[str, bytes]:
        """Return an id and what belongs to it, `size` bytes. Raises `BadInput` where they are something else."""
        try:
            return _identity(identity), _bytes(value, size)
        except (TypeError, ValueError):
            raise _changed(self.shown, identity) from None

    def _select(self, condition: str, parameters: tuple[Any, ...]) -> list[Entry]:
        rows = self._database.rows(f"SELECT {_NAMES} FROM {_TABLE} {condition}", parameters)
        return [_from_row(row, self.shown) for row in rows]


def open_register(url: str, create: bool = False) -> HallmarkRegistry:
    """Open a register: a SQLite file, or a `postgresql://` URL. Raises `BadInput`.

    With `create` it is made where it is not there; several processes may do so at once.
    """
    if url.startswith(("postgresql://", "postgres://")):
        return _open_postgres(url, create)
    if "://" in url:
        raise BadInput(f"{url.partition('://')[0]}://…: a register is a SQLite file or a postgresql:// URL")
    return _open_sqlite(Path(url), create)


def _open_sqlite(path: Path, create: bool) -> HallmarkRegistry:
    from pipelines.registry.sqlite import SqliteDatabase

    if not create and not path.is_file():
        raise BadInput(f"{path}: no register of hallmarks")
    if create and not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError as error:
            raise BadInput(f"{path}: cannot be made ({error.strerror})") from None
    database = SqliteDatabase(path)
    try:
        # The tables first: another process may make both in between, and what has tables then has its mark, too.
        tables = {str(row[0]) for row in database.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
        application = database.rows("PRAGMA application_id")[0][0]
        if application != _APPLICATION and tables:
            raise BadInput(f"{path}: a database, but no register of hallmarks")
        if _TABLE not in tables:
            if not create:
                raise BadInput(f"{path}: no register of hallmarks")
            _create_sqlite(database)
    except BaseException:
        database.close()
        raise
    return HallmarkRegistry(database)


def _create_sqlite(database: Database) -> None:
    with database.writing():
        if database.rows("SELECT 1 FROM sqlite_master WHERE name = ?", (_TABLE,)):
            return  # another process was first
        database.rows(f"PRAGMA application_id = {_APPLICATION}")
        database.rows(f"CREATE TABLE {_TABLE} ({_COLUMNS.replace('BIGINT', 'INTEGER')}) STRICT")
        for index in _INDEXES:
            database.rows(index)
        for what in ("UPDATE", "DELETE"):
            database.rows(
                f"CREATE TRIGGER {_TABLE}_no_{what.lower()} BEFORE {what} ON {_TABLE} "
                "BEGIN SELECT RAISE(ABORT, 'the register is append-only'); END"
            )
        database.rows(
            f"CREATE TRIGGER {_TABLE}_no_replace BEFORE INSERT ON {_TABLE} "
            f"WHEN EXISTS (SELECT 1 FROM {_TABLE} WHERE id = NEW.id OR nonce = NEW.nonce) "
            "BEGIN SELECT RAISE(ABORT, 'this id or nonce was issued before'); END"
        )


def _open_postgres(url: str, create: bool) -> HallmarkRegistry:
    from pipelines.registry.postgres import PostgresDatabase

    database = PostgresDatabase(url)
    try:
        if database.rows("SELECT to_regclass(?)", (_TABLE,)) == [(None,)]:
            if not create:
                raise BadInput(f"{database.shown}: no register of hallmarks")
            _create_postgres(database)
    except BaseException:
        database.close()
        raise
    return HallmarkRegistry(database)


def _create_postgres(database: Database) -> None:
    """Make the table in one statement, which PostgreSQL does whole or not at all."""
    statements = [
        "PERFORM pg_advisory_xact_lock(1098074209)",
        f"CREATE TABLE IF NOT EXISTS {_TABLE} ({_COLUMNS.replace('BLOB', 'BYTEA')})",
        *(index.replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS") for index in _INDEXES),
        f"CREATE OR REPLACE FUNCTION {_TABLE}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$f$ BEGIN RAISE EXCEPTION 'the register is append-only'; END $f$",
        *(
            f"CREATE OR REPLACE TRIGGER {_TABLE}_no_{what.split()[0].lower()} BEFORE {what} ON {_TABLE} "
            f"FOR EACH {each} EXECUTE FUNCTION {_TABLE}_append_only()"
            for what, each in (("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT"))
        ),
    ]
    database.rows(f"DO $do$ BEGIN {'; '.join(statements)}; END $do$")


def entry_hash(data: bytes) -> str:
    """Return the SHA-256 of a written file, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def _to_row(entry: Entry) -> tuple[Any, ...]:
    if len(entry.pdq) != _HASH_BYTES:
        raise ValueError(f"a PDQ hash has {_HASH_BYTES} bytes, this one {len(entry.pdq)}")
    values = [getattr(entry, one.name) for one in fields(Entry)]
    return (*values[:-1], entry.created_at.astimezone(timezone.utc).isoformat(timespec="milliseconds"))


def _from_row(row: tuple[Any, ...], shown: str) -> Entry:
    identity, sha256, pdq, quality, store, checkpoint, dataset, mark, nonce, created_at = row
    try:
        return Entry(
            id=_identity(identity),
            sha256=_text(sha256),
            pdq=_bytes(pdq, _HASH_BYTES),
            quality=_number(quality),
            store=_bytes(store),
            checkpoint=_text(checkpoint),
            dataset=_text(dataset),
            mark=None if mark is None else _text(mark),
            nonce=None if nonce is None else _bytes(nonce, NONCE_BYTES),
            created_at=_time(created_at),
        )
    except (TypeError, ValueError):
        raise _changed(shown, identity) from None


def _changed(shown: str, identity: Any) -> BadInput:
    return BadInput(f"{shown}: the row {str(identity)[:80]} cannot be read: it was changed behind Assay's back")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _identity(value: Any) -> str:
    if _IDENTITY.fullmatch(_text(value)) is None:
        raise ValueError
    return str(value)


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError
    return value


def _bytes(value: Any, size: int | None = None) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):  # bytes() of a number makes so many
        raise TypeError
    data = bytes(value)
    if size is not None and len(data) != size:
        raise ValueError
    return data


def _time(value: Any) -> datetime:
    found = datetime.fromisoformat(_text(value))
    if found.tzinfo is None:
        raise ValueError
    return found
