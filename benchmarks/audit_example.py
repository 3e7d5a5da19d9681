"""Write the example of an audit: `python -m benchmarks.audit_example RUN [--after RUN] [--out docs]`.

Every figure and every sentence is taken from the run's own `audit/audit.json`; the plots are those of the report.
`--after` names the same run with another balance, whose gates are shown beside.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from markupsafe import Markup

from audit.assemble import Section
from audit.document import Document
from audit.findings import Finding, State, number, percent
from audit.movement import Figure, Move
from dashboards.audit import Matrix, matrix
from dashboards.audit_figures import Bar, shares
from dashboards.text import clean
from pipelines.jobs.audit import load_audit
from pipelines.run.directory import open_run

PAGE, FOLDER = "audit-example.md", "audit-example"
#: Rows of a table, sentences of a list.
_ROWS, _SENTENCES = 10, 8
_STYLE = (
    "svg{background:#fbfaf7;font-family:system-ui,sans-serif}.kept{fill:#c08a2b}.grid{stroke:#e6e1d7}"
    ".whisker{stroke:#1d1b17;stroke-width:1.3;fill:none}.reference{stroke:#a3201b;stroke-width:2;stroke-dasharray:3 2}"
    ".before{fill:#fff;stroke:#1d1b17;stroke-width:1.6}.weighted{fill:#1d1b17}.label{font-size:12.5px;fill:#1d1b17}"
    ".tick{font-size:11px;fill:#6a645a}"
)


def main() -> None:
    """Write the page and its plots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="an audited run")
    parser.add_argument("--after", help="the same, replayed with another balance")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "docs")
    options = parser.parse_args()
    found = load_audit(open_run(options.run))
    after = load_audit(open_run(options.after)) if options.after else None
    folder = options.out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    text = page(found, folder, after)
    (options.out / PAGE).write_text(text)
    print(options.out / PAGE)


def page(found: Document, folder: Path, after: Document | None = None) -> str:
    """Return the page; writes its plots into `folder`."""
    cost = found.cost
    lines = [
        "<!-- written by python -m benchmarks.audit_example RUN; run it again instead of editing -->\n",
        f"# An audit of {found.name}\n",
        f"{cost.came:,} samples came in, {cost.before_balance:,} reached the balance, {cost.kept:,} are kept.",
        "Every figure is from the run's `audit/audit.json`; how to read it stands in `audit.md`.\n",
    ]
    for group in found.groups:
        if group.overlap == "mixed" and group.kept:
            lines += _group(found, group.name, folder)
    lines += _further(found)
    lines += _gates(found, "Gates")
    if after is not None:
        lines += _gates(after, "The same gates after rebalancing")
        lines.append(f"\n{after.cost.before_balance:,} samples reached the balance, {after.cost.kept:,} are kept; the")
        lines.append(f"weights leave an effective sample of {after.cost.effective:,.0f} (Kish).")
    lines += ["\n## Not measured\n", *(f"- **{item.what}**: {item.why}" for item in found.not_measured)]
    if found.unread_captions is not None:
        lines.append(f"- **captions in other languages**: {found.unread_captions.words}.")
    return "\n".join(lines) + "\n"


def _group(found: Document, name: str, folder: Path) -> list[str]:
    fact = next(group for group in found.groups if group.name == name)
    reference = next((item for item in found.references if item.group == name), None)
    expected = reference.shares if reference else {}
    moves = [move for move in found.movement[name] if move.kept.share is not None][:_ROWS]
    mine = [section for section in found.sections if section.group == name]
    lines = [f"\n## {name}\n", f"By {fact.described}. {_words(mine, 'composition', 'coverage')}.\n"]
    bars = [_bar(move, expected, found.cost.weighs) for move in moves]
    plot = re.sub(r"[^\w-]+", "-", name) + ".svg"
    (folder / plot).write_text(standalone(shares("plot", f"Shares by {name}", bars)))
    legend = "bars: kept, with 95 % intervals; rings: before the balance"
    legend += f"; dashed: {reference.name}" if reference else ""
    lines += [f"![Shares by {name}]({FOLDER}/{plot})\n", f"*{legend}*\n"]
    head = "| value | came in | before the balance | kept | 95 % interval |" + (" reference |" if reference else "")
    lines += [head, "| --- | ---: | ---: | ---: | --- |" + (" ---: |" if reference else "")]
    lines += [_row(move, expected if reference else None) for move in moves]
    if reference:
        lines.append(f"\nReference: {reference.name}. {reference.source}")
    spread = [_words(mine, "composition", metric) for metric in ("effective_number", "concentration")]
    lines += ["", *(f"- {words}." for words in spread if words)]
    lines += [f"- {item.words}." for item in _strongest(mine, ("reference",))]
    lines += _removed(mine)
    return lines


def _removed(mine: list[Section]) -> list[str]:
    impact = next((section for section in mine if section.name == "impact"), None)
    table = matrix(impact) if impact else None
    lines = ["\n**Whom the rules remove**\n"]
    if table is None:
        return [*lines, "Not measured: fewer than two values have samples to compare."]
    lines += _matrix(table)
    sentences = [f"- {item.words}." for item in _strongest(mine, ("impact", "exclusion"))]
    lines += sentences or ["No difference is both sure and large enough to matter."]
    resampled = _described(mine, "resampled")
    return lines + (
        ["\nIf samples of one artist, host or cluster are not independent:\n", *resampled] if resampled else []
    )


def _matrix(table: Matrix) -> list[str]:
    """Return the matrix as Markdown."""
    lines = ["Pass rate over that of the value that passes best at the step (95 % interval).\n"]
    lines += [f"| step | {' | '.join(map(_cell, table.values))} |", "| --- |" + " ---: |" * len(table.values)]
    for step, cells in table.rows:
        marks = {"fail": " **fails**", "warn": " low"}
        shown = [f"{c.text}{marks.get(c.verdict, '')}" + (f" ({c.interval})" if c.interval else "") for c in cells]
        lines.append(f"| {step} | {' | '.join(shown)} |")
    if table.alike:
        lines.append(f"\nAll values pass at least 0.9 times as often as the best one at: {', '.join(table.alike)}.")
    return [*lines, ""]


def _further(found: Document) -> list[str]:
    lines = []
    for section in found.sections:
        if section.name not in ("association", "rate", "intersection", "ranking", "trend"):
            continue
        sure = [f"- {item.words}." for item in _strongest([section], (section.name,))]
        measured = [item for item in section.findings if item.value is not None]
        lines.append(f"\n## {section.title}\n")
        if not measured:
            lines.append(f"Not measured: {section.findings[0].why}.")
        elif sure:
            lines += sure
        else:
            described = [item for item in measured if item.state is State.DESCRIBED][:_SENTENCES]
            lines += [f"- {item.words}." for item in described]
            if not described:
                lines.append(f"Of {len(measured)} figures none is both sure and large enough to matter.")
    return lines


def _gates(found: Document, title: str) -> list[str]:
    if not found.gates:
        return []
    lines = [f"\n## {title}\n", "| gate | result | what was found |", "| --- | --- | --- |"]
    return lines + [f"| {_cell(g.judged.name)} | {g.judged.state} | {_cell(g.judged.words)} |" for g in found.gates]


def _words(mine: list[Section], name: str, metric: str) -> str:
    items = [item for section in mine if section.name == name for item in section.findings]
    return next((clean(item.words, 300) for item in items if item.metric == metric and item.value is not None), "")


def _strongest(mine: list[Section], names: tuple[str, ...]) -> list[Finding]:
    """Return the sure findings about single values, one for each metric and value, the surest first."""
    items = [item for s in mine if s.name in names for item in s.findings if item.state is State.FOUND]
    first: dict[tuple[str, str], Finding] = {}
    for item in items:
        first.setdefault((item.metric, item.subject.get("value", item.subject.get("concept", ""))), item)
    ranked = sorted(first.values(), key=lambda item: ("value" not in item.subject, item.q or 0.0, -item.n))
    return ranked[:_SENTENCES]


def _described(mine: list[Section], name: str) -> list[str]:
    items = [item for s in mine if s.name == name for item in s.findings if item.value is not None]
    return [f"- {item.words}." for item in items[:_SENTENCES]]


def _bar(move: Move, expected: dict[str, float], weighs: bool) -> Bar:
    kept = move.kept
    figures = (kept.share or 0.0, kept.low or 0.0, kept.high or 0.0, move.before_balance.share)
    return Bar(move.value, *figures, move.weighted.share if weighs else None, expected.get(move.value))


def _row(move: Move, expected: dict[str, float] | None) -> str:
    points = [_point(point) for point in (move.came, move.before_balance, move.kept)]
    interval = f"{percent(move.kept.low or 0.0)} to {percent(move.kept.high or 0.0)}"
    cells = [_cell(move.value), *points, interval]
    if expected is not None:
        share = expected.get(move.value)
        cells.append("" if share is None else f"{percent(share)} ({_times(move, share)})")
    return f"| {' | '.join(cells)} |"


def _times(move: Move, share: float) -> str:
    return f"{number((move.kept.share or 0.0) / share)} x" if share else "none"


def _point(point: Figure) -> str:
    return f"{point.count:,.0f}" + ("" if point.share is None else f" ({percent(point.share)})")


def _cell(text: str) -> str:
    """Return a stranger's text as a cell of a Markdown table."""
    found = clean(text, 300)
    for mark in "\\|`*_<>[]":
        found = found.replace(mark, f"\\{mark}")
    return found


def standalone(figure: Markup) -> str:
    """Return a figure of the report as an SVG file of its own."""
    return (
        str(figure)
        .replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        .replace("<title", f"<style>{_STYLE}</style><title", 1)
    )


if __name__ == "__main__":
    main()
