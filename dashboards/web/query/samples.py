"""Pages of samples: filtered, in the order of a score, each page from where the last one ended."""

from __future__ import annotations

from dataclasses import dataclass
from math import isinf

from dashboards.cards import VEIL_FROM
from dashboards.galleries import RESERVED
from dashboards.web.catalogue import Opened, Reader
from dashboards.web.columns import LARGEST, Column
from dashboards.web.query.filters import BadFilter, Filters, Where, bit, where
from filters.reasons import Reason
from filters.rules import RULES, mask

#: Reasons whose pictures are never sent: reserved, to be judged by a person elsewhere, or known to be harmful.
HIDDEN = int(mask(*RESERVED, Reason.LOOK_ALIKE_REVIEW, Reason.KNOWN_HARMFUL))

_REASONS = tuple(reason.value for reason in Reason)


@dataclass(frozen=True)
class Sample:
    """One sample as a gallery shows it. `picture`: shown, veiled, hidden (by its reasons) or none (unreadable,
    or of a recipe without thumbnails).

    `row` is its position in the run: a uid may stand in a run more than once. `value` is the score that the page is
    sorted by.
    """

    uid: str
    row: int
    kept: bool
    reason: str
    reasons: list[str]
    picture: str
    caption: str
    domain: str
    creator: str
    value: float | None


@dataclass(frozen=True)
class SamplePage:
    """One page. `total` counts all samples that the filters let through; `after` leads to the next page."""

    total: int
    samples: list[Sample]
    after: str


def sample_page(opened: Opened, filters: Filters, after: str = "", size: int = 60) -> SamplePage:
    """Return one page of samples. Raises `BadFilter` for an `after` that is none.

    Paging is by (score, position): positions are unique where uids are not, and no page costs more than the first.
    Samples without the score come last.
    """
    chosen, start = where(filters, opened.columns), _cursor(after, opened.columns.number(filters.sort))
    if filters.caption and filters.sort:
        total, rows = _in_one_pass(opened, filters, chosen, start, size + 1)
    else:
        total = count(opened.reader, filters, chosen)
        rows = _positions(opened, filters, chosen, start, size + 1)
    shown = rows[:size]
    last = _token(shown[-1]) if len(rows) > size else ""
    return SamplePage(total, fetch(opened, shown), last)


def count(reader: Reader, filters: Filters, chosen: Where) -> int:
    """Count the samples that the filters let through; from the index's own counts where these suffice."""
    simple = Filters(decision=filters.decision, reason=filters.reason, any_reason=filters.any_reason)
    plain = Filters(**{**filters.__dict__, "sort": "", "descending": False})
    if plain == simple and not filters.any_reason:
        return int(reader.rows(f"SELECT coalesce(sum(n), 0) FROM counts WHERE {chosen.sql}", chosen.values)[0][0])
    if plain == simple and not filters.reason:
        return int(reader.rows(f"SELECT coalesce(sum(n), 0) FROM masks WHERE {chosen.sql}", chosen.values)[0][0])
    return int(reader.rows(f"SELECT count(*) FROM samples WHERE {chosen.sql}", chosen.values)[0][0])


@dataclass(frozen=True)
class _Cursor:
    """Where a page ended: its last row, its score (None: among those without one)."""

    row: int
    value: float | None


def _cursor(text: str, column: Column | None) -> _Cursor | None:
    if not text:
        return None
    value, _, row = text.rpartition("_")
    try:
        if not row.isdecimal() or len(row) > 15 or bool(value) != (column is not None):
            raise ValueError(text)
        number = None if value in ("", "none") else float.fromhex(value)
        if number is not None and column is not None and not _holds(column, number):
            raise ValueError(text)
    except (ValueError, OverflowError):
        raise BadFilter("after: not the end of a page") from None
    return _Cursor(int(row), number)


def _holds(column: Column, value: float) -> bool:
    """Tell whether a column of the index can have this value. A score may be infinite; one that is NaN is missing."""
    if column.kind == "number":
        return isinf(value) or abs(value) <= LARGEST
    return abs(value) < 1 << 63 and value.is_integer()


def _token(row: tuple[int, float | None, bool]) -> str:
    position, value, sorted_ = row
    if not sorted_:
        return f"_{position}"
    # without the exponent's plus sign, which means a space in an address
    return f"none_{position}" if value is None else f"{float(value).hex().replace('+', '')}_{position}"


def _in_one_pass(
    opened: Opened, filters: Filters, chosen: Where, start: _Cursor | None, size: int
) -> tuple[int, list[tuple[int, float | None, bool]]]:
    """Return the number of samples and (row, value, True) of a page. Captions are read once: nothing costs as much."""
    column = opened.columns.number(filters.sort)
    assert column is not None  # parse_filters lets no other through
    hits = f"WITH hits AS MATERIALIZED (SELECT row, {column.sql} AS value FROM samples WHERE {chosen.sql})"
    way, beyond = ("DESC", "<") if filters.descending else ("ASC", ">")
    test = Where("TRUE")
    if start is not None and start.value is None:
        test = Where("value IS NULL AND row > ?", (start.row,))
    elif start is not None:
        kind, bound = ("FLOAT", start.value) if column.kind == "number" else ("BIGINT", int(start.value or 0))
        sql = f"(value {beyond} ?::{kind} OR (value = ?::{kind} AND row > ?) OR value IS NULL)"
        test = Where(sql, (bound, bound, start.row))
    found = opened.reader.rows(
        f"{hits} SELECT row, value, (SELECT count(*) FROM hits) FROM hits WHERE {test.sql} "
        f"ORDER BY value {way} NULLS LAST, row LIMIT {size:d}",
        (*chosen.values, *test.values),
    )
    if not found and start is not None:
        return count(opened.reader, filters, chosen), []
    return (found[0][2] if found else 0), [(row, value, True) for row, value, _ in found]


def _positions(
    opened: Opened, filters: Filters, chosen: Where, start: _Cursor | None, size: int
) -> list[tuple[int, float | None, bool]]:
    """Return (row, value, whether sorted) of a page: scored samples first, then those without the score."""
    reader, column = opened.reader, opened.columns.number(filters.sort)
    if column is None:
        test = chosen if start is None else chosen & Where("row > ?", (start.row,))
        found = reader.rows(f"SELECT row FROM samples WHERE {test.sql} ORDER BY row LIMIT {size:d}", test.values)
        return [(row, None, False) for (row,) in found]
    rows: list[tuple[int, float | None, bool]] = []
    if start is None or start.value is not None:
        test = chosen & Where(f"{column.sql} IS NOT NULL")
        way, beyond = ("DESC", "<") if filters.descending else ("ASC", ">")
        if start is not None:
            kind = "FLOAT" if column.kind == "number" else "BIGINT"
            bound = start.value if column.kind == "number" else int(start.value or 0)
            sql = f"({column.sql} {beyond} ?::{kind} OR ({column.sql} = ?::{kind} AND row > ?))"
            test = test & Where(sql, (bound, bound, start.row))
        found = reader.rows(
            f"SELECT row, {column.sql} FROM samples WHERE {test.sql} ORDER BY {column.sql} {way}, row LIMIT {size:d}",
            test.values,
        )
        rows = [(row, value, True) for row, value in found]
        start = None
    if len(rows) < size:
        test = chosen & Where(f"{column.sql} IS NULL")
        test = test if start is None else test & Where("row > ?", (start.row,))
        limit = size - len(rows)
        found = reader.rows(f"SELECT row FROM samples WHERE {test.sql} ORDER BY row LIMIT {limit:d}", test.values)
        rows += [(row, None, True) for (row,) in found]
    return rows


def fetch(opened: Opened, rows: list[tuple[int, float | None, bool]]) -> list[Sample]:
    """Return the samples at (position, score, whether sorted), in that order."""
    if not rows:
        return []
    places = [row for row, _, _ in rows]
    if places == list(range(places[0], places[0] + len(places))):
        chosen = f"FROM samples WHERE rowid BETWEEN {places[0]:d} AND {places[-1]:d}"
    else:
        # a join prunes; a list after IN would make DuckDB read most of each column
        wanted = ", ".join(f"({place:d})" for place in places)
        chosen = f"FROM samples JOIN (VALUES {wanted}) AS wanted(place) ON samples.rowid = wanted.place"
    columns = (
        f"row, uid::VARCHAR AS uid, kept, reason, mask, caption, domain, creator, {picture_sql(opened)} AS picture"
    )
    found = {item["row"]: item for item in opened.reader.dicts(f"SELECT {columns} {chosen}")}
    return [_sample(found[row], value) for row, value, _ in rows]


def picture_sql(opened: Opened) -> str:
    """Return SQL for what may be seen of a picture: hidden, none, veiled (maybe not safe for work) or shown."""
    nsfw = opened.columns.number(RULES["nsfw"].column)
    score = f" OR coalesce({nsfw.sql}, 0) >= {VEIL_FROM}" if nsfw else ""
    cases = {
        "hidden": f"mask & {HIDDEN}::UBIGINT <> 0",
        "none": "NOT readable" if opened.run.recipe.thumbnails else "true",
        "veiled": f"mask & {1 << bit(Reason.NSFW.value)}::UBIGINT <> 0{score}",
    }
    whens = " ".join(f"WHEN {case} THEN '{state}'" for state, case in cases.items())
    return f"CASE {whens} ELSE 'shown' END"


def _sample(item: dict[str, object], value: float | None) -> Sample:
    bits = int(str(item["mask"]))
    return Sample(
        uid=str(item["uid"]).replace("-", ""),
        row=int(str(item["row"])),
        kept=bool(item["kept"]),
        reason="" if item["reason"] is None else _REASONS[int(str(item["reason"]))],
        reasons=codes(bits),
        picture=str(item["picture"]),
        caption=str(item["caption"] or ""),
        domain=str(item["domain"] or ""),
        creator=str(item["creator"] or ""),
        value=value,
    )


def codes(bits: int) -> list[str]:
    """Return the reasons of a mask in order of precedence."""
    return [code for place, code in enumerate(_REASONS) if bits >> place & 1]
