"""Inline SVG of a training: a curve, bars by noise level, how often samples were seen. Colours are the page's."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from dashboards.text import axis_number, clean

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 320, 52, 10, 10, 22


def curve_figure(
    ident: str, title: str, points: Sequence[tuple[float, float]], wide: bool = False, height: int = 150
) -> Markup:
    """Draw one metric over steps. `points` are (step, value), steps rising; one point alone is a dot."""
    width = 2 * _WIDTH if wide else _WIDTH
    steps, values = [x for x, _ in points], [y for _, y in points]
    low, high = min(values), max(values)
    if low == high:
        low, high = low - max(abs(low), 1e-9) * 0.1, high + max(abs(high), 1e-9) * 0.1
    first, last = steps[0], steps[-1] if steps[-1] > steps[0] else steps[0] + 1
    bottom, plot = height - _BOTTOM, width - _LEFT - _RIGHT

    def place(step: float, value: float) -> tuple[float, float]:
        return (
            _LEFT + plot * (step - first) / (last - first),
            bottom - (bottom - _TOP) * (value - low) / (high - low),
        )

    marks = [low + (high - low) * at / 2 for at in range(3)]
    grid = [
        Markup('<line class="grid" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>').format(
            _LEFT, width - _RIGHT, y=place(first, mark)[1]
        )
        + _text(_LEFT - 6, place(first, mark)[1] + 4, _tick(mark), "end")
        for mark in marks
    ]
    ends = [
        _text(place(step, low)[0], height - 5, f"{int(step):,}", anchor)
        for step, anchor in ((steps[0], "start"), (steps[-1], "end"))
        if step == steps[0] or len(points) > 1
    ]
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
    end = place(*points[-1])
    line = Markup('<polyline class="line" points="{}"/>').format(drawn)
    dot = Markup('<circle class="end" cx="{:.1f}" cy="{:.1f}" r="3.2"/>').format(*end)
    words = (
        f"{len(points)} points from step {int(steps[0]):,} to {int(steps[-1]):,}: {values[0]:.4g} to {values[-1]:.4g}"
    )
    return _figure(ident, title, words, width, height, [*grid, *ends, line, dot])


def level_figure(ident: str, title: str, levels: Sequence[tuple[str, float, float]]) -> Markup:
    """Draw the loss of each noise level: a bar for the last window, a ring for the first."""
    width, height = 2 * _WIDTH, 170
    bottom, plot = height - _BOTTOM, width - _LEFT - _RIGHT
    top = max([1e-12, *(max(first, last) for _, first, last in levels)])
    each = plot / max(1, len(levels))
    drawn = []
    for at, (name, first, last) in enumerate(levels):
        x = _LEFT + each * at
        tall = (bottom - _TOP) * max(last, 0.0) / top
        drawn.append(
            Markup('<rect class="kept" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                x + each * 0.18, bottom - tall, each * 0.64, tall
            )
        )
        y = bottom - (bottom - _TOP) * max(first, 0.0) / top
        drawn.append(Markup('<circle class="before" cx="{:.1f}" cy="{:.1f}" r="4"/>').format(x + each / 2, y))
        drawn.append(_text(x + each / 2, height - 6, name.lstrip("0") or "0", "middle"))
    marks = [
        Markup('<line class="grid" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>').format(_LEFT, width - _RIGHT, y=y)
        + _text(_LEFT - 6, y + 4, _tick(value), "end")
        for value in (0.0, top / 2, top)
        for y in [bottom - (bottom - _TOP) * value / top]
    ]
    words = "; ".join(f"level {name}: {first:.4g} at first, {last:.4g} now" for name, first, last in levels)
    return _figure(ident, title, words, width, height, [*marks, *drawn])


def seen_figure(ident: str, title: str, times: Sequence[tuple[str, int]]) -> Markup:
    """Draw how many samples were seen how often."""
    width, height = 2 * _WIDTH, 150
    bottom, plot = height - _BOTTOM, width - _LEFT - _RIGHT
    top = max([1, *(count for _, count in times)])
    each = min(plot / max(1, len(times)), 64.0)
    drawn = []
    for at, (name, count) in enumerate(times):
        tall = (bottom - _TOP - 12) * count / top
        x = _LEFT + each * at
        drawn.append(
            Markup('<rect class="kept" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                x + 2, bottom - tall, each - 4, tall
            )
        )
        drawn.append(_text(x + each / 2, bottom - tall - 4, axis_number(count) if count else "", "middle"))
        drawn.append(_text(x + each / 2, height - 6, name, "middle"))
    words = "; ".join(f"{name} times: {count:,} samples" for name, count in times)
    return _figure(ident, title, words, width, height, drawn)


def _tick(value: float) -> str:
    """Return a tick's value in two or three digits, short enough for the margin."""
    if abs(value) < 1e-12:
        return "0"
    if abs(value) < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-").replace("-", "−")
    return axis_number(float(f"{value:.2g}") if abs(value) < 1 else value)


def _text(x: float, y: float, words: str, anchor: str) -> Markup:
    return Markup('<text class="tick" text-anchor="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(anchor, x, y, words)


def _figure(ident: str, title: str, words: str, width: int, height: int, body: list[Markup]) -> Markup:
    return Markup(
        '<svg class="training-figure" viewBox="0 0 {w} {h}" role="img" aria-labelledby="{i}-t {i}-d">'
        '<title id="{i}-t">{title}</title><desc id="{i}-d">{words}</desc>{body}</svg>'
    ).format(w=width, h=height, i=ident, title=clean(title), words=clean(words, 1200), body=Markup("").join(body))
