"""Crosses of two groups: which cells are nearly empty, and which are fuller or emptier than their margins say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

from scipy import special

from audit.metrics.estimate import check_counts

#: Cells below this are named as too small to say anything about (governance facts §4.2, 9).
SMALL = 30


@dataclass(frozen=True)
class Cell:
    """One cross: its count, what independence would give, the adjusted residual (z) and its p; None if undefined."""

    one: str
    other: str
    count: int
    expected: float
    residual: float | None
    p: float | None

    @property
    def small(self) -> bool:
        """Tell whether the cell is too small to say anything about."""
        return self.count < SMALL


def cells(table: Mapping[tuple[str, str], int], ones: list[str], others: list[str]) -> list[Cell]:
    """Return all cells of a table with adjusted standardised residuals (Haberman 1973), rows first.

    A residual beyond 3 says that the cross has more, or fewer, samples than its two margins explain.
    """
    check_counts(tuple(table.values()))
    rows = {one: sum(table.get((one, other), 0) for other in others) for one in ones}
    columns = {other: sum(table.get((one, other), 0) for one in ones) for other in others}
    n = sum(rows.values())
    found = []
    for one in ones:
        for other in others:
            count = table.get((one, other), 0)
            expected = rows[one] * columns[other] / n if n else 0.0
            variance = expected * (1 - rows[one] / n) * (1 - columns[other] / n) if n else 0.0
            residual = (count - expected) / sqrt(variance) if variance > 0 else None
            p = None if residual is None else 2 * float(special.ndtr(-abs(residual)))
            found.append(Cell(one, other, count, expected, residual, p))
    return found
