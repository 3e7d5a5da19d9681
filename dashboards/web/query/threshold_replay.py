"""What-if in SQL: the reasons that samples would have by other bounds, up to the stage of the rules.

The same semantics as `filters.rules` and `pipelines.jobs.decide`: both bounds are inclusive, no score is
SCORE_MISSING, a score that the cascade spared a sample speaks neither way, bounds by group take a rule's place, a
sample that cannot be read is judged by its rights alone, and the first reason in order of precedence counts. What
duplicates and balance do afterwards depends on which other samples are left, and is not in here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import ceil, floor, inf, isfinite

from dashboards.web.catalogue import Opened
from dashboards.web.query.filters import BadFilter, Where, bit
from filters.errors import BadInput
from filters.reasons import Reason, Stage
from filters.rules import MATCH_PROBABILITY, RULES, Rule
from filters.rules import mask as mask_of
from pipelines.jobs.decide import COSTLY_COLUMNS, resolved_rules
from pipelines.jobs.replay import replayed_recipe
from pipelines.run.directory import Run

_LATER = (Stage.DUPLICATE, Stage.BALANCE)

#: Reasons that are settled when all rules have judged, and those of them that only rules give.
EARLY = int(mask_of(*(reason for reason in Reason if reason.stage not in _LATER)))
BY_RULES = int(mask_of(*(reason for reason in Reason if reason.stage is Stage.RULE)))


@dataclass(frozen=True)
class Change:
    """Other bounds of one rule: `low` and `high`, or `keep_top`. None: as the recipe has it."""

    rule: str
    low: float | None = None
    high: float | None = None
    keep_top: float | None = None

    def overrides(self, opened: Opened) -> list[str]:
        """Return the change as `assay replay --set` takes it."""
        now = opened.run.recipe.rules.get(self.rule)
        base = f"rules.{self.rule}"
        if self.keep_top is not None:
            open_sides = [f"{base}.{side}=null" for side in ("low", "high") if now and getattr(now, side) is not None]
            return [*open_sides, f"{base}.keep_top={self.keep_top:.9g}"]
        top = [f"{base}.keep_top=null"] if now and now.keep_top is not None else []
        sides = (("low", self.low), ("high", self.high))
        return top + [f"{base}.{side}={value:.9g}" for side, value in sides if value is not None]


@dataclass(frozen=True)
class Test:
    """A rule ready to judge. `others`: group, value, and the bounds that hold for samples with it."""

    rule: str
    column: str
    reason: Reason
    low: float = -inf
    high: float = inf
    others: tuple[tuple[str, str, float, float], ...] = ()
    allow: tuple[str, ...] | None = None
    missing: bool = True

    @property
    def sides(self) -> list[tuple[str, float]]:
        """The finite bounds by side."""
        return [(side, bound) for side, bound in (("low", self.low), ("high", self.high)) if isfinite(bound)]


def parse_changes(pairs: Iterable[tuple[str, str]], opened: Opened) -> tuple[Change, ...]:
    """Read `low.RULE`, `high.RULE`, `top.RULE` of an address; what equals the recipe is no change.

    Raises `BadFilter` for a rule that the run cannot judge, and for bounds that a recipe would refuse.
    """
    asked: dict[str, dict[str, float]] = {}
    for name, raw in list(pairs)[:80]:
        kind, _, rule = name.partition(".")
        value = raw.strip().strip("\0")[:40]
        if kind not in ("low", "high", "top") or not rule or not value:
            continue
        if rule not in RULES or column_of(rule, opened) is None:
            raise BadFilter(f"this run has no score for a rule {rule[:60]!r}")
        asked.setdefault(rule, {})[kind] = _number(f"{kind}.{rule}", value)
    changes = [change for rule, values in asked.items() if (change := _change(rule, values, opened)) is not None]
    overrides = [text for change in changes for text in change.overrides(opened)]
    if overrides:
        try:
            replayed_recipe(opened.run, overrides)
        except BadInput as error:
            raise BadFilter(str(error)) from None
    return tuple(changes)


def _change(rule: str, values: dict[str, float], opened: Opened) -> Change | None:
    now = opened.run.recipe.rules.get(rule)
    top = values.get("top")
    if top is not None and (now is None or now.keep_top != top):
        return Change(rule, keep_top=top)
    sides = {side: values[side] for side in ("low", "high") if side in values}
    if now is not None and now.keep_top is None:
        sides = {side: value for side, value in sides.items() if getattr(now, side) != value}
    return Change(rule, sides.get("low"), sides.get("high")) if sides else None


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise BadFilter(f"{name}: {text!r} is no number") from None
    if not isfinite(value):
        raise BadFilter(f"{name}: a bound is a finite number")
    return float(f"{value:.9g}")  # as an address and the command write it


def column_of(rule: str, opened: Opened) -> str | None:
    """Return the score that a rule reads, None where the run has none. A match probability is read off similarity."""
    column = "similarity" if RULES[rule].column == MATCH_PROBABILITY else RULES[rule].column
    return column if opened.columns.number(column) is not None else None


def present_tests(opened: Opened) -> tuple[Test, ...]:
    """Return the rules of the ledger with the bounds that it was judged by; rights lists are left as they are."""
    return tuple(
        _test(described, opened)
        for described in opened.run.marker("ledger", opened.parts[0].index).facts["rules"]
        if Reason[described["reason"]].stage is Stage.RULE
    )


def _test(described: dict[str, object], opened: Opened) -> Test:
    name, column, reason = str(described["name"]), str(described["column"]), Reason[str(described["reason"])]
    allow = described.get("allow")
    if isinstance(allow, list):
        missing = described.get("missing") != "keep"
        return Test(name, column, reason, allow=tuple(map(str, allow)), missing=missing)
    recipe = opened.run.recipe.rules.get(name)
    relative = recipe is not None and (recipe.keep_top is not None or name == MATCH_PROBABILITY)
    # infinite bounds are left out of the marker; a resolved fraction or probability may be one that nothing passes
    low = described.get("low", inf if relative and recipe and recipe.high is None else -inf)
    others = tuple(
        (group, value, bounds.get("low", -inf), bounds.get("high", inf))
        for group, values in _mapping(described.get("by_group")).items()
        for value, bounds in values.items()
    )
    return Test(name, column, reason, float(str(low)), float(str(described.get("high", inf))), others)


def _mapping(value: object) -> dict[str, dict[str, dict[str, float]]]:
    return value if isinstance(value, dict) else {}


def changed_tests(opened: Opened, changes: Iterable[Change]) -> tuple[Test, ...]:
    """Return the present rules with the changes made; rules that the recipe lacks are added."""
    tests = {test.rule: test for test in present_tests(opened)}
    for change in changes:
        new = _resolved(opened, change)
        old = tests.get(change.rule)
        tests[change.rule] = replace(old, low=new.low, high=new.high) if old else new
    return tuple(tests.values())


def _resolved(opened: Opened, change: Change) -> Test:
    named = RULES[change.rule]
    column = column_of(change.rule, opened)
    assert column is not None  # parse_changes lets no other through
    if change.keep_top is not None:
        return Test(change.rule, column, named.reason, low=top_bound(opened, column, change.keep_top))
    now = opened.run.recipe.rules.get(change.rule)
    kept = now if now and now.keep_top is None else None
    low = change.low if change.low is not None else kept.low if kept else None
    high = change.high if change.high is not None else kept.high if kept else None
    rule = Rule(change.rule, named.column, named.reason, -inf if low is None else low, inf if high is None else high)
    if named.column == MATCH_PROBABILITY:
        rule = _calibrated(opened, change)
    return Test(change.rule, column, named.reason, rule.low, rule.high)


def _calibrated(opened: Opened, change: Change) -> Rule:
    """Turn a match probability into bounds on the similarity, by the job's own function."""
    recipe = replayed_recipe(opened.run, change.overrides(opened))
    alone = recipe.model_copy(update={"rules": {change.rule: recipe.rules[change.rule]}, "languages": None})
    found = [rule for rule in resolved_rules(Run(opened.run.store, alone)) if isinstance(rule, Rule)]
    return found[0]


def top_bound(opened: Opened, name: str, fraction: float) -> float:
    """Return the bound that keeps the best `fraction` of a score, as `Rule.resolve` finds it."""
    column = opened.columns.number(name)
    assert column is not None
    ((count,),) = opened.reader.rows(f"SELECT count(*) FROM samples WHERE isfinite({column.sql}::DOUBLE)")
    if not count:
        return inf
    rank = max(1, ceil(fraction * count - 1e-9))
    ((lowest,),) = opened.reader.rows(
        f"SELECT {column.sql}::DOUBLE FROM samples WHERE isfinite({column.sql}::DOUBLE) "
        f"ORDER BY {column.sql} DESC LIMIT 1 OFFSET {rank - 1:d}"
    )
    return floor(float(lowest) * 1e6) / 1e6


def passes(test: Test, opened: Opened) -> Where:
    """Return the condition that a score is there and within the rule's bounds."""
    column = opened.columns.number(test.column)
    if column is None:
        return Where("FALSE")
    inside = _inside(column.sql, test.low, test.high)
    for group in {other[0] for other in test.others}:
        if opened.columns.group(group) is None:
            raise BadFilter(f"the ledger was judged by group {group!r}, which the run no longer has")
    mine = [(_has(opened, group, value), _inside(column.sql, low, high)) for group, value, low, high in test.others]
    if not mine:
        return inside
    touched = " OR ".join(has.sql for has, _ in mine)
    passed = " OR ".join(f"({has.sql} AND {within.sql})" for has, within in mine)
    values = (
        *(value for has, _ in mine for value in has.values),
        *(value for has, within in mine for value in (*has.values, *within.values)),
        *inside.values,
    )
    return Where(f"(CASE WHEN {touched} THEN {passed} ELSE {inside.sql} END)", values)


def _has(opened: Opened, group: str, value: str) -> Where:
    column = opened.columns.group(group)
    assert column is not None
    return Where(f"coalesce(list_contains({column.sql}, ?), false)", (value,))


def _inside(sql: str, low: float, high: float) -> Where:
    found = Where(f"({sql} IS NOT NULL", ())
    if low != -inf:
        found = found & Where(f"{sql}::DOUBLE >= ?::DOUBLE", (low,))
    if high != inf:
        found = found & Where(f"{sql}::DOUBLE <= ?::DOUBLE", (high,))
    return Where(f"{found.sql})", found.values)


def reasons_sql(tests: Iterable[Test], opened: Opened) -> Where:
    """Return SQL for the reasons (a mask) that a sample has when all of `tests` have judged it."""
    missing = f"{1 << bit(Reason.SCORE_MISSING.value)}::UBIGINT"
    parts = [f"(mask & {EARLY & ~BY_RULES}::UBIGINT)"]
    values: list[object] = []
    for test in tests:
        code = f"{1 << bit(test.reason.value)}::UBIGINT"
        if test.allow is not None:
            text = opened.columns.text(test.column)
            sql = text.sql if text else "NULL::VARCHAR"
            listed = ", ".join("?" for _ in test.allow) or "NULL"
            unstated = missing if test.missing else "0::UBIGINT"
            parts.append(
                f"(CASE WHEN trim(coalesce({sql}, ''), ?) = '' THEN {unstated} "
                f"WHEN {sql} IN ({listed}) THEN 0::UBIGINT ELSE {code} END)"
            )
            values += [_SPACE, *test.allow]
            continue
        column = opened.columns.number(test.column)
        sql = column.sql if column else "NULL"
        within = passes(test, opened)
        spared = "spared" if test.column in COSTLY_COLUMNS else "FALSE"
        parts.append(
            f"(CASE WHEN {sql} IS NULL THEN (CASE WHEN {spared} THEN 0::UBIGINT ELSE {missing} END) "
            f"WHEN {within.sql} THEN 0::UBIGINT ELSE {code} END)"
        )
        values += within.values
    return Where(f"(CASE WHEN readable THEN {' | '.join(parts)} ELSE mask & {EARLY}::UBIGINT END)", tuple(values))


def judged_sql(opened: Opened, before: tuple[Test, ...], after: tuple[Test, ...]) -> Where:
    """Return SQL as `reasons_sql(after)`, quicker: what no changed rule gives is taken from the ledger.

    Whether a score is missing does not depend on bounds; only a rule that is new can add to it.
    """
    old = {test.rule: test for test in before}
    changed = [test for test in after if old.get(test.rule) != test]
    if not changed:
        return Where(f"(mask & {EARLY}::UBIGINT)")
    reasons = {test.reason for test in changed}
    again = [test for test in after if test.reason in reasons]
    found = reasons_sql(again, opened)
    missing = 1 << bit(Reason.SCORE_MISSING.value)
    kept = EARLY & BY_RULES & ~int(mask_of(*reasons))
    new = any(test.rule not in old for test in changed)
    # of the rules that judged before, the ledger knows what is missing
    judged = found.sql if new else f"({found.sql} & {EARLY & ~missing}::UBIGINT)"
    return Where(f"({judged} | (mask & {kept}::UBIGINT))", found.values)


_SPACE = " \t\r\n\v\f"


def undecided_sql(tests: Iterable[Test], opened: Opened) -> str:
    """Return SQL for: passes every rule, and lacks a score that a rule reads because the cascade spared it."""
    columns = {test.column for test in tests if test.column in COSTLY_COLUMNS}
    known = [column for name in sorted(columns) if (column := opened.columns.number(name)) is not None]
    lacking = " OR ".join(f"{column.sql} IS NULL" for column in known)
    return f"(readable AND spared AND judged = 0 AND ({lacking}))" if lacking else "FALSE"
