"""The audit for a page: gates, shares against a reference, the whole matrix of disparate impact, associations."""

from __future__ import annotations

from dataclasses import dataclass

from audit.assemble import Section
from audit.document import Document
from audit.findings import Finding, State
from audit.metrics.impact import FOUR_FIFTHS
from dashboards.audit import AuditFacts, GroupCard, audit_facts
from dashboards.balance import outcome_in_words, steps_in_words
from dashboards.text import clean
from dashboards.web.query.filters import BadFilter
from filters.reasons import BY_CODE
from pipelines.jobs.audit import DOCUMENT, ledger_digest, load_audit
from pipelines.run.directory import Run

#: Values of one group in the matrix, associations in the table.
_VALUES, _ASSOCIATIONS = 60, 200

_METRICS = ("npmi_gap", "log_odds", "share_given")


@dataclass(frozen=True)
class ImpactCell:
    """One ratio of pass rates with its 95 % interval, None where it was not measured.

    `verdict` is base (the value that passes best), ok, warn (below four fifths), fail (surely below) or none.
    """

    value: str
    ratio: float | None
    low: float | None
    high: float | None
    n: int
    verdict: str
    words: str


@dataclass(frozen=True)
class ImpactRow:
    """One step of the job, `chain` for all together; `reason` is its code in the ledger, empty where it has none."""

    step: str
    reason: str
    meaning: str
    cells: list[ImpactCell]


@dataclass(frozen=True)
class ImpactMatrix:
    """Disparate impact of one group: a row for each rule, a column for each value."""

    group: str
    title: str
    values: list[str]
    rows: list[ImpactRow]


@dataclass(frozen=True)
class Association:
    """How much a concept goes with one value rather than another, with its 95 % interval."""

    question: str
    concepts: str
    concept: str
    metric: str
    value: str
    against: str
    figure: float | None
    low: float | None
    high: float | None
    q: float | None
    n: int
    state: str
    words: str


@dataclass(frozen=True)
class AuditFound:
    """The audit of one run. `problem` says why there is none; everything else is empty then."""

    problem: str
    facts: AuditFacts
    groups: list[str]
    group: str
    card: GroupCard | None
    matrix: ImpactMatrix | None
    associations: list[Association]
    balance_steps: list[str]
    balance_outcome: str


def audit(run: Run, group: str = "") -> AuditFound:
    """Return the audit; `group` chooses whose matrix and shares, empty for the first. Raises `BadFilter`."""
    facts = audit_facts(run)
    steps, outcome = steps_in_words(run.recipe.balance), outcome_in_words(run)
    if facts.problem:
        return AuditFound(facts.problem, facts, [], "", None, None, [], steps, outcome)
    found = load_audit(run)
    impacts = {section.group: section for section in found.sections if section.name == "impact"}
    names = [card.name for card in facts.groups if not card.unsaid]
    names += [name for name in impacts if clean(name) not in names]
    if group and group not in names:
        raise BadFilter(f"the audit has no group {group[:60]!r}")
    chosen = group or next(iter(names), "")
    card = next((card for card in facts.groups if card.name == chosen), None)
    section = next((section for name, section in impacts.items() if clean(name) == chosen), None)
    matrix = impact_matrix(section) if section else None
    return AuditFound("", facts, names, chosen, card, matrix, associations(found), steps, outcome)


def figures(run: Run) -> Document | None:
    """Return the audit's document as it stands in the run; None where there is none, or the ledger is newer."""
    if not run.store.exists(DOCUMENT):
        return None
    found = load_audit(run)
    return found if found.ledger == ledger_digest(run) else None


def impact_matrix(section: Section) -> ImpactMatrix | None:
    """Return all ratios of a section; None where none was measured. Unlike the report's it leaves no row out."""
    # what could not be measured of a whole group names no value
    named = [item for item in section.findings if {"reason", "value"} <= item.subject.keys()]
    ratios = {(i.subject["reason"], i.subject["value"]): i for i in named if i.metric == "disparate_impact"}
    rates = [i for i in named if i.metric == "pass_rate"]
    base = {i.subject["reason"]: i.subject.get("against", "") for i in rates}
    values = list(dict.fromkeys(i.subject["value"] for i in rates))[:_VALUES]
    steps = list(dict.fromkeys(step for step, _ in ratios))
    if not steps or len(values) < 2:
        return None
    rows = []
    for step in sorted(steps, key=lambda step: step != "chain"):
        cells = [_cell(value, ratios.get((step, value)), base.get(step) == value) for value in values]
        known = BY_CODE.get(step)
        rows.append(ImpactRow(clean(step, 60), step if known else "", known.meaning if known else "", cells))
    return ImpactMatrix(clean(section.group), clean(section.title, 200), values, rows)


def _cell(value: str, item: Finding | None, is_base: bool) -> ImpactCell:
    if is_base:
        return ImpactCell(value, 1.0, None, None, item.n if item else 0, "base", "passes best: the others' measure")
    if item is None or item.value is None:
        why = item.why if item and item.why else "not measured"
        return ImpactCell(value, None, None, None, item.n if item else 0, "none", clean(why, 200))
    high = item.value if item.high is None else item.high
    verdict = "fail" if high < FOUR_FIFTHS else "warn" if item.value < FOUR_FIFTHS else "ok"
    return ImpactCell(value, item.value, item.low, item.high, item.n, verdict, clean(item.words, 400))


def associations(found: Document) -> list[Association]:
    """Return what goes with whom, sure and strong ones first, those that could not be measured last."""
    rows = []
    for section in found.sections:
        if section.name == "association":
            rows += [_association(section, item) for item in section.findings if item.metric in _METRICS[:1]]
    return sorted(rows, key=_strength)[:_ASSOCIATIONS]


def _strength(item: Association) -> tuple[bool, bool, float]:
    return item.figure is None, item.state != State.FOUND.value, -abs(item.figure or 0.0)


def _association(section: Section, item: Finding) -> Association:
    subject = item.subject
    return Association(
        clean(section.title, 200),
        clean(subject.get("concepts", section.group), 60),
        clean(subject.get("concept", ""), 80),
        item.metric,
        clean(subject.get("value", ""), 60),
        clean(subject.get("against", ""), 60),
        item.value,
        item.low,
        item.high,
        item.q,
        item.n,
        item.state.value,
        clean(item.words, 400),
    )
