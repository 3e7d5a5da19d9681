"""Rematch: what a finished dataset's registry says by now of samples that it said otherwise of before.

A grant ends, or its key is trusted no more; a person corrects a verdict. Neither is a new entry, so that neither
shows in the registry's number; both are found here by what they named.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from filters.optout.entries import Kind
from filters.optout.grants import parse_grant, verified
from filters.optout.judging import rights_masks
from filters.rules import primary_codes
from pipelines.jobs.match import encoder_of, make_matcher, matches_of, trusted_keys
from pipelines.jobs.rights import matched_now, matches_part, policy_of, scored_files
from pipelines.registry.reviews import Judgement, verdicts
from pipelines.registry.store import Registry, Snapshot
from pipelines.retraction.index import find_positions
from pipelines.retraction.rewrite import without_uids
from pipelines.run.directory import Run
from pipelines.run.parts import PartWriter, part_name, read_marker
from pipelines.run.recipe_rights import Rights


@dataclass(frozen=True)
class Tightened:
    """A sample that is denied by now and was not by the run's stored matches.

    `position` in the run, `mask`: all reasons that its rights give now, `rows`: its rows of `matches` as of now.
    """

    position: int
    uid: str
    mask: np.uint64
    rows: tuple[dict[str, Any], ...]

    @property
    def words(self) -> str:
        """Name the sample and the first reason."""
        return f"{self.uid} ({primary_codes(np.array([self.mask], dtype=np.uint64))[0].as_py()})"


def tightened(run: Run, registry: Registry, snapshot: Snapshot) -> list[Tightened]:
    """Return the samples that `snapshot`, at its time, denies and the stored matches do not. Raises `BadInput`.

    Looked at are those that a grant names that does not hold then, and those that a person has judged the same as a
    registered work. Samples that newer entries name are found by those.
    """
    keys = unsettled_keys(registry, snapshot, run.recipe.rights)
    if not keys:
        return []
    matcher = make_matcher(registry, snapshot, run.recipe.rights, encoder_of(run))
    policy = policy_of(run.recipe.rights)
    found: list[Tightened] = []
    for index, start, rows in rows_with(run, keys):
        if not run.store.exists(part_name("signals", index)):
            continue  # the check has a code of its own for that
        all_uids = run.table("samples", index, ["uid"]).column("uid").combine_chunks()
        rows = list(range(len(all_uids))) if rows is None else rows
        uids, signals = all_uids.take(pa.array(rows, pa.int64())), run.table("signals", index)
        matches = matches_of(run, matcher, index, rows)
        before = rights_masks(uids, signals, matches_part(run, index), policy)
        now = rights_masks(uids, signals, matches, policy)
        by_uid: dict[str, dict[object, dict[str, Any]]] = defaultdict(dict)
        for row in matches.to_pylist():  # a uid that stands in several rows has its matches once
            by_uid[row["uid"]][row["entry"], row["method"], row["outcome"]] = row
        for at in np.flatnonzero(now & ~before):
            uid = uids[int(at)].as_py()
            found.append(Tightened(start + rows[at], uid, now[at], tuple(by_uid[uid].values())))
    return found


def unsettled_keys(registry: Registry, snapshot: Snapshot, rights: Rights) -> list[str]:
    """Return the keys (`kind:key`) of samples on which the registry may have changed its mind without a new entry.

    What grants name that do not hold at the snapshot's time, and pictures that a person has judged the same.
    """
    grants = list(registry.special(Kind.GRANT, snapshot.seq))
    trusted = trusted_keys(rights) if grants else ()
    ended = [entry for entry in grants if not verified(parse_grant(entry.value), trusted, snapshot.at)]
    said = verdicts(registry, snapshot.at)
    same = [picture for (entry, picture), verdict in said.items() if verdict is Judgement.SAME and picture]
    return sorted({*(key for entry in ended for key in entry.keys), *(f"sha256:{picture}" for picture in same)})


def rows_with(run: Run, keys: list[str] | None) -> list[tuple[int, int, list[int] | None]]:
    """Return part, its first position, and the rows that may have one of `keys`; None for all rows of the part.

    All rows of all parts where `keys` is None, or where the run has no index of keys.
    """
    parts = run.parts("samples")
    rows = [run.marker("samples", index).rows for index in parts]
    starts = np.concatenate([[0], np.cumsum(rows, dtype=np.int64)])
    if keys is None or not run.parts("index"):
        return [(index, int(start), None) for index, start in zip(parts, starts, strict=False)]
    by_part: dict[int, list[int]] = defaultdict(list)
    for position in find_positions(run, keys):
        part = int(np.searchsorted(starts, position, side="right")) - 1
        by_part[part].append(int(position - starts[part]))
    return [(parts[part], int(starts[part]), found) for part, found in sorted(by_part.items())]


def settle(old: Run, new: Run, index: int, uids: set[str]) -> None:
    """Take the samples `uids` out of one part's matches, and note the scores that a retraction has left there.

    `old` is the dataset as it was, `new` as it is staged. Matches that were up to date stay so: what the retraction
    purged from the scores is not to be matched again, since its matches say why it left.
    """
    name, file = part_name("matches", index, ""), part_name("matches", index)
    marker = read_marker(new.store, name)
    if marker is None:
        return
    current = matched_now(old, index)
    table = new.table("matches", index)
    left = without_uids(table, uids).replace_schema_metadata(table.schema.metadata)
    writer = PartWriter(new.store, name, marker.fingerprint)
    writer.add_table(file, left)
    facts = {**marker.facts, "scored": scored_files(new, index)} if current else marker.facts
    writer.commit(left.num_rows, facts)
