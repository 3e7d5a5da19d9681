"""Filters of samples: read from an address, checked against the run's columns, turned into SQL with parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isfinite
from urllib.parse import urlencode

from dashboards.web.columns import LARGEST, TEXTS, Column, Columns
from dashboards.web.indexing import folded
from filters.optout.urls import canonical_host
from filters.reasons import BY_CODE, PRECEDENCE

#: Most filters of one kind in an address, characters of one value.
_MOST, _LONGEST = 20, 300


class BadFilter(ValueError):
    """An address asks for what the run does not have; the message says what."""


@dataclass(frozen=True)
class Range:
    """A score between bounds, both inclusive; None leaves a side open. `missing`: samples without the score."""

    column: str
    low: float | None = None
    high: float | None = None
    missing: bool = False


@dataclass(frozen=True)
class Filters:
    """What samples are asked for. Every field that is set narrows the choice.

    `reason` is the primary reason; `any_reason` applies at all. `texts` and `groups` are pairs of name and value;
    an empty value means: without one.
    """

    decision: str = ""
    reason: str = ""
    any_reason: str = ""
    caption: str = ""
    cluster: int | None = None
    texts: tuple[tuple[str, str], ...] = ()
    groups: tuple[tuple[str, str], ...] = ()
    ranges: tuple[Range, ...] = ()
    sort: str = ""
    descending: bool = False

    @property
    def narrow(self) -> bool:
        """Tell whether any filter is set; the order is none. The gallery's template asks."""
        return replace(self, sort="", descending=False) != Filters()

    def pairs(self) -> list[tuple[str, str]]:
        """Return the names and values of an address that means these filters."""
        found = [("decision", self.decision), ("reason", self.reason), ("any_reason", self.any_reason)]
        found += [("q", self.caption), ("cluster", "" if self.cluster is None else str(self.cluster))]
        found += [(name, value or NONE) for name, value in self.texts]
        found += [(f"group.{name}", value or NONE) for name, value in self.groups]
        for item in self.ranges:
            if item.missing:
                found.append((f"missing.{item.column}", "1"))
            found += [(f"low.{item.column}", _plain(item.low)), (f"high.{item.column}", _plain(item.high))]
        found += [("sort", self.sort), ("order", "desc" if self.descending else "")]
        return [(name, value) for name, value in found if value]

    def address(self, **changes: str) -> str:
        """Return the query string of these filters; `changes` set (or, empty, take away) single names."""
        pairs = [(name, value) for name, value in self.pairs() if name not in changes]
        return urlencode([*pairs, *((name, value) for name, value in changes.items() if value)])


#: Stands in an address for: has no value.
NONE = "(none)"


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"


def parse_filters(pairs: Iterable[tuple[str, str]], columns: Columns) -> Filters:
    """Read filters from the pairs of an address; names that are no filter are passed over. Raises `BadFilter`."""
    single: dict[str, str] = {}
    texts: list[tuple[str, str]] = []
    groups: list[tuple[str, str]] = []
    ranges: dict[str, Range] = {}
    # a form sends a pair for each of its fields, most of them empty
    asked = [(name, value) for name, raw in pairs if (value := raw.strip("\0")[:_LONGEST]).strip()]
    if len(asked) > 4 * _MOST:
        raise BadFilter(f"an address may have at most {4 * _MOST} filters")
    for name, whole in asked:
        value = whole.strip()
        kind, _, column = name.partition(".")
        if kind in ("low", "high", "missing") and column:
            ranges[column] = _bounded(ranges.get(column, Range(column)), kind, value, columns)
        elif kind == "group" and column:
            if columns.group(column) is None:
                raise BadFilter(f"this run has no group {column[:60]!r}")
            groups.append((column, "" if value == NONE else whole))
        elif name in TEXTS or (columns.text(name) is not None and name not in _SINGLE):
            if name == "domain" and value != NONE:
                whole = canonical_host(value) or whole  # as the index spells hosts
            texts.append((name, "" if value == NONE else whole))
        elif name in _SINGLE:
            single[name] = value
    _check(single, columns)
    if max(len(texts), len(groups), len(ranges)) > _MOST:
        raise BadFilter(f"an address may have at most {_MOST} filters of one kind")
    return Filters(
        single.get("decision", ""),
        single.get("reason", ""),
        single.get("any_reason", ""),
        single.get("q", ""),
        int(single["cluster"]) if "cluster" in single else None,
        tuple(texts),
        tuple(groups),
        tuple(ranges.values()),
        single.get("sort", ""),
        single.get("order", "") == "desc",
    )


_SINGLE = ("decision", "reason", "any_reason", "q", "cluster", "sort", "order")


def _check(single: dict[str, str], columns: Columns) -> None:
    if single.get("decision", "kept") not in ("kept", "dropped"):
        raise BadFilter("decision is kept or dropped")
    if single.get("order", "asc") not in ("asc", "desc"):
        raise BadFilter("order is asc or desc")
    for name in ("reason", "any_reason"):
        if name in single and single[name] not in BY_CODE:
            raise BadFilter(f"{name}: there is no reason {single[name][:60]!r}")
    if "sort" in single and columns.number(single["sort"]) is None:
        raise BadFilter(f"sort: this run has no score {single['sort'][:60]!r}")
    if "cluster" in single and not (single["cluster"].isdecimal() and len(single["cluster"]) < 18):
        raise BadFilter("cluster is a whole number")


def _bounded(old: Range, kind: str, value: str, columns: Columns) -> Range:
    if columns.number(old.column) is None:
        raise BadFilter(f"this run has no score {old.column[:60]!r}")
    if kind == "missing":
        return replace(old, missing=True)
    try:
        bound = float(value)
    except ValueError:
        raise BadFilter(f"{kind}.{old.column}: {value[:40]!r} is no number") from None
    if not isfinite(bound):
        raise BadFilter(f"{kind}.{old.column}: a bound is a finite number")
    return replace(old, low=bound) if kind == "low" else replace(old, high=bound)


@dataclass(frozen=True)
class Where:
    """A condition in SQL and the values of its parameters."""

    sql: str
    values: tuple[object, ...] = ()

    def __and__(self, other: Where) -> Where:
        """Return both conditions together."""
        return Where(f"{self.sql} AND {other.sql}", (*self.values, *other.values))


def where(filters: Filters, columns: Columns) -> Where:
    """Return the condition on rows of `samples`; cheap tests stand first."""
    found = [Where("TRUE")]
    if filters.decision:
        found.append(Where("kept" if filters.decision == "kept" else "NOT kept"))
    if filters.reason:
        found.append(Where("reason = ?", (bit(filters.reason),)))
    if filters.any_reason:
        found.append(Where("mask & ?::UBIGINT <> 0", (1 << bit(filters.any_reason),)))
    if filters.cluster is not None:
        found.append(Where("cluster = ?", (filters.cluster,)))
    found += [test for item in filters.ranges for test in _range(item, columns)]
    for name, value in filters.texts:
        column = columns.text(name)
        sql = column.sql if column else name
        found.append(Where(f"{sql} = ?", (value,)) if value else Where(f"coalesce({sql}, '') = ''"))
    for name, value in filters.groups:
        group = columns.group(name)
        assert group is not None  # parse_filters lets no other through
        has = Where(f"list_contains({group.sql}, ?)", (value,))
        found.append(has if value else Where(f"coalesce(len({group.sql}), 0) = 0"))
    if filters.caption:
        found.append(Where("contains(folded, ?)", (folded(filters.caption),)))
    joined = found[0]
    for test in found[1:]:
        joined = joined & test
    return joined


def bit(code: str) -> int:
    """Return the place of a reason in the order of precedence, which is its bit in `mask`."""
    return PRECEDENCE[BY_CODE[code]]


def _range(item: Range, columns: Columns) -> list[Where]:
    column = columns.number(item.column)
    assert column is not None  # parse_filters lets no other through
    if item.missing:
        return [Where(f"{column.sql} IS NULL")]
    found = [] if item.low is None else [Where(f"{column.sql} >= ?::{_kind(column, item.low)}", (item.low,))]
    if item.high is not None:
        found.append(Where(f"{column.sql} <= ?::{_kind(column, item.high)}", (item.high,)))
    return found


def _kind(column: Column, bound: float) -> str:
    """Return the SQL type of a bound. The index holds float32: a bound is rounded as the scores were, if it can be."""
    return "FLOAT" if column.kind == "number" and abs(bound) <= LARGEST else "DOUBLE"
