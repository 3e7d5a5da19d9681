"""Which samples the report shows: small, bounded choices, the same for the same run.

A board is one gallery. It sees the run part by part and holds a bounded number of picks: those nearest to
a bound, or those with the smallest tickets. Of one duplicate cluster a board shows one sample as long as
there are others, so that a thousand copies of a star do not hide everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow.compute as pc

from dashboards.queries import AppliedRule, View, not_listed
from filters.reasons import Reason, Stage
from filters.rules import mask

#: Pictures of one gallery, pairs of a gallery of duplicates, rows of a table of failures.
PICTURES, PAIRS, FAILURES = 12, 12, 20

#: Stages whose samples have no picture to show.
UNREADABLE = (Stage.INGEST, Stage.FETCH, Stage.CONTENT, Stage.DECODE)

#: Reasons whose pictures are not shown: who reserved them did not ask for a gallery.
RESERVED = (
    Reason.OPTED_OUT,
    Reason.REGISTRY_OPT_OUT,
    Reason.CREATOR_NAMED,
    Reason.LOOK_ALIKE,
    Reason.OPT_OUT_UNREADABLE,
)


@dataclass(frozen=True, order=True)
class Pick:
    """One chosen sample; ordered by how well it suits the board.

    `secondary`: the board's reason applies, but another one stands before it.
    """

    secondary: bool
    distance: float
    ticket: float
    part: int
    row: int
    uid: str
    group: str = field(compare=False)
    value: float | None = field(compare=False, default=None)


#: Tells which rows of a view a board may show, and how far each is from what it looks for.
Candidates = Callable[[View], tuple[np.ndarray, np.ndarray]]


@dataclass
class Board:
    """A gallery in the making."""

    reason: Reason
    kind: str
    size: int
    candidates: Candidates
    rule: AppliedRule | None = None
    side: str | None = None
    picks: list[Pick] = field(default_factory=list)
    spares: list[Pick] = field(default_factory=list)

    def offer(self, view: View) -> None:
        """Take in one part."""
        wanted, distance = self.candidates(view)
        if self.kind != "failures":
            wanted = wanted & ((view.masks & mask(*RESERVED)) == 0)
        rows = np.flatnonzero(wanted)
        secondary = (view.primary != mask(self.reason)) & ~view.kept
        if len(self.picks) == self.size:
            worst = self.picks[-1]
            rows = rows[(secondary[rows] < worst.secondary) | (distance[rows] <= worst.distance)]
        if len(rows) == 0:
            return
        order = rows[np.lexsort([view.tickets[rows], distance[rows], secondary[rows]])]
        clusters = pc.fill_null(view.ledger.column("cluster"), -1).to_numpy()[order]
        groups = np.where(clusters >= 0, clusters, -1 - order)
        first = np.sort(np.unique(groups, return_index=True)[1])[: self.size]
        near = [i for i in range(min(self.size, len(order))) if i not in set(first.tolist())]

        def pick(index: int) -> Pick:
            row = int(order[index])
            return self._pick(view, row, bool(secondary[row]), float(distance[row]))

        self._merge([pick(int(i)) for i in first], [pick(i) for i in near])

    def _pick(self, view: View, row: int, secondary: bool, distance: float) -> Pick:
        uid = view.ledger.column("uid")[row].as_py()
        cluster = view.ledger.column("cluster")[row].as_py()
        group = uid if cluster is None else f"cluster {cluster}"
        value = float(view.values(self.rule.column)[row]) if self.rule and self.side else None
        return Pick(secondary, distance, float(view.tickets[row]), view.part, row, uid, group, value)

    def _merge(self, first: list[Pick], near: list[Pick]) -> None:
        """Keep the best pick of each cluster; the next best of any cluster are spares."""
        seen: set[str] = set()
        picks: list[Pick] = []
        spares = [*self.spares, *near]
        for pick in sorted([*self.picks, *first]):
            (spares if pick.group in seen else picks).append(pick)
            seen.add(pick.group)
        self.picks, self.spares = picks[: self.size], sorted(spares)[: self.size]

    def chosen(self) -> list[Pick]:
        """Return the picks: those that the reason itself dropped, or else those that it applies to as well."""
        primary = [p for p in self.picks if not p.secondary]
        first = primary or self.picks
        spares = [p for p in self.spares if not (primary and p.secondary)]
        return sorted([*first, *spares[: self.size - len(first)]])


def boards_for(reason: Reason, rules: list[AppliedRule]) -> list[Board]:
    """Return the boards of one reason's section."""
    if reason.stage in UNREADABLE or reason in RESERVED:
        return [Board(reason, "failures", FAILURES, _random(reason))]
    if reason.stage is Stage.DUPLICATE:
        return [Board(reason, "pairs", PAIRS, _random(reason))]
    boards = []
    for rule in rules:
        if rule.reason is not reason:
            continue
        if rule.allow is not None:
            boards.append(Board(reason, "dropped", PICTURES, _unlisted(reason, rule), rule))
        for side, bound in rule.sides:
            boards.append(Board(reason, "dropped", PICTURES, _beyond(reason, rule, side, bound), rule, side))
            boards.append(Board(reason, "kept", PICTURES, _within(rule, side, bound), rule, side))
    return boards or [Board(reason, "dropped", PICTURES, _random(reason))]


def _random(reason: Reason) -> Candidates:
    return lambda view: (view.has(reason), _ticket(view))


def _unlisted(reason: Reason, rule: AppliedRule) -> Candidates:
    return lambda view: (view.has(reason) & not_listed(view, rule), _ticket(view))


def _ticket(view: View) -> np.ndarray:
    """Return (n,) distances at random; samples that have a picture to show come first."""
    return np.asarray(view.tickets + (view.failures != 0))


def _beyond(reason: Reason, rule: AppliedRule, side: str, bound: float) -> Candidates:
    def candidates(view: View) -> tuple[np.ndarray, np.ndarray]:
        values = view.values(rule.column)
        beyond = values < bound if side == "low" else values > bound
        return view.has(reason) & beyond, np.abs(values - bound)

    return candidates


def _within(rule: AppliedRule, side: str, bound: float) -> Candidates:
    def candidates(view: View) -> tuple[np.ndarray, np.ndarray]:
        values = view.values(rule.column)
        within = values >= bound if side == "low" else values <= bound
        return view.kept & within, np.abs(values - bound)

    return candidates
