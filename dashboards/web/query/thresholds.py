"""The thresholds page: a score's histogram, what other bounds would change, for whom, and which samples lie there."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

import numpy as np
import yaml

from audit.metrics.shares import wilson
from dashboards.histograms import Axis, Histogram, Spread, make_axis
from dashboards.web.catalogue import Opened
from dashboards.web.columns import Column
from dashboards.web.query.filters import BadFilter, bit
from dashboards.web.query.samples import Sample, codes, fetch
from dashboards.web.query.threshold_replay import (
    EARLY,
    Change,
    Test,
    changed_tests,
    column_of,
    judged_sql,
    passes,
    present_tests,
    undecided_sql,
)
from filters.reasons import BY_CODE, Stage
from filters.rules import RULES
from pipelines.jobs.replay import replayed_recipe

#: Pictures of one gallery, values of a group that are listed.
PICTURES, VALUES = 12, 24

_GALLERY = "SELECT row, value FROM (SELECT row, {column} AS value, {reasons} AS judged, readable FROM samples) "


@dataclass(frozen=True)
class RuleBounds:
    """One rule as a page lists it: bounds in the score's unit, those of the ledger and those asked for.

    `in_recipe`: the ledger was judged by it. `fraction`, `asked_fraction`: keep_top where the bound comes from one.
    """

    rule: str
    column: str
    unit: str
    reason: str
    in_recipe: bool
    changed: bool
    low: float | None
    high: float | None
    asked_low: float | None
    asked_high: float | None
    fraction: float | None
    asked_fraction: float | None
    by_group: bool


@dataclass(frozen=True)
class ReasonCount:
    """Samples by first reason when all rules have judged: in the ledger, and by the bounds asked for."""

    reason: str
    stage: str
    before: int
    after: int


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
class Bins:
    """A histogram: edges of the bins, readable samples in each, and those that pass every rule as asked."""

    edges: list[float]
    samples: list[int]
    passing: list[int]
    log: bool
    integer: bool
    low: float | None
    high: float | None
    mean: float | None


@dataclass(frozen=True)
class Nearest:
    """Samples nearest to one bound: on the side that passes (and pass all), and those that only this rule takes."""

    side: str
    bound: float
    kept: list[Sample]
    dropped: list[Sample]


@dataclass(frozen=True)
class Saved:
    """The changes for a recipe: as YAML, as overrides, and as the command that decides the run again."""

    yaml: str
    overrides: list[str]
    command: str


@dataclass(frozen=True)
class Thresholds:
    """What the bounds asked for would change, up to the rules: duplicates and balance are not chosen again.

    `passing_before`, `passing_after` count samples without any reason when all rules have judged; `gained` and `lost`
    those that change sides. `undecided` pass, but the cascade spared them a score that a rule reads.
    """

    samples: int
    rule: str
    rules: list[RuleBounds]
    passing_before: int
    passing_after: int
    gained: int
    lost: int
    undecided: int
    kept: int
    reasons: list[ReasonCount]
    bins: Bins
    group: str
    groups: list[str]
    overall: GroupRate
    rates: list[GroupRate]
    nearest: list[Nearest]
    saved: Saved | None


def thresholds(opened: Opened, changes: tuple[Change, ...], rule: str = "", group: str = "") -> Thresholds:
    """Answer for one rule in focus (the first one by default) and one group. Raises `BadFilter` for unknown names."""
    before, after = present_tests(opened), changed_tests(opened, changes)
    rules = _rules(opened, before, after, changes)
    if not rules:
        raise BadFilter("this run has no score that a rule reads")
    focus = next((item for item in rules if item.rule == rule), None) if rule else _first(rules)
    if focus is None:
        raise BadFilter(f"this run has no score for a rule {rule[:60]!r}")
    column = opened.columns.number(focus.column)
    assert column is not None
    now = _test_of(focus.rule, focus.column, before)
    new = _test_of(focus.rule, focus.column, after)
    names = [item.name for item in opened.columns.groups]
    chosen = group or (names[0] if names else "")
    if chosen and chosen not in names:
        raise BadFilter(f"this run has no group {chosen[:60]!r}")
    outcomes = _outcomes(opened, before, after)
    overall, rates = _rates(opened, (now, new), before, after, chosen)
    clear = [(was, judged, n) for was, judged, n, _ in outcomes]
    return Thresholds(
        samples=sum(n for _, _, n in clear),
        rule=focus.rule,
        rules=rules,
        passing_before=sum(n for was, _, n in clear if not was),
        passing_after=sum(n for _, judged, n in clear if not judged),
        gained=sum(n for was, judged, n in clear if was and not judged),
        lost=sum(n for was, judged, n in clear if judged and not was),
        undecided=sum(open_ for _, _, _, open_ in outcomes),
        kept=_kept(opened),
        reasons=_reasons(clear),
        bins=_bins(opened, column, new, before, after),
        group=chosen,
        groups=names,
        overall=overall,
        rates=rates,
        nearest=[_nearest(opened, column, new, (before, after), side, bound) for side, bound in new.sides],
        saved=_saved(opened, changes),
    )


def _first(rules: list[RuleBounds]) -> RuleBounds:
    return next((item for item in rules if item.changed), None) or next((r for r in rules if r.in_recipe), rules[0])


def _test_of(rule: str, column: str, tests: tuple[Test, ...]) -> Test:
    """Return the test of that rule; one that lets every score pass where there is none."""
    found = next((test for test in tests if test.rule == rule), None)
    return found or Test(rule, column, RULES[rule].reason)


def _rules(
    opened: Opened, before: tuple[Test, ...], after: tuple[Test, ...], changes: tuple[Change, ...]
) -> list[RuleBounds]:
    changed = {change.rule: change for change in changes}
    present = {test.rule for test in before}
    found = []
    for name, named in RULES.items():
        column = column_of(name, opened)
        # a probability is one more way to write a bound on similarity: offered where the recipe writes it so
        if column is None or (column != named.column and name not in present):
            continue
        old, new = _test_of(name, column, before), _test_of(name, column, after)
        recipe, change = opened.run.recipe.rules.get(name), changed.get(name)
        fraction = recipe.keep_top if recipe else None
        found.append(
            RuleBounds(
                name,
                column,
                named.unit,
                named.reason.value,
                name in present,
                change is not None,
                _finite(old.low),
                _finite(old.high),
                _finite(new.low),
                _finite(new.high),
                fraction,
                change.keep_top if change else fraction,
                bool(old.others),
            )
        )
    return sorted(found, key=lambda item: not item.in_recipe)


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _outcomes(opened: Opened, present: tuple[Test, ...], tests: tuple[Test, ...]) -> list[tuple[int, int, int, int]]:
    """Return (reasons in the ledger, reasons as asked, samples, of them undecided), the reasons up to the rules."""
    judged = judged_sql(opened, present, tests)
    columns = ", ".join(
        {c.sql: "" for test in tests if (c := opened.columns.number(test.column)) is not None}
    )  # DuckDB reads those columns once for both uses
    rows = opened.reader.rows(
        f"SELECT was, judged, count(*), count(*) FILTER ({undecided_sql(tests, opened)}) FROM ("
        f"SELECT mask & {EARLY}::UBIGINT AS was, {judged.sql} AS judged, readable, spared"
        f"{', ' + columns if columns else ''} FROM samples) GROUP BY was, judged",
        judged.values,
    )
    return [(int(was), int(judged_), int(n), int(some)) for was, judged_, n, some in rows]


def _reasons(outcomes: list[tuple[int, int, int]]) -> list[ReasonCount]:
    before: dict[str, int] = {}
    after: dict[str, int] = {}
    for was, judged, n in outcomes:
        for counts, bits in ((before, was), (after, judged)):
            if bits:
                first = codes(bits & -bits)[0]
                counts[first] = counts.get(first, 0) + n
    return [
        ReasonCount(code, reason.stage.value, before.get(code, 0), after.get(code, 0))
        for code, reason in BY_CODE.items()
        if code in before or code in after
    ]


def _kept(opened: Opened) -> int:
    ((kept,),) = opened.reader.rows("SELECT coalesce(sum(n), 0) FROM counts WHERE kept")
    return int(kept)


def _rates(
    opened: Opened, pair: tuple[Test, Test], present: tuple[Test, ...], tests: tuple[Test, ...], group: str
) -> tuple[GroupRate, list[GroupRate]]:
    old, new = passes(pair[0], opened), passes(pair[1], opened)
    judged = judged_sql(opened, present, tests)
    column = opened.columns.group(group)
    source = (
        f"SELECT {column.sql if column else 'NULL::VARCHAR[]'} AS values_, {old.sql} AS old_, {new.sql} AS new_, "
        f"mask & {EARLY}::UBIGINT = 0 AS was, {judged.sql} = 0 AS now_, kept FROM samples WHERE readable"
    )
    counts = (
        "count(*), count(*) FILTER (old_), count(*) FILTER (new_), count(*) FILTER (was), count(*) FILTER (now_), "
        "count(*) FILTER (kept)"
    )
    values = (*old.values, *new.values, *judged.values)
    overall = opened.reader.rows(f"SELECT 'all readable samples', {counts} FROM ({source})", values)[0]
    if column is None:
        return _rate(overall), []
    rows = opened.reader.rows(
        f"SELECT value, {counts} FROM (SELECT unnest(values_) AS value, old_, new_, was, now_, kept FROM ({source})) "
        f"GROUP BY value ORDER BY 2 DESC, value LIMIT {VALUES}",
        values,
    )
    return _rate(overall), [_rate(row) for row in rows]


def _rate(row: tuple[Any, ...]) -> GroupRate:
    value, *counts = row
    samples, before, after, all_before, all_after, kept = (int(count) for count in counts)
    low, high = wilson(after, samples) if samples else (0.0, 1.0)
    return GroupRate(str(value), samples, before, after, all_before, all_after, kept, low, high)


def histogram_of(bins: Bins) -> Histogram:
    """Return the bins as `dashboards.figures.histogram` draws them."""
    total = sum(bins.samples)
    spread = Spread(_or(bins.low, inf), _or(bins.high, -inf), _or(bins.mean, 0.0) * total, total)
    found = Histogram(Axis(np.array(bins.edges), bins.log, bins.integer), spread)
    found.total, found.kept = np.array(bins.samples, np.int64), np.array(bins.passing, np.int64)
    return found


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _bins(opened: Opened, column: Column, test: Test, present: tuple[Test, ...], tests: tuple[Test, ...]) -> Bins:
    name, judged = column.sql, judged_sql(opened, present, tests)
    usable = f"readable AND isfinite({name}::DOUBLE)"
    ((count, low, high, mean),) = opened.reader.rows(
        f"SELECT count(*), min({name})::DOUBLE, max({name})::DOUBLE, avg({name}::DOUBLE) FROM samples WHERE {usable}"
    )
    spread = Spread(_or(low, inf), _or(high, -inf), _or(mean, 0.0) * count, int(count))
    axis = make_axis(spread, column.kind == "whole", [bound for _, bound in test.sides])
    edges = axis.edges
    last = len(edges) - 2
    if axis.integer:  # a bin holds some integers, by no formula: their places are told to the query
        place = f"list_count(list_filter({[float(edge) for edge in edges[1:-1]]}::DOUBLE[], lambda e: e <= value))"
    else:
        start, stop, scaled = float(edges[0]), float(edges[-1]), "value"
        if axis.log:
            start, stop, scaled = float(np.log1p(start)), float(np.log1p(stop)), "ln(1 + value)"
        place = f"least(greatest(floor(({scaled} - {start!r}) / {stop - start!r} * {last + 1})::INTEGER, 0), {last})"
    rows = opened.reader.rows(
        f"SELECT {place} AS bin, sum(n), sum(passing) FROM (SELECT {name}::DOUBLE AS value, count(*) AS n, "
        f"count(*) FILTER ({judged.sql} = 0) AS passing FROM samples WHERE {usable} GROUP BY value) GROUP BY bin"
        if axis.integer
        else f"SELECT {place} AS bin, count(*), count(*) FILTER (passing) FROM (SELECT {name}::DOUBLE AS value, "
        f"{judged.sql} = 0 AS passing FROM samples WHERE {usable}) GROUP BY bin",
        judged.values,
    )
    samples, passing = [0] * (last + 1), [0] * (last + 1)
    for at, n, some in rows:
        samples[int(at)], passing[int(at)] = int(n), int(some)
    return Bins(edges.tolist(), samples, passing, axis.log, axis.integer, low, high, mean)


def _nearest(
    opened: Opened,
    column: Column,
    test: Test,
    rules: tuple[tuple[Test, ...], tuple[Test, ...]],
    side: str,
    bound: float,
) -> Nearest:
    judged = judged_sql(opened, *rules)
    inner = _GALLERY.format(column=column.sql, reasons=judged.sql)
    only = 1 << bit(test.reason.value)
    inside, outside = (("ASC", ">="), ("DESC", "<")) if side == "low" else (("DESC", "<="), ("ASC", ">"))

    def some(way: str, sign: str, reasons: int) -> list[Sample]:
        rows = opened.reader.rows(
            f"{inner} WHERE readable AND judged = {reasons:d}::UBIGINT AND value::DOUBLE {sign} ?::DOUBLE "
            f"ORDER BY value {way}, row LIMIT {PICTURES}",
            (*judged.values, bound),
        )
        return fetch(opened, [(row, value, True) for row, value in rows])

    return Nearest(side, bound, some(*inside, 0), some(*outside, only))


def _saved(opened: Opened, changes: tuple[Change, ...]) -> Saved | None:
    if not changes:
        return None
    overrides = [text for change in changes for text in change.overrides(opened)]
    recipe = replayed_recipe(opened.run, overrides)
    rules = {
        change.rule: recipe.rules[change.rule].model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        for change in changes
    }
    sets = [part for text in overrides for part in ("--set", text)]
    command = ["assay", "replay", opened.name, *sets, "--out", f"{opened.name}-thresholds"]
    return Saved(yaml.safe_dump({"rules": rules}, sort_keys=False), overrides, shlex.join(command))


#: Stages that a what-if does not choose again, as the page names them.
NOT_REDONE = (Stage.DUPLICATE.value, Stage.BALANCE.value)
