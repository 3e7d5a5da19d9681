"""The registry: entries in the order in which they came, each chained to the one before."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from audit.compliance import Problem
from filters.errors import BadInput
from filters.optout.entries import Draft, Entry, Kind, make_entry, read_stamp, stamp, true_hash
from pipelines.registry.database import ENTRY_COLUMNS, RECORD_COLUMNS, SPECIAL, Database

#: Version of the tables and of the chain.
FORMAT = 1

#: Entries read or written at once; bounds the memory.
_PAGE = 5_000
_MAX_PROBLEMS = 100


@dataclass(frozen=True)
class Snapshot:
    """The registry up to entry `seq` (0: none), whose hash is `hash`; `at` is when it was looked at, in UTC.

    Whoever keeps the hash can tell later that nothing before it was changed or taken away.
    """

    seq: int
    hash: str
    at: datetime


class Appended(NamedTuple):
    """Numbers of the entries that one call appended (`last < first`: none), and the registry with them."""

    first: int
    last: int
    snapshot: Snapshot


class Registry:
    """An open registry. Append-only: nothing here changes or deletes an entry."""

    def __init__(self, url: str, database: Database) -> None:
        """Use `open_registry`. Raises `BadInput` for a registry of another version."""
        self.url = url
        self.database = database
        found = database.rows(f"SELECT {RECORD_COLUMNS} FROM optout_registry")
        if not found:
            raise BadInput(f"{database.shown}: the registry's own record is missing; see assay optout init")
        if len(found) > 1:
            raise BadInput(f"{database.shown}: the registry's own record is there twice")
        self.id, version, self.created_at = str(found[0][0]), found[0][1], str(found[0][2])
        if version != FORMAT:
            raise BadInput(f"{database.shown}: registry format {version}, this Assay reads {FORMAT}")
        self.genesis = _genesis(self.id, self.created_at)

    def close(self) -> None:
        """Close the connection."""
        self.database.close()

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def append(self, drafts: Iterable[Draft], at: datetime | None = None) -> Appended:
        """Append entries, all or none; the time is `at`, by default now.

        Other writers wait meanwhile. Raises `BadInput` for a draft that is no entry, and what `drafts` raises;
        then nothing is appended.
        """
        with self.database.writing():
            last, head = self._head()
            first = last + 1
            now = at or datetime.now(timezone.utc)
            page: list[tuple[Any, ...]] = []
            for draft in drafts:
                entry = make_entry(draft, last + 1, head, now)
                last, head = entry.seq, entry.hash
                page.append(_to_row(entry))
                if len(page) >= _PAGE:
                    self.database.insert("optout_entries", ENTRY_COLUMNS, page)
                    page = []
            if page:
                self.database.insert("optout_entries", ENTRY_COLUMNS, page)
        return Appended(first, last, Snapshot(last, head, datetime.now(timezone.utc)))

    def entries(self, since: int = 0, until: int | None = None) -> Iterator[Entry]:
        """Yield the entries with `since` < number <= `until` in order, in bounded memory. Hashes are not checked."""
        while until is None or since < until:
            found = self.database.rows(
                f"SELECT {ENTRY_COLUMNS} FROM optout_entries WHERE seq > ? ORDER BY seq LIMIT {_PAGE}", (since,)
            )
            for row in found:
                if until is not None and row[0] > until:
                    return
                yield _from_row(row)
            if len(found) < _PAGE:
                return
            since = found[-1][0]

    def some(self, numbers: Iterable[int]) -> list[Entry]:
        """Return the entries of these numbers, as far as they are there."""
        wanted = sorted(set(numbers))
        found: list[Entry] = []
        for start in range(0, len(wanted), 500):
            part = wanted[start : start + 500]
            marks = ", ".join("?" for _ in part)
            sql = f"SELECT {ENTRY_COLUMNS} FROM optout_entries WHERE seq IN ({marks}) ORDER BY seq"
            found += [_from_row(row) for row in self.database.rows(sql, part)]
        return found

    def special(self, kind: Kind, until: int) -> Iterator[Entry]:
        """Yield all entries up to a number of one of the kinds `pdq`, `embedding` and `grant`, in order."""
        since = 0
        sql = (
            f"SELECT {ENTRY_COLUMNS} FROM optout_entries WHERE {SPECIAL} AND kind = ? AND seq > ? AND seq <= ? "
            f"ORDER BY seq LIMIT {_PAGE}"
        )
        while found := self.database.rows(sql, (kind.value, since, until)):
            yield from map(_from_row, found)
            since = found[-1][0]

    def keys(self, since: int, until: int) -> Iterator[list[tuple[int, list[str]]]]:
        """Yield pages of (number, keys) of the entries with `since` < number <= `until`, in order."""
        while since < until:
            found = self.database.rows(
                f"SELECT seq, entry_keys FROM optout_entries WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT {_PAGE}",
                (since, until),
            )
            if not found:
                return
            yield [(seq, keys.split("\n")) for seq, keys in found]
            since = found[-1][0]

    def counts(self) -> dict[str, int]:
        """Return the number of entries of each kind (reads every entry)."""
        return dict(self.database.rows("SELECT kind, count(*) FROM optout_entries GROUP BY kind ORDER BY kind"))

    def snapshot(self) -> Snapshot:
        """Return the registry as it is now."""
        last, head = self._head()
        return Snapshot(last, head, datetime.now(timezone.utc))

    def snapshot_at(self, digest: str) -> Snapshot:
        """Return the snapshot of a hash; its time is that of its last entry. Raises `BadInput` where there is none."""
        if digest == self.genesis:
            return Snapshot(0, digest, read_stamp(self.created_at))
        try:
            raw = bytes.fromhex(digest)
        except ValueError:
            raise BadInput(f"{digest[:80]!r}: no snapshot hash; it has 64 hex digits") from None
        # Newest first: a run asks for a recent one.
        found = self.database.rows(
            "SELECT seq, created_at FROM optout_entries WHERE hash = ? ORDER BY seq DESC LIMIT 1", (raw,)
        )
        if not found:
            raise BadInput(
                f"{self.database.shown}: no entry has the hash {digest}: another registry, or one that was cut off"
            )
        return Snapshot(found[0][0], digest, read_stamp(found[0][1]))

    def holds(self, snapshot: Snapshot) -> bool:
        """Tell whether the registry has the snapshot's entry under its number."""
        return self.hash_of(snapshot.seq) == snapshot.hash

    def verify(self, snapshot: Snapshot | None = None) -> list[Problem]:
        """Recompute the whole chain; return what is wrong, at most 100 problems.

        Without a snapshot a deleted tail cannot be told from one that never was.
        """
        problems: list[Problem] = []
        expected, previous = 1, self.genesis
        for entry in self.entries():
            if entry.seq != expected:
                problems.append(Problem("ENTRY_MISSING", f"entry {expected} to {entry.seq - 1} are not there"))
            if entry.previous != previous:
                problems.append(Problem("CHAIN_BROKEN", f"entry {entry.seq} does not name the entry before it"))
            if true_hash(entry) != entry.hash:
                problems.append(Problem("ENTRY_CHANGED", f"entry {entry.seq} is not what was hashed"))
            if len(problems) >= _MAX_PROBLEMS:
                return problems[:_MAX_PROBLEMS]
            expected, previous = entry.seq + 1, entry.hash
        if snapshot is not None and not self.holds(snapshot):
            problems.append(
                Problem("SNAPSHOT_MISSING", f"entry {snapshot.seq} has not the snapshot's hash {snapshot.hash}")
            )
        return problems

    def _head(self) -> tuple[int, str]:
        found = self.database.rows("SELECT seq, hash FROM optout_entries ORDER BY seq DESC LIMIT 1")
        return (found[0][0], bytes(found[0][1]).hex()) if found else (0, self.genesis)

    def hash_of(self, seq: int) -> str | None:
        """Return the hash of an entry, for 0 that to which the first is chained; None where it is not there."""
        if seq == 0:
            return self.genesis
        found = self.database.rows("SELECT hash FROM optout_entries WHERE seq = ?", (seq,))
        return bytes(found[0][0]).hex() if found else None


def open_registry(url: str) -> Registry:
    """Open a registry: a SQLite file, or a `postgresql://` URL. Raises `BadInput` where there is none."""
    database = _connect(url, create=False)
    try:
        if not database.exists():
            raise BadInput(f"{database.shown}: no registry; make one with assay optout init")
        return Registry(url, database)
    except BaseException:
        database.close()
        raise


def create_registry(url: str) -> Registry:
    """Make an empty registry and open it. Raises `BadInput` where a file or a registry is in the way.

    What a maker left that was killed (an empty file, tables without the registry's own record) is not in the way.
    """
    database = _connect(url, create=True)
    try:
        database.create((uuid.uuid4().hex, FORMAT, stamp(datetime.now(timezone.utc))))
        return Registry(url, database)
    except BaseException:
        database.close()
        raise


def _connect(url: str, create: bool) -> Database:
    if url.startswith(("postgresql://", "postgres://")):
        from pipelines.registry.postgres import PostgresDatabase

        return PostgresDatabase(url)
    if "://" in url:
        raise BadInput(f"{url.partition('://')[0]}://…: a registry is a SQLite file or a postgresql:// URL")
    from pipelines.registry.sqlite import SqliteDatabase

    return SqliteDatabase(Path(url), create)


def _genesis(identity: str, created_at: str) -> str:
    """Return what the first entry is chained to; it differs between registries."""
    return hashlib.sha256(f"assay-registry\n{FORMAT}\n{identity}\n{created_at}".encode()).hexdigest()


def _to_row(entry: Entry) -> tuple[Any, ...]:
    return (
        entry.seq,
        entry.kind.value,
        entry.value,
        "\n".join(entry.keys),
        json.dumps(entry.aliases, ensure_ascii=False) if entry.aliases else "[]",
        entry.requester,
        entry.basis,
        entry.note,
        stamp(entry.created_at),
        bytes.fromhex(entry.previous),
        bytes.fromhex(entry.hash),
    )


def _from_row(row: tuple[Any, ...]) -> Entry:
    """Return the entry of a row. Raises `BadInput` for one that no Assay wrote."""
    seq, kind, value, keys, aliases, requester, basis, note, created_at, previous, own = row
    try:
        others = json.loads(aliases)
        if not isinstance(others, list) or not all(isinstance(name, str) for name in others):
            raise ValueError("aliases")
        return Entry(
            seq,
            Kind(kind),
            value,
            tuple(keys.split("\n")),
            tuple(others),
            requester,
            basis,
            note,
            read_stamp(created_at),
            bytes(previous).hex(),
            bytes(own).hex(),
        )
    except (ValueError, BadInput):
        raise BadInput(f"registry entry {seq} cannot be read: it was changed behind Assay's back") from None
