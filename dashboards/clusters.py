"""Duplicate clusters as galleries: who stays first, then who went for it, near ones before far ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dashboards.cards import Card, Row, Shown, difference, fetch, plain_card
from dashboards.galleries import PICTURES, Board
from dashboards.text import number
from filters.reasons import Reason
from pipelines.run.directory import Run

#: Clusters that the report shows.
CLUSTERS = 6

#: How a member is ranked: kept, gone for another one, or dropped by a rule before; then by distance and uid.
_Rank = tuple[int, float, str]


@dataclass(frozen=True)
class ClusterShown:
    """One cluster: how many members it has, how many are kept in the end, how many went for others; some cards."""

    size: int
    kept: int
    gone: int
    shown: Shown

    @property
    def title(self) -> str:
        """What the gallery is called."""
        rest = self.size - self.kept - self.gone
        dropped = f", {number(rest)} dropped for other reasons" if rest else ""
        return (
            f"{number(self.size)} pictures: {number(self.kept)} kept, {number(self.gone)} gone as duplicates{dropped}"
        )


def largest_clusters(run: Run) -> list[ClusterShown]:
    """Return the largest cluster of a run, then those of which most members went as duplicates."""
    sizes, gone = _counts(run)
    if not sizes:
        return []
    by_size = sorted(sizes, key=lambda name: (-sizes[name], name))
    by_gone = sorted(gone, key=lambda name: (-gone[name], name))
    chosen = list(dict.fromkeys([by_size[0], *by_gone, *by_size]))[:CLUSTERS]
    return [_shown(run, name) for name in chosen]


def _counts(run: Run) -> tuple[Counter[int], Counter[int]]:
    """Return the members of each cluster, and those of them that went as duplicates."""
    sizes: Counter[int] = Counter()
    gone: Counter[int] = Counter()
    for ledger in run.tables("ledger", ["cluster", "duplicate_method"]):
        ledger = ledger.filter(pc.is_valid(ledger.column("cluster")))
        for counter, rows in ((sizes, ledger), (gone, ledger.filter(pc.is_valid(ledger.column("duplicate_method"))))):
            names, counts = np.unique(rows.column("cluster").to_numpy(), return_counts=True)
            counter.update(dict(zip(names.tolist(), counts.tolist(), strict=True)))
    return sizes, gone


def _shown(run: Run, cluster: int) -> ClusterShown:
    members: list[tuple[_Rank, tuple[int, int]]] = []
    for part in run.parts("ledger"):
        columns = ["uid", "decision", "cluster", "duplicate_method", "duplicate_distance"]
        ledger = run.table("ledger", part, columns)
        rows = np.flatnonzero(pc.fill_null(pc.equal(ledger.column("cluster"), cluster), False).to_numpy())
        for row, found in zip(rows.tolist(), ledger.take(pa.array(rows, pa.int64())).to_pylist(), strict=True):
            kind = 0 if found["decision"] == "kept" else 1 if found["duplicate_method"] else 2
            members.append(((kind, found["duplicate_distance"] or 0.0, found["uid"]), (part, row)))
    kinds = [[place for (kind, _, _), place in sorted(members) if kind == wanted] for wanted in range(3)]
    wanted = _mixed(*kinds)
    rows_of = fetch(run, set(wanted), [])
    cards = [_card(rows_of[place]) for place in wanted]
    veiled = any(card.veiled for card in cards)
    for card in cards:  # the same picture stands beside it: what hides one hides all
        card.veiled = veiled
    board = Board(Reason.NEAR_DUPLICATE, "cluster", PICTURES, lambda view: (view.kept, view.tickets))
    return ClusterShown(len(members), len(kinds[0]), len(kinds[1]), Shown(board, "cluster", cards, []))


def _mixed(
    kept: list[tuple[int, int]], gone: list[tuple[int, int]], others: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Return up to `PICTURES` places: a third who stayed, then who went, spread from near to far, then the others."""
    some = kept[: max(PICTURES // 3, PICTURES - len(gone) - len(others))]
    some += _spread(gone, PICTURES - len(some) - min(len(others), PICTURES // 6))
    return some + _spread(others, PICTURES - len(some))


def _spread(places: list[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    picks = np.unique(np.linspace(0, len(places) - 1, min(count, len(places))).round().astype(int))
    return [places[int(pick)] for pick in picks]


def _card(row: Row) -> Card:
    card = plain_card(row, Reason.NEAR_DUPLICATE)
    card.others = []
    card.value = difference(row) if row["duplicate_method"] else card.state
    return card
