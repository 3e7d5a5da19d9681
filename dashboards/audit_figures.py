"""Inline SVG of the audit: shares against a reference, and effects with their intervals. Colours are the page's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from dashboards.text import clean

_WIDTH, _LABEL, _RIGHT, _ROW, _TOP, _BOTTOM = 640, 190, 16, 26, 10, 26
_PLOT = _WIDTH - _LABEL - _RIGHT


@dataclass(frozen=True)
class Bar:
    """One value: its share with interval among the kept, before the balance, by weight, and in the reference."""

    label: str
    share: float
    low: float
    high: float
    before: float | None = None
    weighted: float | None = None
    reference: float | None = None


@dataclass(frozen=True)
class Dot:
    """One effect with its interval; `sure` where it is found, else chance may explain it or it does not matter."""

    label: str
    value: float
    low: float
    high: float
    sure: bool


def shares(ident: str, title: str, bars: Sequence[Bar]) -> Markup:
    """Draw shares as bars with whiskers; a line for the reference, a ring for before, a diamond for by weight."""
    top = max([0.01, *(max(b.high, b.before or 0, b.weighted or 0, b.reference or 0) for b in bars)])
    rows = []
    for index, bar in enumerate(bars):
        y = _TOP + index * _ROW + _ROW / 2
        rows.append(_label(bar.label, y))
        rows.append(
            Markup('<rect class="kept" x="{}" y="{:.1f}" width="{:.1f}" height="12"/>').format(
                _LABEL, y - 6, _PLOT * bar.share / top
            )
        )
        rows.append(_whisker(_LABEL + _PLOT * bar.low / top, _LABEL + _PLOT * bar.high / top, y))
        if bar.reference is not None:
            rows.append(
                Markup('<line class="reference" x1="{x:.1f}" x2="{x:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(
                    y - 10, y + 10, x=_LABEL + _PLOT * bar.reference / top
                )
            )
        if bar.before is not None:
            rows.append(
                Markup('<circle class="before" cx="{:.1f}" cy="{:.1f}" r="4"/>').format(
                    _LABEL + _PLOT * bar.before / top, y
                )
            )
        if bar.weighted is not None:
            x = _LABEL + _PLOT * bar.weighted / top
            rows.append(Markup('<path class="weighted" d="M{:.1f} {:.1f}l5 5l-5 5l-5 -5z"/>').format(x, y - 5))
    marks = [(_LABEL + _PLOT * mark / top, f"{100 * mark:g} %") for mark in _marks(top)]
    words = "; ".join(f"{clean(bar.label, 60)} {100 * bar.share:.1f} %" for bar in bars)
    return _figure(ident, title, words, len(bars), rows, marks)


def effects(ident: str, title: str, dots: Sequence[Dot], left: str, right: str) -> Markup:
    """Draw effects around 0 as dots with whiskers; `left` and `right` say what the two sides mean."""
    reach = max([0.1, *(max(abs(d.low), abs(d.high)) for d in dots)])

    def place(value: float) -> float:
        return _LABEL + _PLOT * (value + reach) / (2 * reach)

    rows = [
        Markup('<line class="zero" x1="{x:.1f}" x2="{x:.1f}" y1="{}" y2="{}"/>').format(
            _TOP - 4, _TOP + len(dots) * _ROW, x=place(0)
        )
    ]
    for index, dot in enumerate(dots):
        y = _TOP + index * _ROW + _ROW / 2
        rows.append(_label(dot.label, y))
        rows.append(_whisker(place(dot.low), place(dot.high), y))
        rows.append(
            Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="5"/>').format(
                "sure" if dot.sure else "unsure", place(dot.value), y
            )
        )
    step = next(mark for mark in (0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0, 1e9) if mark * 3 >= reach)
    marks = [(place(i * step), f"{i * step:g}".replace("-", "−")) for i in range(-3, 4) if abs(i * step) <= reach]
    words = f"{left} to the left, {right} to the right. " + "; ".join(
        f"{clean(d.label, 60)} {d.value:.2f}" for d in dots
    )
    figure = _figure(ident, title, words, len(dots), rows, marks)
    return Markup('<div class="sides" aria-hidden="true"><span>← {}</span><span>{} →</span></div>{}').format(
        left, right, figure
    )


def _marks(top: float) -> list[float]:
    step = next(m for m in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0) if m * 6 >= top)
    return [step * i for i in range(7) if step * i <= top * 1.0001]


def _label(text: str, y: float) -> Markup:
    return Markup('<text class="label" text-anchor="end" x="{}" y="{:.1f}">{}</text>').format(
        _LABEL - 8, y + 4, clean(text, 28)
    )


def _whisker(low: float, high: float, y: float) -> Markup:
    return Markup(
        '<path class="whisker" d="M{l:.1f} {y:.1f}H{h:.1f}M{l:.1f} {a:.1f}V{b:.1f}M{h:.1f} {a:.1f}V{b:.1f}"/>'
    ).format(l=low, h=high, y=y, a=y - 4, b=y + 4)


def _figure(
    ident: str, title: str, words: str, count: int, rows: list[Markup], marks: list[tuple[float, str]]
) -> Markup:
    base = _TOP + count * _ROW
    axis = [
        Markup('<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{}" y2="{}"/>').format(_TOP - 4, base, x=x)
        + Markup('<text class="tick" text-anchor="middle" x="{:.1f}" y="{}">{}</text>').format(x, base + 16, text)
        for x, text in marks
    ]
    return Markup(
        '<svg class="audit-figure" viewBox="0 0 {w} {h}" role="img" aria-labelledby="{i}-t {i}-d">'
        '<title id="{i}-t">{title}</title><desc id="{i}-d">{words}</desc>{body}</svg>'
    ).format(w=_WIDTH, h=base + _BOTTOM, i=ident, title=title, words=words, body=Markup("").join([*axis, *rows]))
