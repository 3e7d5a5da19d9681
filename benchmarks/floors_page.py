"""The page of `benchmarks.floors`: what was run where, each figure with its floor, and where Assay stands by peers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from benchmarks.floors_file import shown

if TYPE_CHECKING:
    from benchmarks.floors import Judged, Taken

_ORDER = ("broken", "command failed", "no such figure", "missed", "aim reached", "met", "not measured")
_STANDS = {"ahead": 0, "level": 1, "behind": 2}
_BOLD = ("broken", "command failed", "no such figure", "missed")


def page(
    machine: Mapping[str, object],
    size: str,
    figures: Sequence[Judged],
    commands: Mapping[str, Taken],
    left_out: Sequence[str],
) -> str:
    """Return the page as Markdown."""
    about = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in machine.items())
    counts = ", ".join(
        f"{sum(row.state == s for row in figures)} {s}" for s in _ORDER if any(r.state == s for r in figures)
    )
    parts = [
        "# Benchmarks\n",
        f"Sizes: {size}. Machine: {about}. Load is that of 1, 5 and 15 minutes.\n",
        f"{len(figures)} figures: {counts}. A missed figure stands below its aim and is known to; its bound guards "
        "against worse.\n",
        "## Figures\n",
        _table(("state", "figure", "value", "rounds", "bound", "aim", "command"), _figures(figures)),
        "## Beside other tools\n",
        "Both sides on the same pictures in turns, in one run. The ratio is theirs over ours; a tenth either way is "
        "level.\n",
        _table(("Assay is", "figure", "value", "ratio", "rounds", "peer"), _peers(figures)),
        "## Commands\n",
        _table(("name", "seconds", "CPU seconds", "load before", "code", "when", "command"), _commands(commands)),
    ]
    if left_out:
        parts.append(f"Not run: {', '.join(left_out)}.\n")
    return "\n".join(parts)


def _figures(figures: Iterable[Judged]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for row in sorted(figures, key=lambda row: _ORDER.index(row.state)):
        state = f"**{row.state}**" if row.state in _BOLD else row.state
        value = "–" if row.value is None else shown(row.value)
        field = "" if row.field == "value" else f": {row.field}"
        aim = "" if row.aim is None else f"{row.aim:g}"
        rows.append((state, f"{row.figure}{field}", value, row.detail, row.bound, aim, row.name))
    return rows


def _peers(figures: Iterable[Judged]) -> list[tuple[str, ...]]:
    beside = [row for row in figures if row.peer]
    beside.sort(key=lambda row: _STANDS.get(row.stand or "", 3))
    return [
        (
            row.stand or "not measured",
            row.figure,
            row.field,
            "–" if row.value is None else shown(row.value),
            row.detail,
            row.peer or "",
        )
        for row in beside
    ]


def _commands(commands: Mapping[str, Taken]) -> list[tuple[str, ...]]:
    return [
        (
            name,
            f"{found.wall:g}",
            f"{found.cpu:g}",
            f"{found.load:g}",
            found.code,
            found.when,
            f"`{found.command}`",
        )
        for name, found in commands.items()
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "None.\n"
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(word) for word in line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    """Return one line that cannot end its cell."""
    return " ".join(text.split()).replace("|", "\\|")
