"""Which samples of a part have which values of each group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from audit.groups.base import MIXED, Group
from audit.groups.lexicon import Lexicon, load_all
from audit.groups.matcher import Matcher
from audit.groups.places import at_level, countries, country_of_domain, gazetteer, tld
from filters.errors import BadInput

#: Longest value that is kept as it is; longer ones are cut, so that hostile input cannot fill the tally.
_LONGEST = 200
#: Sets that hosts are put into by hash, so that a tally crossed with them stays small (random groups).
BUCKETS = 200
#: So many texts of a part, and no number among them, are not a few dirty records but a column of something else.
_PLAINLY = 30
#: The one code on the map that the gazetteer does not have.
_ANTARCTICA = "AQ"


@dataclass(frozen=True)
class Membership:
    """The values of one group in a part: sample `rows[i]` has `values[codes[i]]`. Pairs are unique, rows ascending."""

    group: str
    values: tuple[str, ...]
    rows: np.ndarray
    codes: np.ndarray


class Assigner:
    """Reads all groups of a recipe from parts. Compile once, use for every part; it holds no state between parts."""

    def __init__(self, groups: Sequence[Group]) -> None:
        """Load and compile what the groups need.

        Raises `BadInput` for an unknown lexicon, for a name given twice, and for a lexicon with a value that is called
        as samples of several values are, where the group has such.
        """
        self.groups = tuple(groups)
        names = [group.name for group in groups]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise BadInput(f"groups: {', '.join(twice)} is declared twice: give each group its own name")
        vocabularies = {}
        for group in groups:
            for lexicon in lexicons_of(group) if group.kind in ("terms", "place") else ():
                if group.mixes and MIXED in lexicon.values:
                    raise BadInput(
                        f"group {group.name}: lexicon {lexicon.name}: {MIXED} is what several values are called"
                    )
                vocabularies[_vocabulary(group), lexicon.language, lexicon.name] = lexicon
        self._matcher = Matcher((key[0], lexicon) for key, lexicon in vocabularies.items())

    def columns(self) -> list[str]:
        """Return the columns of samples and scores that the groups read, sorted, each once (labels are no such)."""
        return sorted({group.source_column for group in self.groups if group.kind != "labels"})

    def assign(self, table: pa.Table, labels: pa.Table | None = None) -> list[Membership]:
        """Return the membership of every group, in their order.

        `table` (n rows) has the columns of `columns()`; `labels` has `uid` and the groups' label columns; `table`
        has `uid` then too. Raises `BadInput` for a column that is not there or cannot be read as values.
        """
        found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        memberships = []
        for group in self.groups:
            if group.kind in ("terms", "place"):
                column = group.source_column
                if column not in found:
                    found[column] = self._matched(_column(table, group))
                memberships.append(self._of_words(group, *found[column]))
            elif group.kind == "domain":
                memberships.append(_of_domain(group, _column(table, group)))
            elif group.kind == "gps":
                memberships.append(_of_gps(group, table))
            elif group.kind == "labels":
                memberships.append(_of_labels(group, table, labels))
            else:
                memberships.append(_of_values(group, _column(table, group)))
        return memberships

    def _matched(self, column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        rows, numbers = self._matcher.match_all(_strings(column).to_pylist())
        return np.array(rows, dtype=np.int64), np.array(numbers, dtype=np.int64)

    def _of_words(self, group: Group, rows: np.ndarray, numbers: np.ndarray) -> Membership:
        """Keep the hits of the group's vocabulary and name them by the group's values."""
        vocabulary = _vocabulary(group)
        names: dict[str, int] = {}
        codes = np.full(len(self._matcher.labels), -1, dtype=np.int64)
        for number, (owner, value) in enumerate(self._matcher.labels):
            if owner != vocabulary:
                continue
            named = value if group.kind == "terms" else at_level(value, group.level)
            if named is not None:
                codes[number] = names.setdefault(named, len(names))
        mine = codes[numbers] >= 0 if len(numbers) else np.zeros(0, dtype=bool)
        return _membership(group, tuple(names), rows[mine], codes[numbers[mine]])


def lexicons_of(group: Group) -> list[Lexicon]:
    """Return the word lists that a group rests on: its lexicons, or the gazetteer for places, domains and gps."""
    if group.kind in ("place", "domain", "gps"):
        return [gazetteer()]
    return load_all(group.lexicon, group.languages) if group.lexicon is not None else []


def _vocabulary(group: Group) -> str:
    return "places" if group.kind == "place" else f"{group.lexicon} {' '.join(group.languages)}"


def _membership(group: Group, values: tuple[str, ...], rows: np.ndarray, codes: np.ndarray) -> Membership:
    """Make pairs unique, and one value `mixed` of several where the group asks for that."""
    width = max(1, len(values))
    pairs = np.unique(rows * width + codes)
    rows, codes = pairs // width, pairs % width
    if group.overlap == "each" or len(rows) == 0:
        return Membership(group.name, values, rows, codes)
    first = np.r_[True, rows[1:] != rows[:-1]]
    several = np.diff(np.r_[np.flatnonzero(first), len(rows)]) > 1
    if not several.any():
        return Membership(group.name, values, rows, codes)
    return Membership(group.name, (*values, MIXED), rows[first], np.where(several, len(values), codes[first]))


def _column(table: pa.Table, group: Group) -> pa.Array:
    if group.source_column not in table.column_names:
        there = ", ".join(table.column_names) or "none"
        raise BadInput(f"group {group.name}: no column {group.source_column}; there is {there}")
    return _combined(table.column(group.source_column))


def _combined(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _strings(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        return column.cast(pa.string())
    except pa.ArrowException as error:
        raise BadInput(f"column of type {column.type}: cannot be read as values: {str(error)[:100]}") from None


def _of_domain(group: Group, column: pa.Array) -> Membership:
    encoded = pc.dictionary_encode(_strings(column))
    hosts = [host.strip().rstrip(".").lower() for host in encoded.dictionary.to_pylist()]
    return _coded(group, encoded, [_domain_value(host, group) for host in hosts])


def _domain_value(host: str, group: Group) -> str | None:
    if group.level == "host":
        return host[:_LONGEST] or None
    if group.level == "bucket":
        return (
            f"{int.from_bytes(blake2b(host.encode(), digest_size=8).digest(), 'big') % BUCKETS:03d}" if host else None
        )
    if group.level == "tld":
        return tld(host)[:_LONGEST] or None
    code = country_of_domain(host)
    return None if code is None else at_level(countries()[code].code, group.level)


def _of_gps(group: Group, table: pa.Table) -> Membership:
    """Name the countries at the group's level. A run from before schema 1.2 has no such column, so no value."""
    if group.column is None and group.source_column not in table.column_names:
        return _membership(group, (), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    encoded = pc.dictionary_encode(_strings(_column(table, group)))
    return _coded(group, encoded, [_country_value(code, group) for code in encoded.dictionary.to_pylist()])


def _country_value(code: str, group: Group) -> str | None:
    """Return a country code at a level; Antarctica, which the UN puts into no region, is a country only."""
    code = code.strip().upper()
    if code not in countries():
        return code if code == _ANTARCTICA and group.level == "country" else None
    return at_level(code, group.level)


def _of_values(group: Group, column: pa.Array) -> Membership:
    if group.edges:
        return _of_intervals(group, column)
    if pa.types.is_nested(column.type):
        raise BadInput(f"group {group.name}: column {group.source_column} is of type {column.type}: no single values")
    encoded = pc.dictionary_encode(_strings(column))
    return _coded(group, encoded, [value.strip()[:_LONGEST] or None for value in encoded.dictionary.to_pylist()])


def _coded(group: Group, encoded: pa.Array, named: list[str | None]) -> Membership:
    """Turn a dictionary array, whose entries are named anew (None: no value), into a membership."""
    names: dict[str, int] = {}
    codes = np.array([-1 if name is None else names.setdefault(name, len(names)) for name in named], dtype=np.int64)
    index = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    found = np.append(codes, -1)[index]
    rows = np.flatnonzero(found >= 0)
    return _membership(group, tuple(names), rows, found[rows])


def _of_intervals(group: Group, column: pa.Array) -> Membership:
    numbers = _numbers(group, column)
    edges = np.array(group.edges)
    with np.errstate(invalid="ignore"):
        codes = np.searchsorted(edges, numbers, side="right") - 1
    codes[numbers == edges[-1]] = len(edges) - 2
    rows = np.flatnonzero((codes >= 0) & (codes < len(edges) - 1) & np.isfinite(numbers))
    closing = [")"] * (len(edges) - 2) + ["]"]
    names = tuple(
        f"[{_edge(low)}, {_edge(high)}{end}"
        for low, high, end in zip(group.edges, group.edges[1:], closing, strict=False)
    )
    return _membership(group, names, rows, codes[rows])


def _edge(edge: float) -> str:
    """Write an edge so that no other edge is written alike, and without digits that it does not need."""
    text = f"{edge:.15g}"
    return text if float(text) == edge else repr(float(edge))


def _numbers(group: Group, column: pa.Array) -> np.ndarray:
    """Return a column as numbers (n,), NaN where there is none; what stands among numbers and is none has no value.

    Raises `BadInput` for a type that has no numbers, and for text that plainly has none.
    """
    refused = BadInput(f"group {group.name}: column {group.source_column} holds no numbers to cut at edges")
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        encoded = pc.dictionary_encode(column)
        parsed = np.array([*map(_number, encoded.dictionary.to_pylist()), np.nan])
        numbers: np.ndarray = parsed[pc.fill_null(encoded.indices, len(parsed) - 1).to_numpy(zero_copy_only=False)]
        if len(column) - column.null_count >= _PLAINLY and np.isnan(numbers).all():
            raise refused
        return numbers
    try:
        # not safe: a whole number beyond 2^53 is a number too
        found: np.ndarray = column.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy(zero_copy_only=False)
    except pa.ArrowException:
        raise refused from None
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _of_labels(group: Group, table: pa.Table, labels: pa.Table | None) -> Membership:
    if labels is None:
        raise BadInput(f"group {group.name}: needs labels and there are none: name their file in the recipe")
    for name in ("uid", group.source_column):
        if name not in labels.column_names:
            raise BadInput(
                f"group {group.name}: the labels have no column {name}; there is {', '.join(labels.column_names)}"
            )
    index = pc.index_in(_strings(_combined(table.column("uid"))), value_set=_strings(_combined(labels.column("uid"))))
    return _of_values(group, _combined(labels.column(group.source_column)).take(index))


def check_labels(labels: pa.Table, uids: pa.Array | pa.ChunkedArray) -> None:
    """Refuse labels that name a uid twice, none, or one that the run (`uids`) does not have. Raises `BadInput`."""
    if "uid" not in labels.column_names:
        raise BadInput("labels: no column uid")
    named = _strings(_combined(labels.column("uid")))
    if named.null_count:
        raise BadInput(f"labels: {named.null_count} rows without a uid")
    if pc.count_distinct(named).as_py() != len(named):
        raise BadInput("labels: some uids stand there twice: give one row a sample")
    known = pc.is_in(named, value_set=_strings(_combined(uids)))
    unknown = named.filter(pc.invert(known))
    if len(unknown):
        raise BadInput(
            f"labels: {len(unknown)} of {len(named)} uids are not in the run, for example {unknown[0].as_py()}"
        )
