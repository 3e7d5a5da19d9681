"""The static report of one run: one HTML file without scripts, that needs nothing beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from audit.counts import funnel
from dashboards import facts, figures
from dashboards.audit import audit_facts
from dashboards.cards import Shown, attach_pictures, show
from dashboards.clusters import largest_clusters
from dashboards.galleries import boards_for
from dashboards.histograms import Histogram
from dashboards.later import later_facts
from dashboards.queries import AppliedRule, Column, Survey, applied_rules, empty_histograms, score_columns, views
from dashboards.rights import rights_facts
from dashboards.text import clean, number, score, share, ticked
from dashboards.web.query.training_figures import curve_figure, seen_figure
from filters.errors import AssayError, BadInput
from filters.reasons import Reason
from pipelines.page_templates import page_templates
from pipelines.run.directory import Run
from pipelines.run.storage import Store

REPORT = "report.html"

#: The page stays below this at any size of the run.
MAX_BYTES = 10_000_000

#: What pictures may take of it (base64); less is tried where the rest of the page is large.
_PICTURE_BUDGETS = (7_000_000, 3_000_000, 0)

#: Groups named in the table of capped groups.
_GROUPS = 12


@dataclass(frozen=True)
class Figure:
    """A histogram with what belongs to it."""

    column: Column
    data: Histogram
    rules: list[AppliedRule]
    outside: int

    def svg(self, place: str) -> str:
        """Draw it; `place` keeps ids apart where the page shows it twice."""
        return figures.histogram(self.column.name, f"{place}-{self.column.name}", self.data, self.rules)

    @property
    def summary(self) -> str:
        """What it shows, in words."""
        return figures.describe(self.data, self.rules)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What a reader of the bound asks first."""
        spread = self.data.spread
        rows = [("rule lets pass", facts.bound_text(rule)) for rule in self.rules]
        rows += [("scored samples", number(spread.count))]
        rows += [("out of bounds", f"{number(self.outside)} ({share(self.outside, spread.count)})")]
        ends = (("smallest", spread.low), ("mean", spread.mean), ("largest", spread.high))
        return rows + [(name, score(value)) for name, value in ends]


@dataclass(frozen=True)
class Section:
    """One reason: its counts, its histograms, its galleries."""

    reason: Reason
    primary: int
    with_reason: int
    alone: int
    figures: list[Figure]
    shown: list[Shown]

    @property
    def comparisons(self) -> list[tuple[Shown, Shown | None]]:
        """Galleries of dropped samples, each with the one of just-kept samples where there is a bound."""
        kept = {(s.board.rule.name, s.board.side): s for s in self.shown if s.kind == "kept" and s.board.rule}
        # where a rule dropped nothing, its nearest kept samples still tell whether it should have
        dropped = [s for s in self.shown if s.kind == "dropped" and (s.cards or not self.with_reason)]
        return [(s, kept.get((s.board.rule.name, s.board.side)) if s.board.rule else None) for s in dropped]


def write_report(run: Run, out: Path | None = None) -> str:
    """Write the run's report; returns where. Raises `BadInput` where the ledger is not whole.

    A run without a manifest gets a report that says so at its top. The same run gives the same bytes, beside the same
    trainings and pictures and by the same trust anchors.
    """
    page = render_report(run)
    if out is None:
        run.store.write(REPORT, page)
        return f"{run.store.url.rstrip('/')}/{REPORT}"
    if out.is_dir():
        raise BadInput(f"{out}: is a directory; name a file")
    Store(str(out.absolute().parent)).write(out.name, page)
    return str(out)


def render_report(run: Run) -> bytes:
    """Return the report as UTF-8 HTML below `MAX_BYTES`."""
    facts.check_decided(run)
    context = _context(run)
    template = _environment().get_template("report.html")
    shown = [item for section in context["sections"] for item in section.shown]
    shown += [found.shown for found in context["clusters"]]
    for budget in _PICTURE_BUDGETS:
        unread = attach_pictures(run, shown, budget)
        page = template.render(**context, unread=unread[:3]).encode()
        if len(page) < MAX_BYTES:
            return page
    raise AssayError(f"{run.store.url}: the report would have {len(page)} bytes; this is a defect, please report it")


def _context(run: Run) -> dict[str, Any]:
    state = facts.state(run)
    rules, columns = applied_rules(run), score_columns(run)
    boards = {reason: boards_for(reason, rules) for reason in Reason}
    survey = Survey(histograms=empty_histograms(run, columns, rules))
    needed = sorted({*survey.histograms, *(rule.column for rule in rules)})
    for view in views(run, needed):
        survey.add(view, rules)
        for board in (board for found in boards.values() for board in found):
            board.offer(view)
    bounded = {rule.reason for rule in rules if rule.sides}
    applied = [reason for reason in Reason if survey.with_reason[reason.value] or reason in bounded]
    shown = show(run, [board for reason in applied for board in boards[reason]], rules)
    charts = _figures(columns, survey, rules)
    return {
        "run": run.recipe.name,
        "input_kind": run.recipe.input.kind,
        "state": state,
        "steps": funnel(state.counts),
        "sections": [_section(reason, state.counts.dropped, survey, charts, shown) for reason in applied],
        "clusters": largest_clusters(run),
        "silent": [reason for reason in Reason if reason not in applied],
        "readable": survey.readable,
        "rules": facts.rule_rows(rules, survey),
        "choices": facts.choices(run),
        "rights": rights_facts(run),
        "audit": audit_facts(run),
        "figures": charts,
        "capped": survey.capped.most_common(_GROUPS),
        "capped_groups": len(survey.capped),
        "balance": run.recipe.balance,
        "models": facts.models(run),
        "inputs": facts.inputs(run),
        "parts": len(run.parts("samples")),
        "recipe": facts.recipe_text(run),
        "later": later_facts(run),
        "unsaid": facts.unsaid(run, columns),
        "Reason": Reason,
        "bar": figures.funnel_bar,
    }


def _figures(columns: list[Column], survey: Survey, rules: list[AppliedRule]) -> list[Figure]:
    """Return the histograms, those of columns that a rule tests first, in the order of the rules."""
    order = {rule.column: position for position, rule in reversed(list(enumerate(rules)))}
    ranked = sorted(columns, key=lambda column: order.get(column.name, len(rules)))
    charts = []
    for column in ranked:
        own = [rule for rule in rules if rule.column == column.name]
        outside = sum(survey.outside[rule.name, side] for rule in own for side in ("low", "high"))
        charts.append(Figure(column, survey.histograms[column.name], own, outside))
    return charts


def _section(
    reason: Reason, dropped: dict[str, int], survey: Survey, charts: list[Figure], shown: list[Shown]
) -> Section:
    own = [figure for figure in charts if any(rule.reason is reason and rule.sides for rule in figure.rules)]
    return Section(
        reason,
        dropped.get(reason.value, 0),
        survey.with_reason[reason.value],
        survey.alone[reason.value],
        own,
        [item for item in shown if item.board.reason is reason],
    )


def _environment() -> jinja2.Environment:
    environment = page_templates("dashboards")
    environment.filters.update(number=number, clean=clean, ticked=ticked, score=score)
    environment.globals.update(share=share, bound_number=lambda bound: score(bound, 6))
    environment.globals.update(curve_figure=curve_figure, seen_figure=seen_figure)
    return environment
