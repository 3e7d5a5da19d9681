"""Draws what `benchmarks.scaling` measured as SVG: `python -m benchmarks.scaling_plot LINES.jsonl OUT.svg`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from math import ceil, log10
from pathlib import Path

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 480, 300, 60, 450, 50, 250
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def draw(lines: Sequence[dict[str, object]]) -> str:
    """Return the SVG of lines with `workers`, `samples` and `cpu_ms_a_sample`; samples on a logarithmic axis."""
    rows = [(str(line["workers"]), _numbers(line["samples"]), _numbers(line["cpu_ms_a_sample"])) for line in lines]
    if not rows:
        raise ValueError("no lines to draw")
    first, last = (log10(pick(n for _, counts, _ in rows for n in counts)) for pick in (min, max))
    top = _round_up(1.1 * max(cost for _, _, costs in rows for cost in costs))

    def place(count: float, cost: float) -> tuple[float, float]:
        across = (log10(count) - first) / (last - first) if last > first else 0.5
        return _LEFT + across * (_RIGHT - _LEFT), _BOTTOM - max(cost, 0.0) / top * (_BOTTOM - _TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="11"><rect width="100%" height="100%" fill="white"/>'
    ]
    for step in range(5):
        cost = top * step / 4
        _, y = place(10**first, cost)
        parts.append(
            f'<path d="M{_LEFT} {y:.1f}H{_RIGHT}" stroke="#ddd"/><text x="8" y="{y + 4:.1f}">{cost:g} ms</text>'
        )
    for count in sorted({n for _, counts, _ in rows for n in counts}):
        x, _ = place(count, 0)
        parts.append(f'<text x="{x:.1f}" y="{_BOTTOM + 18}" text-anchor="middle">{count:,.0f}</text>')
    for at, (workers, counts, costs) in enumerate(rows):
        colour = _COLOURS[at % len(_COLOURS)]
        points = [place(n, cost) for n, cost in zip(counts, costs, strict=True)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        named = f"{workers} worker{'' if workers == '1' else 's'}"
        parts.append(f'<text x="{_LEFT + 130 * at}" y="20" fill="{colour}">{named}</text>')
    parts.append(
        f'<text x="{_LEFT}" y="{_HEIGHT - 8}">CPU milliseconds a sample by samples of the run, without its start'
        "</text></svg>"
    )
    return "\n".join(parts) + "\n"


def _numbers(values: object) -> list[float]:
    if not isinstance(values, list) or not all(isinstance(value, int | float) for value in values):
        raise ValueError("samples and cpu_ms_a_sample are lists of numbers")
    return [float(value) for value in values]


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 4, 8 times a power of ten, so that four steps are round."""
    if value <= 0:
        return 1.0
    power = 10.0 ** (ceil(log10(value)) - 1)
    return next(step * power for step in (1.0, 2.0, 4.0, 8.0, 10.0) if step * power >= value)


if __name__ == "__main__":
    found = [json.loads(text) for text in Path(sys.argv[1]).read_text().splitlines() if text.startswith("{")]
    Path(sys.argv[2]).write_text(
        draw([line for line in found if str(line.get("figure")).startswith("cost of a sample")])
    )
