"""The thresholds page: a score's histogram, what other bounds would change, for whom, and which samples lie there."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from math import isfinite

import yaml

from dashboards.web.catalogue import Opened
from dashboards.web.query.filters import BadFilter
from dashboards.web.query.samples import codes
from dashboards.web.query.threshold_bins import Bins, Nearest, bins_and_nearest
from dashboards.web.query.threshold_counts import GroupRate, counted
from dashboards.web.query.threshold_replay import (
    Change,
    Test,
    changed_tests,
    column_of,
    judged_sql,
    present_tests,
)
from filters.reasons import BY_CODE, Stage
from filters.rules import RULES
from pipelines.jobs.replay import replayed_recipe


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
    found = counted(opened, (now, new), before, after, chosen)
    clear = [(item.was, item.judged, item.samples) for item in found.outcomes]
    bins, nearest = bins_and_nearest(opened, column, new, judged_sql(opened, before, after))
    return Thresholds(
        samples=sum(n for _, _, n in clear),
        rule=focus.rule,
        rules=rules,
        passing_before=sum(n for was, _, n in clear if not was),
        passing_after=sum(n for _, judged, n in clear if not judged),
        gained=sum(n for was, judged, n in clear if was and not judged),
        lost=sum(n for was, judged, n in clear if judged and not was),
        undecided=sum(item.undecided for item in found.outcomes),
        kept=_kept(opened),
        reasons=_reasons(clear),
        bins=bins,
        group=chosen,
        groups=names,
        overall=found.overall,
        rates=found.rates,
        nearest=nearest,
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
