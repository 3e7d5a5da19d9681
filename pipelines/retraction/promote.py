"""Who follows a retracted sample: the next best of its near-duplicates, if it is itself clean.

The choice is the recipe's own (`duplicates.keep`), made again among the samples that had been dropped as
duplicates of the retracted one, and only among those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.duplicates import METHODS
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
    """A sample that is kept from now on: its position, the uid of the one that it follows, and that one's shard."""

    position: int
    uid: str
    follows: str
    shard: int


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
        if self._kept[group] >= balance.cap:
            return False
        self._kept[group] += 1
        return True

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


def promote(
    run: Run, ledger: LedgerEditor, retracted: dict[int, int], readable: Callable[[Promotion], bool]
) -> tuple[list[Promotion], list[Promotion]]:
    """Choose who follows the samples at the positions `retracted` (with the shard of each); edits the ledger.

    A follower whose group is full under the recipe's cap gets `BALANCE_CAP`. One whose picture is not `readable` stays
    as it is, and the choice is made again without it; the second list returned names those.
    """
    shards = {str(ledger.row(position)["uid"]): shard for position, shard in retracted.items()}
    groups = _clusters(run, ledger, retracted, set(shards)) if run.recipe.duplicates and retracted else []
    found: list[Promotion] = []
    unreadable: list[Promotion] = []
    room = Room(run, ledger)
    if groups:
        room.leave(list(retracted))
    for members in groups:
        come, lost = _follow(run, ledger, shards, members, room, readable)
        found += come
        unreadable += lost
    return found, unreadable


def _follow(
    run: Run,
    ledger: LedgerEditor,
    shards: dict[str, int],
    members: list[int],
    room: Room,
    readable: Callable[[Promotion], bool],
) -> tuple[list[Promotion], list[Promotion]]:
    """Choose among one cluster's members, as `promote` does; `shards` by the uids of those that left."""
    rows, states = _table(run, ledger, members), [ledger.row(member) for member in members]
    kept = np.array([state["mask"] == 0 for state in states])
    likeness = likeness_of(rows, run.recipe, _vectors(run, ledger, members))
    # who is kept already comes before who may follow. `duplicates.representation` has no say here: the groups of a
    # finished dataset are as they are
    keys = [~kept, *preference_keys(run.recipe, rows)]
    one, alive = np.zeros(len(members), dtype=np.int64), np.ones(len(members), dtype=bool)
    unreadable: list[Promotion] = []
    while True:
        stays = representatives(one, alive, keys, likeness.near)
        heads = np.flatnonzero(alive & ~kept & (stays == np.arange(len(members)))).tolist()
        come = {row: _promotion(members[row], states[row], shards) for row in heads if room.take(members[row])}
        lost = [row for row, promotion in come.items() if not readable(promotion)]
        if not lost:
            break
        room.leave([members[row] for row in come])
        unreadable += [come[row] for row in lost]
        alive[lost] = False
    for row in heads:
        ledger.promote(members[row], shards[str(states[row]["duplicate_of"])])
        if row not in come:
            ledger.drop(members[row], mask(Reason.BALANCE_CAP))
    behind = np.flatnonzero(alive & ~kept & (stays != np.arange(len(members))))
    methods, distances = likeness.explain(behind, stays[behind])
    for row, code, distance in zip(behind.tolist(), methods, distances, strict=True):
        method = METHODS[code]
        ledger.stand_behind(members[row], states[stays[row]]["uid"], REASONS[method], method, float(distance))
    return list(come.values()), unreadable


def _promotion(position: int, state: dict[str, Any], shards: dict[str, int]) -> Promotion:
    follows = str(state["duplicate_of"])
    return Promotion(position, str(state["uid"]), follows, shards[follows])


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
