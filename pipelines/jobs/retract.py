"""Retract: a finished dataset without the samples that the registry denies by now.

Only the parts and shards that hold such a sample are rewritten. Everything is staged first and takes effect in
one step, so that a job that is killed leaves the old dataset or the new one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pyarrow as pa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from filters.errors import BadInput
from filters.optout.judging import match_reason
from filters.rules import mask
from pipelines.jobs.audit import audit
from pipelines.jobs.balance import shard_name, sidecar_rows, write_index
from pipelines.jobs.finish import VERSIONS
from pipelines.jobs.match import pin, snapshot_body
from pipelines.jobs.rematch import Tightened, settle
from pipelines.jobs.reread import known_hashes, same_records
from pipelines.jobs.rights import policy_of
from pipelines.progress import Meter
from pipelines.registry.store import Snapshot
from pipelines.retraction.ledger import LedgerEditor, counts_after
from pipelines.retraction.promote import Promotion, flag_alikes, promote
from pipelines.retraction.receipts import FORMAT, Found, read_receipt, receipt_name, write_receipt
from pipelines.retraction.rewrite import (
    Arrival,
    Held,
    purge_downloads,
    purge_duplicates,
    purge_latents,
    purge_scores,
    replace_matches,
    rewrite_shard,
)
from pipelines.retraction.versions import RETRACTIONS, keep_version, taken_out, version_records, versions_with
from pipelines.run.directory import Run
from pipelines.run.manifest import build, read_manifest, write_manifest
from pipelines.run.schema import MATCHES
from pipelines.run.signing import sign
from pipelines.run.staged import Staged
from pipelines.run.storage import sha256_stream
from pipelines.run.trainings import trainings
from pipelines.sources.registry import make_source

REPORT = "report.html"


@dataclass(frozen=True)
class Keys:
    """What signs: receipts always, the manifest where `manifest` is given."""

    receipts: Ed25519PrivateKey
    manifest: Ed25519PrivateKey | None = None


@dataclass(frozen=True)
class Match:
    """A sample that an entry of the registry names: its position in the run, and one of its rows of `matches`.

    All rows of such a sample are given, those of entries that were applied before too.
    """

    position: int
    row: dict[str, Any]


@dataclass
class Change:
    """What a retraction does to a run: `denied` are the matched positions that a match really takes out.

    `held` names by uid the files that held something of a sample until then.
    """

    ledger: LedgerEditor
    matched: dict[int, list[dict[str, Any]]]
    denied: list[int] = field(default_factory=list)
    before: dict[int, dict[str, Any]] = field(default_factory=dict)
    retracted: dict[int, int] = field(default_factory=dict)
    came: list[Promotion] = field(default_factory=list)
    not_followed: list[Promotion] = field(default_factory=list)
    arrivals: dict[int, list[Arrival]] = field(default_factory=lambda: defaultdict(list))
    held: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def note(self, held: Held) -> None:
        """Note which files held something of which samples."""
        for name, uids in held.items():
            for uid in uids:
                self.held[uid].append(name)


def retract(
    run: Run,
    matches: list[Match],
    requests: list[dict[str, Any]],
    snapshot: Snapshot,
    keys: Keys,
    again: Sequence[Tightened] = (),
) -> dict[str, Any]:
    """Apply the registry's entries `requests`, which name the samples `matches`; return the retraction's record.

    `again`: samples that are denied by now without a newer entry; they leave too.
    `snapshot` is the registry's state that the dataset is up to date with from now on. Only under the run's lock.
    """
    read_manifest(run)
    change = plan(run, matches, again)
    stage = Staged(run.store)
    new = Run(stage, run.recipe)
    _rewrite(run, new, change)
    return _record(run, new, change, requests, snapshot, keys)


def plan(run: Run, matches: list[Match], again: Sequence[Tightened] = ()) -> Change:
    """Decide who leaves and who follows; changes nothing on disk."""
    policy = policy_of(run.recipe.rights)
    change = Change(LedgerEditor.open(run), defaultdict(list))
    for match in matches:
        change.matched[match.position].append(match.row)
    denied = {sample.position: sample.mask for sample in again}
    for sample in again:
        change.matched[sample.position] = list(sample.rows)  # by the same state of the registry as `matches`
    for position, rows in sorted(change.matched.items()):
        found = [match_reason(row["outcome"], row["kind"], row["method"], policy) for row in rows]
        reasons = mask(*(reason for reason in found if reason is not None))
        # the matcher gives a grant only where it covers every denial
        if any(row["outcome"] == "grant" for row in rows):
            reasons = np.uint64(0)
        reasons |= denied.get(position, np.uint64(0))
        change.before[position] = change.ledger.row(position)
        if not reasons:
            continue
        change.denied.append(position)
        shard = change.ledger.drop(position, reasons)
        if shard is not None:
            change.retracted[position] = shard
    pictures = _Pictures(run, change.ledger)
    change.came, change.not_followed = promote(run, change.ledger, change.retracted, pictures.readable)
    for promotion in change.came:
        change.arrivals[promotion.shard].append(pictures.found[promotion.position])
    flag_alikes(run, change.ledger, change.denied)
    return change


@dataclass
class _Pictures:
    """Reads the pictures of promoted samples from the input.

    `lost`: by part, the row from which on none can be read: a shard is read from its beginning.
    """

    run: Run
    ledger: LedgerEditor
    found: dict[int, Arrival] = field(default_factory=dict)
    lost: dict[int, int] = field(default_factory=dict)

    def readable(self, promotion: Promotion) -> bool:
        """Tell whether the sample's picture is there; not where the input is gone or has changed."""
        part, row = self.ledger.place(promotion.position)
        if promotion.position not in self.found and row < self.lost.get(part, row + 1):
            arrival = self._read(part, row)
            if arrival is not None:
                self.found[promotion.position] = arrival
        return promotion.position in self.found

    def _read(self, part: int, row: int) -> Arrival | None:
        samples = self.run.table("samples", part)
        try:
            shard = make_source(self.run.recipe.input, self.run.store).shards()[part]
            hashes = known_hashes(samples)
            records = same_records(self.run.recipe, shard, hashes, Meter(self.run.store, "retract", part))
            record = next(record for at, record in enumerate(records) if at == row)
        except (BadInput, OSError, IndexError, StopIteration):
            self.lost[part] = row
            return None
        if record.image is None:
            return None
        sidecar = sidecar_rows(self.run, part, pa.array([row]))
        at = sidecar.schema.get_field_index("weight")
        sidecar = sidecar.set_column(at, sidecar.schema.field(at), pa.array([1.0], pa.float32()))
        return Arrival(samples.slice(row, 1).to_pylist()[0], record.image, sidecar)


def _rewrite(run: Run, new: Run, change: Change) -> None:
    """Stage everything that holds a matched sample; note which file held which."""
    ledger = change.ledger
    ledger.write(new)
    by_part: dict[int, list[int]] = defaultdict(list)
    for position in change.denied:
        by_part[ledger.place(position)[0]].append(position)
    for part, positions in sorted(by_part.items()):
        rows = {ledger.place(position)[1]: str(ledger.row(position)["uid"]) for position in positions}
        change.note(purge_downloads(new, part, rows))
        change.note(purge_scores(new, part, rows))
    matched_parts: dict[int, list[dict[str, Any]]] = defaultdict(list)
    unnamed: dict[int, set[str]] = defaultdict(set)
    for position, found in sorted(change.matched.items()):
        part = ledger.place(position)[0]
        matched_parts[part] += found
        if not found:
            unnamed[part].add(str(ledger.row(position)["uid"]))
    for part, found in sorted(matched_parts.items()):
        replace_matches(new, part, pa.Table.from_pylist(found, schema=MATCHES))
        settle(run, new, part, unnamed[part])
    uids = {str(ledger.row(position)["uid"]) for position in change.denied}
    purge_duplicates(new, set(change.denied))
    change.note(purge_latents(new, uids))
    for shard in sorted(set(change.retracted.values())):
        leave = {str(ledger.row(p)["uid"]) for p, found in change.retracted.items() if found == shard}
        rewrite_shard(new, shard, leave, change.arrivals[shard])
        change.note({shard_name(shard, suffix): leave for suffix in (".parquet", ".tar")})
    write_index(new)
    if new.parts("groups") == new.parts("ledger"):  # else a dataset from before there were audits
        audit(new)
    new.store.delete(REPORT)


def _record(
    run: Run, new: Run, change: Change, requests: list[dict[str, Any]], snapshot: Snapshot, keys: Keys
) -> dict[str, Any]:
    """Stage manifest, receipts and the record of what was done; make it all take effect."""
    stage = new.store
    assert isinstance(stage, Staged)
    old = read_manifest(run)
    purged = {
        name: {"before": _sha256(run, name), "after": _sha256(new, name)}
        for name in sorted({*stage.changed, *stage.removed})
        if name.endswith((".tar", ".parquet")) and not name.startswith("audit/") and run.store.exists(name)
    }
    pin(new, snapshot)
    before = keep_version(run, stage)
    counts = counts_after(old["content"]["counts"], change.ledger.delta)
    body = build(new, counts, VERSIONS, before, old["content"].get("gates"))
    at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    # as sets: each matched sample is looked up in them
    records = [
        {**found, "came": frozenset(found["came"]), "left": frozenset(found.get("left", ()))}
        for found in version_records(run.store)
    ]
    record = {
        "at": at,
        "before": before,
        "after": body["content_hash"],
        "registry": snapshot_body(snapshot),
        "entries": [request["entry"] for request in requests],
        "left": sorted(str(change.ledger.row(position)["uid"]) for position in change.retracted),
        "came": sorted(promotion.uid for promotion in change.came),
        "purged": purged,
    }
    stage.write(f"{RETRACTIONS}/{len(records) + 1:05d}.json", json.dumps(record, indent=1, sort_keys=True).encode())
    record["receipts"] = [
        write_receipt(stage, _receipt(run, change, request, record, records), keys.receipts) for request in requests
    ]
    write_manifest(new, body)
    if keys.manifest is not None:
        sign(new, keys.manifest)
    stage.commit()
    return record


def _sha256(run: Run, name: str) -> str | None:
    if not run.store.exists(name):
        return None
    with run.store.open(name) as stream:
        return sha256_stream(stream)


def _receipt(
    run: Run, change: Change, request: dict[str, Any], record: dict[str, Any], records: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the receipt for one entry of the registry; a receipt that the entry had before is in it as `earlier`."""
    found = []
    for position, rows in sorted(change.matched.items()):
        for row in (row for row in rows if row["entry"] == request["entry"]):
            found.append(_found(run, change, position, row, records))
    versions = sorted({version for sample in found for version in sample.versions})
    checkpoints = [vars(training) for training in trainings(run.store, set(versions))]
    uids = {sample.uid for sample in found}
    missing = [promotion.uid for promotion in change.not_followed if promotion.follows in uids]
    name = receipt_name(request["entry"])
    earlier = {"earlier": read_receipt(run.store.read(name), name)} if run.store.exists(name) else {}
    return {
        **earlier,
        "format": FORMAT,
        "request": request,
        "registry": record["registry"],
        "dataset": {"name": run.recipe.name, "before": record["before"], "after": record["after"]},
        "at": record["at"],
        "matched": [sample.body() for sample in found],
        "checkpoints_trained_on_a_version_that_held_one": checkpoints,
        "followers_not_readable": missing,
        "not_in_our_hands": "the input that the dataset was made from, copies of shards that others took, "
        "and the checkpoints named above, which this program does not change",
    }


def _found(
    run: Run,
    change: Change,
    position: int,
    row: dict[str, Any],
    records: list[dict[str, Any]],
) -> Found:
    part, at = change.ledger.place(position)
    sample = run.table("samples", part, ["uid", "sha256", "url", "creator"]).slice(at, 1).to_pylist()[0]
    uid, kept = sample["uid"], position in change.retracted
    left = taken_out(uid, records)
    before = "kept" if change.before[position]["mask"] == 0 else "dropped"
    return Found(
        **sample,
        method=row["method"],
        detail=row["detail"],
        decision_before=before if left is None else f"taken out earlier, at {records[left]['at']}",
        # of equal samples at several rows the shard held one
        held_by=tuple(sorted(name for name in change.held[uid] if kept or not name.startswith("shards/"))),
        versions=tuple(versions_with(run, uid, kept, records)),
        followed_by=tuple(p.uid for p in change.came if p.follows == uid),
    )
