"""What other bounds would change, counted in one scan of the run: reasons before and after, and rates by group.

Rows are first grouped by what they have (mask, outcome of the tests, values of the group as bits), which leaves some
hundred groups of any number of rows; everything else is counted from those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from audit.metrics.shares import wilson
from dashboards.web.catalogue import Opened
from dashboards.web.columns import Column
from dashboards.web.query.threshold_replay import EARLY, Test, judged_sql, passes, undecided_sql

#: Values of a group that are listed.
VALUES = 24


@dataclass(frozen=True)
class GroupRate:
    """Samples with one value of a group: how many pass the rule, and all rules; before and by the bounds asked for.

    `samples` counts readable ones. `low`, `high`: Wilson's 95 % interval of the share that passes the rule, as asked.
    `kept` is what the ledger keeps in the end.
    """

    value: str
    samples: int
    rule_before: int
    rule_after: int
    all_before: int
    all_after: int
    kept: int
    low: float
    high: float


@dataclass(frozen=True)
class Outcome:
    """Samples with the same reasons up to the rules (masks): in the ledger, and as asked; some of them undecided."""

    was: int
    judged: int
    samples: int
    undecided: int


@dataclass(frozen=True)
class Counted:
    """All that is counted for one rule and one group."""

    outcomes: list[Outcome]
    overall: GroupRate
    rates: list[GroupRate]


_RATES = (
    "sum(n), sum(n) FILTER (old_), sum(n) FILTER (new_), sum(n) FILTER (was = 0), sum(n) FILTER (judged = 0), "
    "sum(n) FILTER (kept)"
)


def counted(
    opened: Opened, pair: tuple[Test, Test], present: tuple[Test, ...], tests: tuple[Test, ...], group: str
) -> Counted:
    """Count samples by outcome, and those that pass by value of `group` (empty: none). `pair`: the rule in focus."""
    column = opened.columns.group(group)
    marked = column is not None and bool(opened.reader.rows("SELECT 1 FROM marks WHERE name = ? LIMIT 1", [group]))
    old, new = passes(pair[0], opened), passes(pair[1], opened)
    judged = judged_sql(opened, present, tests)
    scores = {c.sql: "" for test in tests if (c := opened.columns.number(test.column)) is not None}
    marks = column.marks if column is not None and marked else "0::UBIGINT"
    rows_ = (
        f"SELECT mask, readable, spared, kept, {marks} AS bits, {old.sql} AS old_, {new.sql} AS new_, "
        f"{judged.sql} AS judged{''.join(f', {name}' for name in scores)} FROM samples"
    )
    grouped = (
        "SELECT mask, readable, kept, bits, old_, new_, judged, "
        f"{undecided_sql(tests, opened)} AS open_, count(*) AS n FROM ({rows_}) GROUP BY ALL"
    )
    found = opened.reader.rows(
        f"WITH grouped AS MATERIALIZED (SELECT mask & {EARLY}::UBIGINT AS was, * FROM ({grouped})) "
        "SELECT 0, was, judged, NULL, sum(n), sum(n) FILTER (open_), 0, 0, 0, 0 FROM grouped GROUP BY was, judged "
        f"UNION ALL SELECT 1, 0, 0, NULL, {_RATES} FROM grouped WHERE readable "
        f"UNION ALL SELECT 2, 0, 0, value, {_RATES} FROM grouped JOIN "
        "(SELECT value, 1::UBIGINT << bit::UBIGINT AS one FROM marks WHERE name = ?) ON bits & one <> 0 "
        "WHERE readable GROUP BY value",
        (*old.values, *new.values, *judged.values, group if marked else ""),
    )
    outcomes = [Outcome(int(row[1]), int(row[2]), int(row[4]), int(row[5] or 0)) for row in found if row[0] == 0]
    outcomes.sort(key=lambda item: (item.was, item.judged))
    overall = next(_rate("all readable samples", row[4:]) for row in found if row[0] == 1)
    if column is not None and not marked:
        return Counted(outcomes, overall, _by_lists(opened, column, pair, present, tests))
    rates = [_rate(str(row[3]), row[4:]) for row in found if row[0] == 2]
    return Counted(outcomes, overall, sorted(rates, key=lambda rate: (-rate.samples, rate.value))[:VALUES])


def _by_lists(
    opened: Opened, column: Column, pair: tuple[Test, Test], present: tuple[Test, ...], tests: tuple[Test, ...]
) -> list[GroupRate]:
    """Count by the lists themselves: a group with too many values for bits."""
    old, new, judged = passes(pair[0], opened), passes(pair[1], opened), judged_sql(opened, present, tests)
    rows = opened.reader.rows(
        f"SELECT value, {_RATES} FROM (SELECT unnest(values_) AS value, old_, new_, was, judged, kept, 1 AS n FROM "
        f"(SELECT {column.sql} AS values_, {old.sql} AS old_, {new.sql} AS new_, mask & {EARLY}::UBIGINT AS was, "
        f"{judged.sql} AS judged, kept FROM samples WHERE readable)) GROUP BY value ORDER BY 2 DESC, value "
        f"LIMIT {VALUES}",
        (*old.values, *new.values, *judged.values),
    )
    return [_rate(str(value), counts) for value, *counts in rows]


def _rate(value: str, row: Sequence[Any]) -> GroupRate:
    samples, before, after, all_before, all_after, kept = (int(count or 0) for count in row)
    low, high = wilson(after, samples) if samples else (0.0, 1.0)
    return GroupRate(value, samples, before, after, all_before, all_after, kept, low, high)
