"""The columns of a run's index: what pages may name, and the SQL that stands for it.

Names in an address are looked up here; SQL is written with the index's own short names (`s0`, `g0`), so that no
text of a request or of a recipe becomes SQL.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

#: Columns of every index, by what they are: (name, SQL type).
HEAD = (
    ("row", "BIGINT"),
    ("uid", "UUID"),
    ("kept", "BOOLEAN"),
    ("reason", "UTINYINT"),
    ("mask", "UBIGINT"),
    ("readable", "BOOLEAN"),
    ("spared", "BOOLEAN"),
    ("weight", "FLOAT"),
    ("cluster", "BIGINT"),
    ("shard", "INTEGER"),
    ("balanced_by", "VARCHAR"),
    ("domain", "VARCHAR"),
    ("creator", "VARCHAR"),
    ("licence", "VARCHAR"),
    ("caption", "VARCHAR"),
    ("folded", "VARCHAR"),
)

#: The largest finite value of a FLOAT: DuckDB refuses to make one of what is beyond.
LARGEST = float(np.finfo(np.float32).max)

#: Text columns of the samples that a page can filter by.
TEXTS = ("domain", "creator", "licence")


@dataclass(frozen=True)
class Column:
    """One column of scores or groups. `kind`: number, whole, text or group; `sql` is its name in the index."""

    name: str
    sql: str
    kind: str
    doc: str = ""
    scorer: str = ""

    @property
    def numeric(self) -> bool:
        """Tell whether samples can be put in its order."""
        return self.kind in ("number", "whole")

    @property
    def marks(self) -> str:
        """The name of a group's second column: its values as bits, null where the run has too many of them."""
        return f"m{self.sql}"


@dataclass(frozen=True)
class Columns:
    """The columns of one run's index."""

    scores: tuple[Column, ...]
    groups: tuple[Column, ...]

    @property
    def numbers(self) -> tuple[Column, ...]:
        """The score columns that have an order."""
        return tuple(column for column in self.scores if column.numeric)

    def number(self, name: str) -> Column | None:
        """Return the numeric score column of that name."""
        return next((column for column in self.numbers if column.name == name), None)

    def text(self, name: str) -> Column | None:
        """Return the text column of the scores of that name."""
        return next((column for column in self.scores if column.name == name and column.kind == "text"), None)

    def group(self, name: str) -> Column | None:
        """Return the group of that name."""
        return next((column for column in self.groups if column.name == name), None)


def columns_of(scores: pa.Schema, groups: pa.Schema | None) -> Columns:
    """Return the columns that an index of parts with these schemas has. Hashes and raw bytes are left out."""
    found = [(field, _kind(field.type)) for field in scores if field.name not in _SKIPPED]
    wanted = [(field, kind) for field, kind in found if kind]
    return Columns(
        tuple(
            Column(field.name, f"s{i}", kind, _meta(field, "doc"), _meta(field, "scorer"))
            for i, (field, kind) in enumerate(wanted)
        ),
        tuple(
            Column(field.name, f"g{i}", "group", _meta(field, "doc"))
            for i, field in enumerate(f for f in groups or [] if f.name != "uid")
        ),
    )


_SKIPPED = ("uid", "failure", "failure_detail", "skipped")


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_floating(kind):
        return "number"
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        return "whole"
    return "text" if pa.types.is_string(kind) else ""


def _meta(field: pa.Field, key: str) -> str:
    return str((field.metadata or {}).get(key.encode(), b"").decode())


#: SQL type of a column of the index, by kind.
SQL_TYPES = {"number": "FLOAT", "whole": "BIGINT", "text": "VARCHAR", "group": "VARCHAR[]"}


def columns_sql(columns: Columns) -> str:
    """Return the columns of the index's table `samples`, for CREATE TABLE."""
    further = [(column.sql, SQL_TYPES[column.kind]) for column in (*columns.scores, *columns.groups)]
    marks = [(column.marks, "UBIGINT") for column in columns.groups]
    return ", ".join(f"{name} {kind}" for name, kind in (*HEAD, *further, *marks))
