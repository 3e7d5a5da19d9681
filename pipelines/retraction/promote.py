"""Who follows a retracted sample: the next best of its near-duplicates, if it is itself clean.

The choice is the recipe's own (`duplicates.keep`), made again among the samples that had been dropped as
duplicates of the retracted one, and only among those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.duplicates import METHODS
from filters.duplicates_likeness import Likeness
from filters.reasons import Reason
from filters.rules import mask
from filters.selection import representatives
from pipelines.jobs.dedup import CLUSTERS_FILE
from pipelines.jobs.dedup_choice import DUPLICATE, REASONS, choice_columns, likeness_of, preference_keys
from pipelines.jobs.dedup_columns import part_vectors
from pipelines.retraction.ledger import LedgerEditor
from pipelines.run.directory import Run
from pipelines.run.parts import read_table


@dataclass(frozen=True)
class Promotion:
    """A sample that is kept from now on: its position, the shard of the one that it follows, its state before."""

    position: int
    uid: str
    follows: str
    shard: int
    before: dict[str, Any]


class Room:
    """How many samples of each group the recipe's cap still admits; counts the ledger when first asked."""

    def __init__(self, run: Run, ledger: LedgerEditor) -> None:
        self._run, self._ledger = run, ledger
        self._kept: Counter[str] | None = None

    def take(self, position: int) -> bool:
        """Take a place for the sample in its group; False where there is none."""
        balance, group = self._run.recipe.balance, self._ledger.row(position)["group"]
        if balance is None or balance.cap is None or not group:
            return True
        if self._kept is None:
            self._kept = self._count()
        self._kept[group] += 1
        return self._kept[group] <= balance.cap

    def leave(self, positions: list[int]) -> None:
        """Give back the places of samples that are no longer kept."""
        if self._run.recipe.balance is not None:
            self._kept = self._kept or self._count()
            self._kept.subtract(str(self._ledger.row(position)["group"]) for position in positions)

    def _count(self) -> Counter[str]:
        kept: Counter[str] = Counter()
        for table in self._run.tables("ledger", ["group", "decision"]):
            rows = table.filter(pc.equal(table.column("decision").cast(pa.string()), "kept"))
            for item in pc.value_counts(rows.column("group").combine_chunks()).to_pylist():
                kept[str(item["values"])] += item["counts"]
        return kept


def promote(run: Run, ledger: LedgerEditor, retracted: dict[int, int]) -> list[Promotion]:
    """Choose who follows the samples at the positions `retracted` (with the shard of each); edits the ledger.

    A follower whose group is full under the recipe's cap gets `BALANCE_CAP`.
    """
    heads = {str(ledger.row(position)["uid"]): shard for position, shard in retracted.items()}
    groups = _clusters(run, ledger, retracted, set(heads)) if run.recipe.duplicates and retracted else []
    found: list[Promotion] = []
    room = Room(run, ledger)
    if groups:
        room.leave(list(retracted))
    for members in groups:
        rows = _table(run, ledger, members)
        kept = np.array([ledger.row(member)["mask"] == 0 for member in members])
        likeness = likeness_of(rows, run.recipe, _vectors(run, ledger, members))
        stays = _choice(run, rows, kept, likeness)
        methods, distances = likeness.explain(np.arange(len(stays)), stays)
        uids = rows.column("uid").to_pylist()
        for row in np.flatnonzero(~kept):
            head, before = int(stays[row]), ledger.row(members[row])
            if head != row:
                method = METHODS[methods[row]]
                ledger.stand_behind(members[row], uids[head], REASONS[method], method, float(distances[row]))
                continue
            follows = str(before["duplicate_of"])
            ledger.promote(members[row], heads[follows])
            if room.take(members[row]):
                found.append(Promotion(members[row], uids[row], follows, heads[follows], before))
            else:
                ledger.drop(members[row], mask(Reason.BALANCE_CAP))
    return found


def flag_alikes(run: Run, ledger: LedgerEditor, denied: list[int]) -> None:
    """Give each kept duplicate of a sample at the positions `denied` that one's uid, unless it has another's already.

    As `decide` does for those that opted out before; to be called once all who leave and follow are known.
    """
    if not run.recipe.duplicates or not denied:
        return
    gone = set(denied)
    for members in _members(run, denied):
        states = {member: ledger.row(member) for member in members}
        kept = {member for member in members if states[member]["mask"] == 0 and not states[member]["alike_opt_out"]}
        both = [member for member in members if member in gone or member in kept]
        if not kept:
            continue
        likeness = likeness_of(_table(run, ledger, both), run.recipe, _vectors(run, ledger, both))
        left = np.array([row for row, member in enumerate(both) if member in kept], dtype=np.int64)
        for row in (row for row, member in enumerate(both) if member in gone):
            near = likeness.near(row, left)
            for other in left[near]:
                ledger.flag_alike(both[other], str(states[both[row]]["uid"]))
            left = left[~near]


def _members(run: Run, positions: Iterable[int]) -> list[list[int]]:
    """Return the members of each cluster that one of the positions is in; both in order."""
    table = read_table(run.store, CLUSTERS_FILE, ["position", "cluster"])
    hit = table.filter(pc.is_in(table.column("position"), value_set=pa.array(sorted(positions), pa.int64())))
    table = table.filter(pc.is_in(table.column("cluster"), value_set=hit.column("cluster").combine_chunks()))
    found: dict[int, list[int]] = {}
    for position, cluster in zip(*(table.column(name).to_pylist() for name in ("position", "cluster")), strict=True):
        found.setdefault(cluster, []).append(position)
    return [sorted(members) for _, members in sorted(found.items())]


def _clusters(run: Run, ledger: LedgerEditor, retracted: dict[int, int], heads: set[str]) -> list[list[int]]:
    """Return for each touched cluster the positions of its kept members and of those that may follow."""
    found = []
    for members in _members(run, retracted):
        states = {member: ledger.row(member) for member in members}
        found.append(
            [
                member
                for member, row in states.items()
                if row["mask"] == 0 or (row["duplicate_of"] in heads and row["mask"] & ~DUPLICATE == 0)
            ]
        )
    return [members for members in found if members]


def _table(run: Run, ledger: LedgerEditor, members: list[int]) -> pa.Table:
    """Return the columns that the choice needs, one row a member, in order."""
    tables, wanted = [], choice_columns(run.recipe)
    for part, rows in _places(ledger, members):
        samples, scores = run.table("samples", part, wanted), run.table("scores", part, wanted)
        for name in scores.column_names:
            if name not in samples.column_names:
                samples = samples.append_column(scores.schema.field(name), scores.column(name))
        tables.append(samples.take(rows))
    return pa.concat_tables(tables)


def _places(ledger: LedgerEditor, members: list[int]) -> list[tuple[int, list[int]]]:
    """Return the parts that hold the members, and their rows there."""
    found: dict[int, list[int]] = {}
    for part, row in map(ledger.place, members):
        found.setdefault(part, []).append(row)
    return sorted(found.items())


def _vectors(run: Run, ledger: LedgerEditor, members: list[int]) -> np.ndarray | None:
    """Return the members' picture embeddings (n, d) where the recipe compares by them."""
    if run.recipe.duplicates is None or run.recipe.duplicates.cosine is None:
        return None
    parts = [(part_vectors(run, part), rows) for part, rows in _places(ledger, members)]
    width = next((vectors.shape[1] for vectors, _ in parts if vectors is not None), 1)
    return np.concatenate([np.zeros((len(r), width), np.float16) if v is None else v[r] for v, r in parts])


def _choice(run: Run, rows: pa.Table, kept: np.ndarray, likeness: Likeness) -> np.ndarray:
    """Return for each row (n,) the row that stays for it; who is kept already comes before who may follow.

    `duplicates.representation` has no say here: the groups of a finished dataset are as they are.
    """
    one, alive = np.zeros(rows.num_rows, dtype=np.int64), np.ones(rows.num_rows, dtype=bool)
    return representatives(one, alive, [~kept, *preference_keys(run.recipe, rows)], likeness.near)
