"""Which samples stay under quotas on one or more groups: the counts of `quotas`, the choice by lottery.

Quotas on several groups are met by turns: leaving samples out for one changes the counts of the others. A turn never
brings a sample back, so the turns end; they stop when one leaves nothing out, or after `TURNS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np

from audit.weighting.quotas import Filled, fill, fraction

#: Turns after which quotas on several groups are left as they are.
TURNS = 100


@dataclass(frozen=True)
class Coded:
    """A group whose values divide the samples: `codes` (n,) are positions in `values` (sorted), -1 for none."""

    values: tuple[str, ...]
    codes: np.ndarray

    def counts(self, alive: np.ndarray) -> dict[str, int]:
        """Return how many of the rows `alive` (n,) have each value."""
        found = np.bincount(self.codes[alive & (self.codes >= 0)], minlength=len(self.values))
        return dict(zip(self.values, found.tolist(), strict=True))

    def only(self, values: Sequence[str]) -> Coded:
        """Return the group as if it had no other values."""
        wanted = set(values)
        mine = np.array([value in wanted for value in self.values], dtype=bool)
        return Coded(self.values, np.where(np.append(mine, False)[self.codes], self.codes, -1))


@dataclass(frozen=True)
class Quota:
    """Minimum shares of values among the samples of a group, or among those that have one of the values `among`.

    At most the fraction `max_drop` of those samples is left out for it.
    """

    group: str
    minimum: Mapping[str, Fraction]
    among: tuple[str, ...] | None
    max_drop: float


def parity(group: str, values: Sequence[str], max_drop: float) -> Quota:
    """Return the quota that asks for equally many of each of the values."""
    return Quota(group, {value: Fraction(1, len(values)) for value in values}, tuple(values), max_drop)


@dataclass(frozen=True)
class Chosen:
    """What quotas leave out: `dropped` (n,) bool for each, what each came to, turns, whether they came to rest."""

    dropped: tuple[np.ndarray, ...]
    filled: tuple[Filled, ...]
    turns: int
    settled: bool


def last_in_line(group: Coded, alive: np.ndarray, keep: Mapping[str, int], tickets: np.ndarray) -> np.ndarray:
    """Return (n,) bool: living rows of each value beyond its `keep` first, by `tickets` (n,), the smallest first.

    Values that `keep` does not name lose no row.
    """
    over = np.zeros(len(alive), dtype=bool)
    rows = np.flatnonzero(alive & (group.codes >= 0))
    if len(rows) == 0:
        return over
    order = rows[np.lexsort([tickets[rows], group.codes[rows]])]
    codes = group.codes[order]
    rank = np.arange(len(order)) - np.searchsorted(codes, codes)
    limits = np.array([keep.get(value, len(alive)) for value in group.values], dtype=np.int64)
    over[order[rank >= limits[codes]]] = True
    return over


def choose(
    groups: Mapping[str, Coded], alive: np.ndarray, quotas: Sequence[Quota], tickets: Sequence[np.ndarray]
) -> Chosen:
    """Leave rows out until every quota is reached, or as near as its `max_drop` lets it come.

    `alive` (n,): rows that may stay. `tickets`: (n,) for each quota, who goes last first.
    """
    living = alive.copy()
    views = [groups[q.group] if q.among is None else groups[q.group].only(q.among) for q in quotas]
    least = [
        ceil((1 - fraction(quota.max_drop)) * int((living & (view.codes >= 0)).sum()))
        for quota, view in zip(quotas, views, strict=True)
    ]
    dropped = [np.zeros(len(alive), dtype=bool) for _ in quotas]
    filled: list[Filled] = []
    turns, settled = 0, not quotas
    while not settled and turns < TURNS:
        turns += 1
        settled, filled = True, []
        for number, (quota, view) in enumerate(zip(quotas, views, strict=True)):
            filled.append(fill(view.counts(living), quota.minimum, least[number]))
            gone = last_in_line(view, living, filled[-1].keep, tickets[number])
            settled = settled and not gone.any()
            dropped[number] |= gone
            living &= ~gone
    return Chosen(tuple(dropped), tuple(filled), turns, settled)
