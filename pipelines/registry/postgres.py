"""A registry in a PostgreSQL database: `postgresql://user:password@host:port/database`. Needs the extra `postgres`."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from filters.errors import BadInput, first_line
from pipelines.registry.database import DEFINITIONS, INDEXES, RECORD_COLUMNS, TABLES

#: Rows of one INSERT; PostgreSQL takes 65,535 parameters.
_ROWS = 1000

#: Number of the lock that makers of a registry take ("AsOr").
_MAKING = 0x41734F72

_TRIGGERS = """
CREATE FUNCTION optout_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the registry is append-only'; END $$
"""


class PostgresDatabase:
    """One connection to a database that holds one registry, in the first schema of the search path."""

    def __init__(self, url: str) -> None:
        self.shown = _without_password(url)
        try:
            import pg8000.dbapi as driver
        except ImportError:
            raise BadInput(f"{self.shown}: install assay-data[postgres] for PostgreSQL") from None
        self._driver = driver
        self._connection: Any = None
        self._in_block = False
        settings = _settings(url, self.shown)
        with self._explained():
            self._connection = driver.connect(**settings)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._explained():
            found = self._execute(sql, parameters)
            if not self._in_block:
                self._connection.commit()
            return [tuple(row) for row in found]

    def insert(self, table: str, columns: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Insert rows, many in one statement."""
        one = f"({', '.join('?' for _ in columns.split(','))})"
        source = iter(rows)
        while some := list(islice(source, _ROWS)):
            sql = f"INSERT INTO {table} ({columns}) VALUES {', '.join([one] * len(some))}"
            with self._explained():
                self._execute(sql, [value for row in some for value in row])

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Lock the entries against other writers (readers go on); commit at the end, roll back on failure."""
        with self._transaction("LOCK TABLE optout_entries IN SHARE ROW EXCLUSIVE MODE"):
            yield

    def create(self, record: tuple[str, int, str]) -> None:
        """Make the tables, their triggers and the registry's own record, all or nothing: DDL is transactional here."""
        # of two makers at once, who have no table to lock yet, the second waits and finds the first one's
        with self._transaction(f"SELECT pg_advisory_xact_lock({_MAKING})"):
            if not self.exists():
                self._make_tables()
            elif self.rows("SELECT 1 FROM optout_registry UNION ALL SELECT 1 FROM optout_entries LIMIT 1"):
                raise BadInput(f"{self.shown}: there is a registry already")
            self.insert(TABLES[0], RECORD_COLUMNS, [record])

    @contextmanager
    def _transaction(self, lock: str) -> Iterator[None]:
        self._in_block = True
        try:
            with self._explained():
                self._execute(lock)
            yield
            with self._explained():
                self._connection.commit()
        except BaseException:
            self._roll_back()
            raise
        finally:
            self._in_block = False

    def _make_tables(self) -> None:
        with self._explained():
            self._execute(_TRIGGERS)
            for table in TABLES:
                self._execute(f"CREATE TABLE {table} ({_typed(DEFINITIONS[table])})")
                for what, each in (("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
                    self._execute(
                        f"CREATE TRIGGER {table}_no_{what.split()[0].lower()} BEFORE {what} ON {table} "
                        f"FOR EACH {each} EXECUTE FUNCTION optout_append_only()"
                    )
            for index in INDEXES:
                self._execute(index)

    def exists(self) -> bool:
        """Tell whether the database holds a registry."""
        return self.rows("SELECT to_regclass(?)", (TABLES[-1],)) != [(None,)]

    def close(self) -> None:
        """Close the connection."""
        with self._explained():
            self._connection.close()

    def _execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        cursor = self._connection.cursor()
        cursor.execute(sql.replace("?", "%s"), tuple(parameters))
        return list(cursor.fetchall()) if cursor.description else []

    def _roll_back(self) -> None:
        if self._connection is None:
            return
        try:
            self._connection.rollback()
        except (self._driver.Error, OSError):
            return  # the connection is gone, and the server rolls back itself

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except self._driver.DatabaseError as error:
            self._roll_back()
            raise BadInput(f"{self.shown}: {_message(error)}") from None
        except (self._driver.Error, OSError) as error:
            raise BadInput(f"{self.shown}: {first_line(error)}") from None


def _typed(columns: str) -> str:
    return columns.replace("BLOB", "BYTEA").replace("REAL", "DOUBLE PRECISION")


def _message(error: Exception) -> str:
    """Return the server's own message: pg8000 hands over its fields as a mapping."""
    fields = error.args[0] if error.args else None
    return str(fields.get("M", "")) if isinstance(fields, dict) else first_line(error)


def _without_password(url: str) -> str:
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1@", url).partition("?")[0]


def _settings(url: str, shown: str) -> dict[str, Any]:
    """Return the connection's settings. TLS with `?sslmode=require` (or `verify-full`), a socket with `?host=`."""
    try:
        parts = urlsplit(url)
        port = parts.port or 5432
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    except ValueError as error:
        raise BadInput(f"{shown}: {first_line(error)}") from None
    if unknown := set(query) - {"sslmode", "host"}:
        raise BadInput(f"{shown}: unknown setting {sorted(unknown)[0]}; sslmode and host are known")
    if not parts.username or not parts.path.strip("/"):
        raise BadInput(f"{shown}: write postgresql://user:password@host:port/database")
    settings: dict[str, Any] = {
        "user": unquote(parts.username),
        "password": unquote(parts.password) if parts.password else None,
        "database": unquote(parts.path.strip("/")),
        "host": parts.hostname or "localhost",
        "port": port,
        "timeout": 60,
    }
    if folder := query.get("host"):
        settings["unix_sock"] = f"{folder.rstrip('/')}/.s.PGSQL.{port}"
    mode = query.get("sslmode", "disable")
    if mode not in ("disable", "require", "verify-full"):
        raise BadInput(f"{shown}: sslmode is disable, require or verify-full")
    if mode in ("require", "verify-full"):
        context = ssl.create_default_context()
        if mode == "require":
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        settings["ssl_context"] = context
    return settings
