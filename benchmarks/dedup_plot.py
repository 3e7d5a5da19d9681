"""Draws the growth figures of `benchmarks.dedup` as SVG: `python -m benchmarks.dedup_plot GROWTH.jsonl OUT.svg`."""

from __future__ import annotations

import json
import sys
from math import log10
from pathlib import Path

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 480, 300, 60, 250
_COLOURS = {"codes": "#0072b2", "embeddings": "#d55e00"}


def _place(count: float, seconds: float) -> tuple[float, float]:
    """Return where a point stands; both axes are logarithmic, 10^4 to 10^6 and 10^-2 to 10^3."""
    return _LEFT + (log10(count) - 4) * 190, _BOTTOM - (log10(seconds) + 2) * 45


def draw(rows: list[dict[str, object]]) -> str:
    """Return the SVG of the rows that `--only growth` printed."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="11"><rect width="100%" height="100%" fill="white"/>'
    ]
    for power in range(-2, 4):
        _, y = _place(1e4, 10.0**power)
        parts.append(
            f'<path d="M{_LEFT} {y}H{_LEFT + 380}" stroke="#ddd"/><text x="8" y="{y + 4}">{10.0**power:g} s</text>'
        )
    for power in (4, 5, 6):
        x, _ = _place(10.0**power, 1)
        parts.append(f'<text x="{x - 14}" y="{_BOTTOM + 18}">{10**power:,}</text>')
    for at, (name, colour) in enumerate(_COLOURS.items()):
        found = next(row for row in rows if row["figure"] == f"growth {name}")
        counts, seconds = found["counts"], found["cpu_seconds"]
        assert isinstance(counts, list)
        assert isinstance(seconds, list)
        points = [_place(n, s) for n, s in zip(counts, seconds, strict=True)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        bound = [_place(n, seconds[0] * (n / counts[0]) ** 1.3) for n in (counts[0], counts[-1])]
        dashed = " ".join(f"{x:.1f},{y:.1f}" for x, y in bound)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<polyline points="{dashed}" fill="none" stroke="{colour}" stroke-dasharray="4 4"/>')
        parts.append(f'<text x="{_LEFT + 12}" y="{20 + 16 * at}" fill="{colour}">{name}: n^{found["exponent"]}</text>')
    parts.append(
        f'<text x="{_LEFT}" y="{_HEIGHT - 8}">CPU seconds of the search by samples; dashed: n^1.3</text></svg>'
    )
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    lines = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    Path(sys.argv[2]).write_text(draw(lines))
