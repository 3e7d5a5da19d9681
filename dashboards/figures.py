"""Inline SVG: the funnel's bars and the histograms. Colours come from the page's style sheet."""

from __future__ import annotations

from math import ceil, floor, log10

import numpy as np
from markupsafe import Markup

from dashboards.histograms import Axis, Histogram
from dashboards.queries import AppliedRule
from dashboards.text import axis_number, number, score

_WIDTH, _HEIGHT = 560, 236
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 34, 30
_PLOT_WIDTH, _PLOT_HEIGHT = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
_BASE = _TOP + _PLOT_HEIGHT

#: Counts are drawn on a logarithmic scale where the highest bin is this many times the middle one.
_STEEP = 120


def funnel_bar(left: int, dropped: int, samples: int) -> Markup:
    """Draw what is left (solid) and what this step took (light), on the scale of all samples.

    Hidden from screen readers: the numbers stand in the same row of the table.
    """
    whole = max(samples, 1)
    width = 240 * left / whole
    taken = max(240 * dropped / whole, 1.5) if dropped else 0.0
    return Markup(
        '<svg class="bar" viewBox="0 0 240 12" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        '<rect class="rail" width="240" height="12"/>'
        '<rect class="left" width="{:.2f}" height="12"/>'
        '<rect class="taken" x="{:.2f}" width="{:.2f}" height="12"/></svg>'
    ).format(width, min(width, 240 - taken), taken)


def histogram(name: str, ident: str, data: Histogram, rules: list[AppliedRule]) -> Markup:
    """Draw one score column: all readable samples, the kept ones before them, bounds as dashed lines.

    `ident` makes the ids of title and description unique on the page.
    """
    scale = _CountScale(data.total)
    parts = [_grid(scale), _outside(data.axis, rules), _bars(data, scale), _ticks(data.axis), _lines(data.axis, rules)]
    return Markup(
        '<svg class="histogram" viewBox="0 0 {w} {h}" role="img" aria-labelledby="{i}-t {i}-d">'
        '<title id="{i}-t">{title}</title><desc id="{i}-d">{desc}</desc>{body}</svg>'
    ).format(
        w=_WIDTH,
        h=_HEIGHT,
        i=ident,
        title=f"Histogram of {name}",
        desc=describe(data, rules),
        body=Markup("").join(parts),
    )


def describe(data: Histogram, rules: list[AppliedRule]) -> str:
    """Say in words what the histogram shows."""
    spread, kept = data.spread, int(data.kept.sum())
    if spread.count == 0:
        return "No sample has this score."
    text = (
        f"{number(spread.count)} scored samples, {number(kept)} of them kept. "
        f"Smallest {score(spread.low)}, mean {score(spread.mean)}, largest {score(spread.high)}."
    )
    bounds = [f"{'at least' if side == 'low' else 'at most'} {score(b, 6)}" for r in rules for side, b in r.sides]
    return f"{text} Bound: {', '.join(bounds)}." if bounds else text


class _CountScale:
    """From a count to a height in the plot; logarithmic where a few bins tower over the rest."""

    def __init__(self, counts: np.ndarray) -> None:
        self.top = max(int(counts.max(initial=0)), 1)
        filled = counts[counts > 0]
        self.log = len(filled) > 3 and self.top > _STEEP * float(np.median(filled))

    def height(self, count: float) -> float:
        part = np.log1p(count) / np.log1p(self.top) if self.log else count / self.top
        return float(part) * _PLOT_HEIGHT

    def marks(self) -> list[int]:
        """Return a few round counts for grid lines."""
        if self.log:
            powers = range(1, floor(log10(self.top)) + 1)
            return [10**p for p in powers if p % (1 if len(powers) <= 4 else 2) == 0]
        step = max(1, int(_round_step(self.top / 5)))
        return list(range(step, self.top + 1, step))


def _round_step(raw: float) -> float:
    power: float = 10.0 ** floor(log10(raw))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)


def _grid(scale: _CountScale) -> Markup:
    lines = [
        Markup('<line class="grid" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>').format(
            _LEFT, _WIDTH - _RIGHT, y=_BASE - scale.height(mark)
        )
        + Markup('<text class="tick" text-anchor="end" x="{}" y="{:.1f}">{}</text>').format(
            _LEFT - 6, _BASE - scale.height(mark) + 3.5, axis_number(mark)
        )
        for mark in scale.marks()
    ]
    note = "samples, log scale" if scale.log else "samples"
    return Markup("").join(lines) + Markup('<text class="unit" x="4" y="12">{}</text>').format(note)


def _bars(data: Histogram, scale: _CountScale) -> Markup:
    places = [_x(data.axis, float(edge)) for edge in data.axis.edges]
    paths = []
    for kind, counts in (("all", data.total), ("kept", data.kept)):
        steps = []
        for index in np.flatnonzero(counts):
            x, width = places[index], places[index + 1] - places[index]
            # a hair of space between bars, and a hair of height for a single sample among thousands
            gap = 1.0 if width > 4 else 0.0
            height = max(scale.height(int(counts[index])), 1.2)
            steps.append(f"M{x:.1f} {_BASE}v-{height:.1f}h{width - gap:.1f}v{height:.1f}z")
        paths.append(Markup('<path class="{}" d="{}"/>').format(kind, "".join(steps)))
    return Markup("").join(paths)


def _outside(axis: Axis, rules: list[AppliedRule]) -> Markup:
    """Tint what a bound rules out."""
    shapes = []
    for rule in rules:
        for side, bound in rule.sides:
            x = min(max(_x_bound(axis, side, bound), _LEFT), _WIDTH - _RIGHT)
            start, stop = (_LEFT, x) if side == "low" else (x, _WIDTH - _RIGHT)
            shapes.append(
                Markup('<rect class="outside" x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>').format(
                    start, _TOP, stop - start, _PLOT_HEIGHT
                )
            )
    return Markup("").join(shapes)


def _lines(axis: Axis, rules: list[AppliedRule]) -> Markup:
    drawn = []
    bounds = [(side, bound) for rule in rules for side, bound in rule.sides]
    for row, (side, bound) in enumerate(sorted(bounds, key=lambda item: item[1])):
        sign = "≥" if side == "low" else "≤"
        where = _x_bound(axis, side, bound)
        x = min(max(where, _LEFT), _WIDTH - _RIGHT)
        arrow = "" if abs(where - x) < 0.5 else (" ◂ off the chart" if where < x else " off the chart ▸")
        end = x > _LEFT + _PLOT_WIDTH * 0.6
        y = _TOP - 5 - 12 * (row % 2)
        drawn.append(
            Markup('<line class="bound" x1="{x:.1f}" x2="{x:.1f}" y1="{}" y2="{}"/>').format(y, _BASE, x=x)
            + Markup('<text class="bound" text-anchor="{}" x="{:.1f}" y="{}">{}</text>').format(
                "end" if end else "start", x - 4 if end else x + 4, y + 4, f"{sign} {score(bound, 6)}{arrow}"
            )
        )
    return Markup("").join(drawn)


def _ticks(axis: Axis) -> Markup:
    marks = [Markup('<line class="axis" x1="{}" x2="{}" y1="{b}" y2="{b}"/>').format(_LEFT, _WIDTH - _RIGHT, b=_BASE)]
    last = -1e9
    for value in _tick_values(axis):
        x = _x(axis, value)
        if _LEFT - 1 <= x <= _WIDTH - _RIGHT + 1 and x - last > 34:
            last = x
            marks.append(
                Markup('<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{}" y2="{}"/>').format(_BASE, _BASE + 4, x=x)
                + Markup('<text class="tick" text-anchor="middle" x="{:.1f}" y="{}">{}</text>').format(
                    x, _BASE + 17, axis_number(value)
                )
            )
    if axis.log:
        marks.append(
            Markup('<text class="unit" text-anchor="end" x="{}" y="{}">log scale</text>').format(
                _WIDTH - _RIGHT, _HEIGHT - 2
            )
        )
    return Markup("").join(marks)


def _tick_values(axis: Axis) -> list[float]:
    low, high = float(axis.edges[0]), float(axis.edges[-1])
    if axis.log:
        values = [0.0, *(m * 10.0**p for p in range(0, ceil(log10(high)) + 1) for m in (1, 3))]
        return [value for value in values if low - 0.5 <= value <= high]
    step = _round_step((high - low) / 6)
    if axis.integer:
        step = max(1.0, float(round(step)))
    return [round(step * i, 12) + 0.0 for i in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def _x(axis: Axis, value: float) -> float:
    return _LEFT + _PLOT_WIDTH * axis.place(value)


def _x_bound(axis: Axis, side: str, bound: float) -> float:
    return _LEFT + _PLOT_WIDTH * axis.place_bound(side, bound)
