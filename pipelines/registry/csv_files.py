"""Entries as CSV: `kind,value,aliases,requester,basis,note`, aliases with ` | ` between.

All of a file comes in, or none. An export has more columns (number, time, hashes), for
people; an import gives its own.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from filters.errors import BadInput
from filters.optout.entries import Draft, Entry, Kind, check_texts, entry_body, entry_keys, stamp
from pipelines.registry.store import Appended, Registry

#: Columns that an import reads; only the first two are needed.
COLUMNS = ("kind", "value", "aliases", "requester", "basis", "note")
#: Columns that only an export has.
STATED = ("seq", "created_at", "keys", "previous", "hash")

_SEPARATOR = " | "
#: Longest field in characters: that of an embedding.
_MAX_FIELD = 1 << 17


def import_csv(registry: Registry, path: Path) -> Appended:
    """Append all entries of a CSV file, or none. Raises `BadInput` naming file and line."""
    return registry.append(read_csv(path))


def read_csv(path: Path) -> Iterator[Draft]:
    """Yield the drafts of a CSV file, each one checked. Raises `BadInput` naming file and line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield from _drafts(path, stream)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path}: is not UTF-8 text") from None


def _drafts(path: Path, stream: TextIO) -> Iterator[Draft]:
    reader = csv.reader(_bounded(path, stream), strict=True)
    header: list[str] | None = None
    count = 0
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            raise BadInput(f"{path}:{line}: no CSV ({error})") from None
        if not row:
            continue
        if header is None:
            header = _header(path, row)
            continue
        if len(row) != len(header):
            raise BadInput(f"{path}:{line}: {len(row)} fields, the header has {len(header)}")
        try:
            draft = _draft(dict(zip(header, row, strict=True)))
        except BadInput as error:
            raise BadInput(f"{path}:{line}: {error}") from None
        count += 1
        yield draft
    if count == 0:
        raise BadInput(f"{path}: holds no entry; the first line is {','.join(COLUMNS)}")


def _bounded(path: Path, stream: TextIO) -> Iterator[str]:
    for number in itertools.count(1):
        line = stream.readline(_MAX_FIELD + 1)
        if len(line) > _MAX_FIELD:
            raise BadInput(f"{path}:{number}: a line is longer than {_MAX_FIELD} characters")
        if not line:
            return
        yield line


def _header(path: Path, row: list[str]) -> list[str]:
    names = [cell.strip().lower() for cell in row]
    if not {"kind", "value"} <= set(names):
        raise BadInput(f"{path}:1: the header needs kind and value; the columns are {','.join(COLUMNS)}")
    if unknown := [name for name in names if name not in (*COLUMNS, *STATED)]:
        raise BadInput(f"{path}:1: unknown column {unknown[0][:40]!r}; the columns are {','.join(COLUMNS)}")
    if len(set(names)) < len(names):
        raise BadInput(f"{path}:1: a column is there twice")
    return names


def _draft(row: dict[str, str]) -> Draft:
    name = row["kind"].strip().lower()
    if name not in (kind.value for kind in Kind):
        raise BadInput(f"unknown kind {name[:40]!r}; {', '.join(kind.value for kind in Kind)} are known")
    aliases = tuple(alias.strip() for alias in row.get("aliases", "").split(_SEPARATOR.strip()) if alias.strip())
    draft = Draft(
        Kind(name), row["value"], aliases, row.get("requester", ""), row.get("basis", ""), row.get("note", "")
    )
    # So that the message names the line; appending checks again, at a price that only large imports notice.
    check_texts(draft)
    entry_keys(draft)
    return draft


def export_csv(entries: Iterable[Entry], stream: TextIO) -> int:
    """Write entries as CSV; return how many. Text that a spreadsheet would run as a formula stays as it is."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("seq", *COLUMNS, *STATED[1:]))
    count = 0
    for entry in entries:
        count += 1
        writer.writerow(
            (
                entry.seq,
                entry.kind.value,
                entry.value,
                _SEPARATOR.join(entry.aliases),
                entry.requester,
                entry.basis,
                entry.note,
                stamp(entry.created_at),
                " ".join(key.replace(" ", "_") for key in entry.keys),
                entry.previous,
                entry.hash,
            )
        )
    return count


def export_json(entries: Iterable[Entry], stream: TextIO) -> int:
    """Write entries as JSON lines; return how many."""
    count = 0
    for entry in entries:
        count += 1
        stream.write(json.dumps(entry_body(entry), ensure_ascii=False) + "\n")
    return count
