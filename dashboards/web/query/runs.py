"""The list of runs, and two runs side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dashboards.text import clean
from dashboards.web.catalogue import Catalogue, NotReady, Opened, Unreadable
from dashboards.web.query.funnel import counts_of
from filters.errors import AssayError
from filters.reasons import BY_CODE, PRECEDENCE
from pipelines.commands.status import current_stage
from pipelines.run.directory import Run
from pipelines.run.gates import standing
from pipelines.run.manifest import read_manifest

#: Differences of an audit that a page shows, the largest first.
FINDINGS = 60


@dataclass(frozen=True)
class Gate:
    """One gate of a run: state is pass, fail or another word of the audit; waived says by whom."""

    name: str
    state: str
    words: str
    waived: str
    blocks: bool


@dataclass(frozen=True)
class RunRow:
    """One run in the list. Counts are the ledger's, None while there is none (or it is being indexed)."""

    name: str
    title: str
    stage: str
    created_at: str
    content_hash: str
    parent: str
    samples: int | None
    kept: int | None
    gates: list[Gate]
    problem: str
    indexing: bool


def run_rows(catalogue: Catalogue) -> list[RunRow]:
    """Return all runs, the newest first, unfinished ones before them. One that is being indexed is not waited for."""
    rows = [_row(catalogue, place.name) for place in catalogue.places()]
    by_name = sorted(rows, key=lambda row: row.name)
    return sorted(by_name, key=lambda row: row.created_at or "9999", reverse=True)


def _row(catalogue: Catalogue, name: str) -> RunRow:
    samples, kept, problem, indexing, gates = None, None, "", False, []
    title, stage, head = "", "", Head()
    try:
        run = catalogue.directory(name)
        title, stage = clean(run.recipe.name, 60), current_stage(run)
        head = read_head(run)
        gates = head.gates
        if stage in ("done", "audit", "balance"):
            counts = counts_of(catalogue.open(name, patience=0.2))
            samples, kept = counts.samples, counts.kept
    except NotReady:
        indexing = True
    except Unreadable as error:
        problem = clean(str(error), 300)
    except (AssayError, OSError) as error:
        problem = clean(str(error), 300)
    return RunRow(
        name, title, stage, head.created_at, head.content_hash, head.parent, samples, kept, gates, problem, indexing
    )


@dataclass(frozen=True)
class Head:
    """What the manifest says of a run as a whole; blank for an unfinished run."""

    created_at: str = ""
    content_hash: str = ""
    parent: str = ""
    gates: tuple[Gate, ...] | list[Gate] = ()


def read_head(run: Run) -> Any:
    """Return the head of a run's manifest. Raises `BadInput` where it is no manifest."""
    if not run.finished():
        return Head(gates=[])
    body = read_manifest(run)
    content = body["content"]
    blocking = {entry["name"] for entry in standing(content)}
    gates = []
    for entry in content.get("gates") or []:
        waiver = entry.get("waiver")
        by = f"{clean(waiver['by'], 60)}: {clean(waiver['why'], 200)}" if waiver else ""
        words = clean(entry.get("words"), 300)
        gates.append(Gate(clean(entry["name"], 60), clean(entry["state"], 30), words, by, entry["name"] in blocking))
    return Head(
        clean(body.get("provenance", {}).get("created_at"), 40),
        clean(body.get("content_hash"), 64),
        clean(content.get("parent"), 64),
        gates,
    )


@dataclass(frozen=True)
class Change:
    """One value that differs; empty text where a side has none."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class CountChange:
    """A count in both runs."""

    name: str
    meaning: str
    before: int
    after: int

    @property
    def change(self) -> int:
        """How many more the second run has."""
        return self.after - self.before


@dataclass(frozen=True)
class FindingChange:
    """One figure of the audit in both runs, None where a run has none."""

    section: str
    subject: str
    before: float | None
    after: float | None
    words: str


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side, the first being the earlier."""

    before: str
    after: str
    recipe: list[Change]
    counts: list[CountChange]
    gates: list[Change]
    findings: list[FindingChange]
    findings_total: int


def compare(before: Opened, after: Opened) -> Comparison:
    """Return what differs in recipe, counts, gates and audit."""
    findings = _findings(before, after)
    return Comparison(
        before.name,
        after.name,
        _changes(flat(before.run.recipe.content()), flat(after.run.recipe.content())),
        _counts(before, after),
        _changes(_gates(before), _gates(after)),
        findings[:FINDINGS],
        len(findings),
    )


def flat(value: object, name: str = "") -> dict[str, str]:
    """Return a recipe as one line a setting: `rules.nsfw.high` to `0.8`."""
    if isinstance(value, dict):
        found: dict[str, str] = {}
        for key, inner in value.items():
            found.update(flat(inner, f"{name}.{key}" if name else str(key)))
        return found
    if isinstance(value, list):
        return {name: ", ".join(clean(str(item), 200) for item in value)}
    return {name: "" if value is None else clean(str(value), 300)}


def _changes(before: dict[str, str], after: dict[str, str]) -> list[Change]:
    names = [*before, *(name for name in after if name not in before)]
    pairs = [(name, before.get(name, ""), after.get(name, "")) for name in names]
    return [Change(name, old, new) for name, old, new in pairs if old != new]


def _counts(before: Opened, after: Opened) -> list[CountChange]:
    old, new = counts_of(before), counts_of(after)
    codes = sorted({*old.dropped, *new.dropped}, key=lambda code: PRECEDENCE[BY_CODE[code]])
    rows = [CountChange("samples", "came in", old.samples, new.samples), CountChange("kept", "", old.kept, new.kept)]
    rows += [
        CountChange(code, BY_CODE[code].meaning, old.dropped.get(code, 0), new.dropped.get(code, 0)) for code in codes
    ]
    return rows


def _gates(opened: Opened) -> dict[str, str]:
    return {gate.name: f"{gate.state}: {gate.words}" for gate in read_head(opened.run).gates}


def _findings(before: Opened, after: Opened) -> list[FindingChange]:
    """Return the figures of both audits that differ, those first whose intervals lie apart, then by difference."""
    old, new = _figures(before), _figures(after)
    found = []
    for key in {**old, **new}:
        a, b = old.get(key), new.get(key)
        if (a or {}).get("figure") == (b or {}).get("figure"):
            continue
        told = b or a or {}
        change = FindingChange(
            f"{told['section']} · {told['metric']}",
            clean(_subject(told), 160),
            None if a is None else a["figure"],
            None if b is None else b["figure"],
            clean(told["words"], 300),
        )
        found.append((_apart(a, b), _size(a, b), change))
    found.sort(key=lambda item: (-item[0], -item[1], item[2].section, item[2].subject))
    return [change for _, _, change in found]


def _figures(opened: Opened) -> dict[tuple[str, str, str], dict[str, Any]]:
    path = opened.place.path / "audit" / "findings.parquet"
    if not path.is_file():
        return {}
    rows = opened.reader.dicts(
        'SELECT section, metric, "group", value, concept, reason, subject, figure, low, high, words '
        "FROM read_parquet(?) WHERE figure IS NOT NULL AND isfinite(figure)",
        [str(path)],
    )
    return {(row["section"], row["metric"], row["subject"]): row for row in rows}


def _subject(row: dict[str, Any]) -> str:
    return " · ".join(str(row[name]) for name in ("group", "value", "concept", "reason") if row.get(name))


def _apart(a: dict[str, Any] | None, b: dict[str, Any] | None) -> bool:
    if a is None or b is None or None in (a["low"], a["high"], b["low"], b["high"]):
        return False
    return bool(a["high"] < b["low"] or b["high"] < a["low"])


def _size(a: dict[str, Any] | None, b: dict[str, Any] | None) -> float:
    """Return how far two figures are apart, relative to the larger; 0 where one is missing."""
    if a is None or b is None:
        return 0.0
    top = max(abs(a["figure"]), abs(b["figure"]))
    return float(abs(a["figure"] - b["figure"]) / top) if top else 0.0
