"""What a run's filters can be set to: values with their counts, ranges of scores, reasons that occur."""

from __future__ import annotations

from dataclasses import dataclass

from dashboards.web.catalogue import Opened
from dashboards.web.query.samples import codes


@dataclass(frozen=True)
class Choice:
    """One value of a text column, score or group, and how many samples have it, all and kept."""

    value: str
    samples: int
    kept: int


@dataclass(frozen=True)
class Spread:
    """Smallest and largest value of a score; None where no sample has it."""

    samples: int
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Choices:
    """All choices of a run. Values are the most frequent ones; others can be written into the address."""

    reasons: list[tuple[str, int]]
    texts: dict[str, list[Choice]]
    groups: dict[str, list[Choice]]
    spreads: dict[str, Spread]


def choices(opened: Opened) -> Choices:
    """Return the choices, from the index's summaries."""
    texts: dict[str, list[Choice]] = {}
    groups: dict[str, list[Choice]] = {}
    for source, name, value, n, kept in opened.reader.rows("SELECT * FROM choices ORDER BY n DESC, value"):
        (groups if source == "groups" else texts).setdefault(name, []).append(Choice(value, n, kept))
    found: dict[str, int] = {}
    for bits, n in opened.reader.rows("SELECT mask, sum(n) FROM masks WHERE mask <> 0 GROUP BY mask"):
        for code in codes(int(bits)):
            found[code] = found.get(code, 0) + int(n)
    spreads = {name: Spread(n, low, high) for name, n, low, high in opened.reader.rows("SELECT * FROM ranges")}
    return Choices(sorted(found.items(), key=lambda item: (-item[1], item[0])), texts, groups, spreads)
