"""The audit as the report shows it: gates, who is in it, whom the rules remove, what goes with whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from audit.assemble import Section
from audit.document import Document, GroupFact
from audit.findings import Finding, State, number
from audit.metrics.impact import FOUR_FIFTHS
from audit.movement import Move
from dashboards.audit_figures import Bar, Dot, effects, shares
from dashboards.text import clean
from pipelines.jobs.audit import DOCUMENT, ledger_digest, load_audit
from pipelines.run.directory import Run
from pipelines.run.manifest import read_manifest

#: What a page can bear: values of a chart, columns of a matrix, sentences of a list.
_VALUES, _COLUMNS, _SENTENCES = 12, 7, 6
#: A step at which no value passes less than so many times as often as the best one needs no row of its own.
_ALIKE = 0.9


@dataclass(frozen=True)
class GateRow:
    """One gate: its name, what it found, and who waived it. `mark` is pass, fail, waived or open."""

    name: str
    state: str
    mark: str
    words: str
    waiver: str
    lapsed: str


@dataclass(frozen=True)
class Cell:
    """One disparate impact of the matrix: the ratio, its interval, and what the four-fifths rule says of it."""

    text: str
    interval: str
    verdict: str


@dataclass(frozen=True)
class Matrix:
    """Disparate impact by step (rows) and value (columns), each against the value that passes best in that row.

    `alike` are the steps at which no value's ratio is below `_ALIKE`; they have no row.
    """

    values: list[str]
    rows: list[tuple[str, list[Cell]]]
    alike: list[str]


@dataclass(frozen=True)
class GroupCard:
    """One group that divides the samples."""

    name: str
    ident: str
    described: str
    coverage: str
    chart: Markup | None
    reference: str
    source: str
    moved: list[tuple[str, str, str, str, str]]
    more: int
    matrix: Matrix | None
    sentences: list[str]
    unsaid: str


@dataclass(frozen=True)
class Effects:
    """One question about concepts, a ranking or a trend: a chart where there is one, and sentences."""

    title: str
    chart: Markup | None
    sentences: list[str]
    quiet: str


@dataclass(frozen=True)
class AuditFacts:
    """The section's content; `problem` says why there is none."""

    problem: str
    gates: list[GateRow]
    cost: str
    groups: list[GroupCard]
    effects: list[Effects]
    not_measured: list[tuple[str, str]]
    weighs: bool


def audit_facts(run: Run) -> AuditFacts:
    """Read the run's audit, and the gates of its manifest."""
    if not run.store.exists(DOCUMENT):
        return AuditFacts("No audit ran: assay audit makes one.", [], "", [], [], [], False)
    found = load_audit(run)
    if found.ledger != ledger_digest(run):
        return AuditFacts("The audit is older than the ledger: run assay audit.", [], "", [], [], [], False)
    cards = [_card(found, group, index) for index, group in enumerate(found.groups) if group.overlap == "mixed"]
    asked = ("association", "rate", "intersection", "trend", "ranking", "resampled")
    shown = [_effects(s, index) for index, s in enumerate(found.sections) if s.name in asked]
    unmeasured = [(item.what[:1].upper() + item.what[1:], item.why) for item in found.not_measured]
    if found.unread_captions is not None:
        unmeasured.append(("Captions in other languages", f"{_said(found.unread_captions.words)}."))
    return AuditFacts("", _gates(run, found), _cost(found), cards, shown, unmeasured, found.cost.weighs)


def bias_unsaid(run: Run) -> str:
    """Say what the report cannot say about bias."""
    if not run.store.exists(DOCUMENT):
        return "No audit ran. Who is in this dataset, and whom each rule removed most often, was not measured."
    return (
        "The audit counts words, places and labels, not people. Shares that match a reference do not make a model "
        "that is trained on them fair."
    )


def _gates(run: Run, found: Document) -> list[GateRow]:
    """Return the gates as the manifest has them (with waivers), or as the audit has them before there is one."""
    entries: list[dict[str, Any]] = []
    if run.finished():
        entries = read_manifest(run)["content"].get("gates") or []
    entries = entries or [{**gate.judged.record(), "waiver": None, "lapsed": None} for gate in found.gates]
    rows = []
    for entry in entries:
        waiver, lapsed = entry.get("waiver"), entry.get("lapsed")
        mark = "pass" if entry["passed"] else "waived" if waiver else "fail" if entry["state"] == "fail" else "open"
        said = f"waived by {waiver['by']} on {waiver['at'][:10]}: {waiver['why']}" if waiver else ""
        over = f"a waiver by {lapsed['by']} no longer holds: {lapsed['lapsed']}" if lapsed else ""
        rows.append(
            GateRow(clean(entry["name"]), entry["state"], mark, _said(entry["words"]), clean(said, 2200), _said(over))
        )
    return rows


def _cost(found: Document) -> str:
    cost = found.cost
    text = f"{cost.came:,} samples came in, {cost.before_balance:,} reached the balance, {cost.kept:,} are kept."
    if cost.weighs:
        text += f" Their weights leave an effective sample of {cost.effective:,.0f} (Kish)."
    return text


def _card(found: Document, group: GroupFact, index: int) -> GroupCard:
    moves = [move for move in found.movement[group.name] if move.kept.share is not None]
    known = {item.group: item for item in found.references}
    reference = known.get(group.name)
    expected = reference.shares if reference else {}
    shown = moves[:_VALUES]
    bars = [_bar(move, expected, found.cost.weighs) for move in shown]
    mine = [section for section in found.sections if section.group == group.name]
    coverage = next(
        (_said(i.words) for s in mine if s.name == "composition" for i in s.findings if i.metric == "coverage"), ""
    )
    ident = f"audit-{index}"
    impact = next((section for section in mine if section.name == "impact"), None)
    sure = [i for s in mine if s.name in ("reference", "impact", "exclusion") for i in s.findings]
    return GroupCard(
        clean(group.name),
        ident,
        _said(group.described),
        coverage,
        shares(ident, f"Shares by {group.name}", bars) if bars else None,
        reference.name if reference and bars else "",
        reference.source if reference and bars else "",
        [_moved(move) for move in shown],
        len(moves) - len(shown),
        matrix(impact) if impact else None,
        _sentences(sure),
        "" if moves else "No kept sample has a value of this group, so nothing is measured.",
    )


def _bar(move: Move, expected: dict[str, float], weighs: bool) -> Bar:
    return Bar(
        move.value,
        move.kept.share or 0.0,
        move.kept.low or 0.0,
        move.kept.high or 0.0,
        move.before_balance.share,
        move.weighted.share if weighs else None,
        expected.get(move.value),
    )


def _moved(move: Move) -> tuple[str, str, str, str, str]:
    """Return a row of the table of before and after: value, then count and share at each point."""
    points = (move.came, move.before_balance, move.kept)
    came, before, kept = (f"{point.count:,.0f} · {_percent(point.share)}" for point in points)
    return clean(move.value, 60), came, before, kept, _percent(move.weighted.share)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def matrix(section: Section) -> Matrix | None:
    """Return the disparate impacts of a section as a matrix; None where none was measured."""
    ratios = [i for i in section.findings if i.metric == "disparate_impact" and i.value is not None]
    rates = [i for i in section.findings if i.metric == "pass_rate" and i.subject.get("reason") == "chain"]
    values = [i.subject["value"] for i in rates][:_COLUMNS]
    by_cell = {(i.subject["reason"], i.subject["value"]): i for i in ratios}
    base = {i.subject["reason"]: i.subject["against"] for i in section.findings if i.metric == "pass_rate"}
    rows, alike = [], []
    for reason in dict.fromkeys(item.subject["reason"] for item in ratios):
        lowest = min((i.value or 0.0 for i in ratios if i.subject["reason"] == reason), default=1.0)
        if reason != "chain" and lowest >= _ALIKE:
            alike.append(reason)
            continue
        cells = [_cell(by_cell.get((reason, value)), value == base[reason]) for value in values]
        rows.append(("all rules" if reason == "chain" else reason, cells))
    return Matrix([clean(value, 40) for value in values], rows, alike) if rows and len(values) > 1 else None


def _cell(item: Finding | None, is_base: bool) -> Cell:
    if is_base:
        return Cell("1", "", "base")
    if item is None or item.value is None:
        return Cell("–", "too few", "none")
    low, high = item.low if item.low is not None else item.value, item.high if item.high is not None else item.value
    verdict = "fail" if high < FOUR_FIFTHS else "warn" if item.value < FOUR_FIFTHS else "ok"
    return Cell(number(item.value), f"{number(low)} to {number(high)}", verdict)


def _effects(section: Section, index: int) -> Effects:
    title, sure = clean(section.title, 200), _sentences(section.findings)
    chart = _gaps(section, title, f"effect-{index}")
    measured = sum(item.value is not None for item in section.findings)
    if measured == 0:
        why = section.findings[0].why if section.findings else "nothing was asked"
        return Effects(title, chart, [], f"Not measured: {_said(why or '')}.")
    described = [_said(item.words) for item in section.findings if item.state is State.DESCRIBED][:_SENTENCES]
    quiet = "" if sure or described else f"Of {measured} figures none is both sure and large enough to matter."
    return Effects(title, chart, sure or described, quiet)


def _gaps(section: Section, title: str, ident: str) -> Markup | None:
    """Draw the association gaps of a section that has some, the largest ones, in their order."""
    gaps = [i for i in section.findings if i.metric == "npmi_gap" and i.value is not None]
    if not gaps:
        return None
    largest = sorted(gaps, key=lambda item: -abs(item.value or 0.0))[:_VALUES]
    dots = [
        Dot(i.subject["concept"], i.value or 0.0, i.low or 0.0, i.high or 0.0, i.state is State.FOUND)
        for i in sorted(largest, key=lambda item: item.value or 0.0)
    ]
    one, other = clean(gaps[0].subject["value"], 40), clean(gaps[0].subject["against"], 40)
    return effects(ident, title, dots, f"rather {other}", f"rather {one}")


def _sentences(items: list[Finding]) -> list[str]:
    """Return what is sure and matters: the strongest first, each about another value as long as there are some."""
    found = [item for item in items if item.state is State.FOUND]
    first: dict[tuple[str, str], Finding] = {}
    for item in found:
        first.setdefault((item.metric, item.subject.get("value", item.subject.get("concept", ""))), item)
    chosen = sorted(first.values(), key=lambda item: ("value" not in item.subject, item.q or 0.0, -item.n))
    more = len(found) - len(chosen[:_SENTENCES])
    rest = [f"And {more} more, in audit/audit.json."] if more else []
    return [f"{_said(item.words)}." for item in chosen[:_SENTENCES]] + rest


def _said(words: str) -> str:
    """Return a sentence that may name strangers' values, on one line and without controls."""
    return clean(words, 600)
