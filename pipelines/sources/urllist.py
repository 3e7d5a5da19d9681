"""Rows of a URL list: parquet, CSV or JSON lines with any columns. Lists are as hostile as the hosts they name."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa

from filters.errors import BadInput, first_line
from filters.json_text import read_json
from filters.reasons import Reason
from pipelines.run.parquet_stream import parquet_of, rows_of
from pipelines.run.recipe import FieldNames
from pipelines.sources.listing import find_files, full_url, opened, state_of

_LINES = (".csv", ".jsonl", ".ndjson")
SUFFIXES = (".parquet", *_LINES, *(f"{suffix}.gz" for suffix in _LINES))

#: Most bytes of one line, and of all lines of one CSV record.
_LINE = 1 << 20
_RECORD = 8 << 20
_ROWS = 256


@dataclass(frozen=True)
class ListRow:
    """One row: its columns as JSON, and the reason where it cannot be read."""

    key: str | None
    url: str | None
    page_url: str | None
    columns: str | None
    failure: Reason | None = None
    detail: str | None = None


class _TooLong(Exception):
    """A CSV record that does not end within `_RECORD` bytes."""


def list_state(path: str) -> list[str]:
    """Return what changes when one of the list's files changes. Raises `BadInput` where there is none."""
    fs, _, paths = find_files(path, SUFFIXES)
    return [*paths, state_of(fs, paths)]


def read_list(path: str, names: FieldNames, max_bytes: int) -> Iterator[ListRow]:
    """Yield all rows behind `path`, files in sorted order. `max_bytes` bounds the JSON of one row.

    Raises `BadInput` for a missing list or one without the column of addresses; whatever else is wrong
    becomes a row with its reason.
    """
    fs, _, paths = find_files(path, SUFFIXES)
    for found in paths:
        rows = _parquet_rows if found.endswith(".parquet") else _csv_rows if ".csv" in found[-7:] else _json_rows
        for values in rows(full_url(fs, found), names):
            yield values if isinstance(values, ListRow) else _row(values, names, max_bytes)


def _row(values: dict[str, Any], names: FieldNames, max_bytes: int) -> ListRow:
    try:
        columns = json.dumps(values, sort_keys=True, ensure_ascii=True, default=str)
    except (ValueError, RecursionError, TypeError) as error:
        return _broken(Reason.BAD_METADATA, f"cannot be written as JSON ({first_line(error)})")
    key, url, page = (_text(values.get(name)) for name in (names.key, names.url, names.page_url))
    if len(columns) > max_bytes:
        return ListRow(
            key, None, None, None, Reason.BAD_METADATA, f"more than {max_bytes} bytes (limits.max_metadata_bytes)"
        )
    return ListRow(key, url, page, columns)


def _text(value: object) -> str | None:
    if value is None or isinstance(value, dict | list | bytes):
        return None
    return str(value).strip().encode("utf-8", "backslashreplace").decode() or None


def _broken(reason: Reason, detail: str) -> ListRow:
    return ListRow(None, None, None, None, reason, detail)


def _parquet_rows(url: str, names: FieldNames) -> Iterator[dict[str, Any] | ListRow]:
    row = 0
    try:
        with opened(url) as stream:
            file = parquet_of(stream)
            _need_column(names.url, file.schema_arrow.names, url)
            for batch in file.iter_batches(batch_size=_ROWS, use_threads=False):
                for values in rows_of(batch):
                    row += 1
                    if isinstance(values, Exception):
                        yield _broken(Reason.BAD_METADATA, f"{_base(url)}, row {row}: {first_line(values)}")
                    else:
                        yield values
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        yield _broken(Reason.UNREADABLE_SHARD, f"{_base(url)}, after {row} rows: {first_line(error)}")


def _json_rows(url: str, _: FieldNames) -> Iterator[dict[str, Any] | ListRow]:
    number = 0
    try:
        with opened(url, "infer") as stream:
            for line in _lines(stream):
                number += 1
                if line is None:
                    yield _broken(Reason.BAD_METADATA, f"{_base(url)}, line {number}: longer than {_LINE} bytes")
                elif line.strip():
                    yield _json_row(line, f"{_base(url)}, line {number}")
    except (OSError, EOFError, ValueError) as error:
        yield _broken(Reason.UNREADABLE_SHARD, f"{_base(url)}, after line {number}: {first_line(error)}")


def _json_row(line: bytes, where: str) -> dict[str, Any] | ListRow:
    try:
        values = read_json(line)
    except ValueError as error:
        return _broken(Reason.BAD_METADATA, f"{where}: {first_line(error)}")
    if not isinstance(values, dict):
        return _broken(Reason.BAD_METADATA, f"{where}: a JSON {type(values).__name__}, not an object")
    return values


def _csv_rows(url: str, names: FieldNames) -> Iterator[dict[str, Any] | ListRow]:
    try:
        with opened(url, "infer") as stream:
            lines = _CsvLines(stream)
            reader = csv.reader(lines)
            header = _next(reader, lines)
            if not isinstance(header, list):
                raise BadInput(f"{url}: the first line is no CSV header")
            header[0:1] = [name.removeprefix("\ufeff") for name in header[0:1]]
            _need_column(names.url, header, url)
            while (fields := _next(reader, lines)) is not None:
                where = f"{_base(url)}, line {reader.line_num}"
                if isinstance(fields, str):
                    yield _broken(Reason.BAD_METADATA, f"{where}: {fields}")
                elif len(fields) == len(header):
                    yield {name: value or None for name, value in zip(header, fields, strict=True)}
                elif fields:
                    yield _broken(Reason.BAD_METADATA, f"{where}: {len(fields)} fields, the header has {len(header)}")
    except (OSError, EOFError, _TooLong) as error:
        yield _broken(Reason.UNREADABLE_SHARD, f"{_base(url)}: {first_line(error)}")


def _next(reader: Any, lines: _CsvLines) -> list[str] | str | None:
    """Return the next record's fields, what is wrong with it as text, or None at the end."""
    lines.start_record()
    try:
        found: list[str] | None = next(reader, None)
    except csv.Error as error:
        return str(error)
    return "a line is too long" if found is not None and lines.cut else found


class _CsvLines:
    """Lines of a stream as text; bounded a line and a record."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._lines = _lines(stream)
        self._size = 0
        self.cut = False

    def start_record(self) -> None:
        """Count from here."""
        self._size, self.cut = 0, False

    def __iter__(self) -> _CsvLines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if line is None:
            self.cut = True
            return "\n"
        self._size += len(line)
        if self._size > _RECORD:
            raise _TooLong(f"a record of more than {_RECORD} bytes; a quote that is not closed?")
        return line.decode("utf-8", "backslashreplace")


def _lines(stream: IO[bytes]) -> Iterator[bytes | None]:
    """Yield lines, None for one that is longer than `_LINE` bytes."""
    while line := stream.readline(_LINE + 1):
        if len(line) <= _LINE:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(_LINE)
        yield None


def _need_column(name: str, columns: list[str], url: str) -> None:
    if name not in columns:
        known = ", ".join(columns[:20])
        raise BadInput(f"{url}: no column {name!r} with the addresses (columns: {known}); set input.fields.url")


def _base(url: str) -> str:
    return url.rsplit("/", 1)[-1]
