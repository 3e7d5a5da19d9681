"""Text and numbers as the report shows them. Captions and metadata come from strangers."""

from __future__ import annotations

import re
import unicodedata
from math import isfinite

from markupsafe import Markup, escape

#: Most characters of one caption, key or detail.
CUT = 120

#: Explicit direction marks could turn the text around them; <bdi> gives each text its own direction anyway.
_DIRECTION = dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
_SPACE = re.compile(r"\s+")
_INVISIBLE = {"Cc", "Cs", "Co", "Cn"}


def clean(text: str | None, limit: int = CUT) -> str:
    """Return `text` on one line, cut to `limit` characters, without controls and direction marks."""
    # cut first: a caption may have megabytes, and what a mark takes away is never more than it
    line = _SPACE.sub(" ", (text or "")[: 8 * limit].translate(_DIRECTION)).strip()
    cut = line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
    return "".join("\ufffd" if unicodedata.category(c) in _INVISIBLE else c for c in cut)


def number(value: int) -> str:
    """Return a count with thousands separators."""
    return f"{value:,}"


def share(part: int, whole: int) -> str:
    """Return a percentage; never 0% for something, nor 100% for less than all."""
    if whole <= 0:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "<0.1%"
    if 99.9 < percent < 100:
        return ">99.9%"
    return f"{percent:.0f}%" if percent in (0, 100) else f"{percent:.1f}%"


def score(value: float, digits: int = 4) -> str:
    """Return a score with `digits` significant digits and without an exponent where that is readable."""
    if not isfinite(value):
        return "none"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}".replace("-", "−")
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}".replace("-", "−")
    return f"{value:.{digits}g}".replace("-", "−")


def score_beside(value: float, bound: float) -> str:
    """Return a score with as many digits as tell it from `bound`."""
    for digits in range(4, 10):
        text = score(value, digits)
        if value == bound or text != score(bound, digits):
            return text
    return score(value, 17)


def axis_number(value: float) -> str:
    """Return a short label for an axis: 1.5k, 20M, 0.25."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{suffix}".replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def ticked(text: str) -> Markup:
    """Return `text` as HTML, what stands between back-ticks as code."""
    pieces = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if index % 2 else escape(piece) for index, piece in enumerate(pieces)
    )
