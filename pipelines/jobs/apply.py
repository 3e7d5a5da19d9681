"""Apply: what the registry says by now, found in a finished dataset and taken out of it, with receipts."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from filters.errors import BadInput
from filters.optout.entries import Entry, Kind, stamp
from pipelines.jobs.match import (
    encoder_of,
    make_matcher,
    matches_of,
    pin,
    pinned,
    queue_pairs,
    snapshot_body,
    tell_incomparable,
)
from pipelines.jobs.rematch import rows_with, tightened
from pipelines.jobs.retract import Keys, Match, retract
from pipelines.registry.store import Registry, Snapshot, open_registry
from pipelines.run.directory import MANIFEST, REGISTRY, Run
from pipelines.run.manifest import SIGNATURE, read_manifest
from pipelines.run.signing import sign
from pipelines.run.staged import Staged
from pipelines.run.storage import sha256_stream

#: More new entries than this are matched by reading every sample instead of looking each entry up, and only
#: those of them that match something get a receipt.
MANY = 10_000


def apply(run: Run, registry: str | None, keys: Keys) -> dict[str, Any]:
    """Bring a finished dataset up to date with a registry; return the retraction's record.

    `registry`: its URL, else the recipe's. Applied are newer entries, and what ended grants and corrected verdicts
    leave denied; where there is nothing of that kind, only the date of the consultation changes.
    Raises `BadInput` where there is no registry, or not the one that the dataset was matched with.
    """
    url = registry or run.recipe.rights.registry
    if url is None:
        raise BadInput(f"{run.store.url}: its recipe names no registry; give one with --registry")
    body = read_manifest(run)
    if run.store.exists(SIGNATURE) and keys.manifest is None:
        raise BadInput(f"{run.store.url}: the dataset is signed; give --key, so that its next version is too")
    with open_registry(url) as opened:
        before = pinned(run) or Snapshot(0, opened.genesis, opened.snapshot().at)
        if not opened.holds(before):
            raise BadInput(f"{url}: not the registry that {run.store.url} was matched with, or cut off since")
        now = opened.snapshot()
        encoder = encoder_of(run)
        others = tell_incomparable(opened, now, encoder)
        entries = list(opened.entries(before.seq, now.seq))
        again = tightened(run, opened, now)
        if not entries and not again and pinned(run) is not None:
            return _refresh(run, body, now, keys)
        matches = find_matches(run, opened, before, now, entries)
        hit = {match.row["entry"] for match in matches}
        asked = [request_of(entry) for entry in entries if len(entries) <= MANY or entry.seq in hit]
        for request in (request for request in asked if request["entry"] in others):
            request["not_compared"] = (
                f"made by encoder {others[request['entry']]}, the dataset's is {encoder or 'none'}"
            )
        denying = {row["entry"] for found in again for row in found.rows if row["outcome"] != "grant"}
        asked = [*map(request_of, opened.some(n for n in denying if n <= before.seq)), *asked]
    return retract(run, matches, asked, now, keys, again)


def find_matches(run: Run, registry: Registry, before: Snapshot, now: Snapshot, entries: list[Entry]) -> list[Match]:
    """Return all match rows of the samples that one of the new `entries` names."""
    matcher = make_matcher(registry, now, run.recipe.rights, encoder_of(run))
    found: list[Match] = []
    for index, start, rows in _candidates(run, entries):
        table = matches_of(run, matcher, index, rows)
        uids = run.table("samples", index, ["uid"]).column("uid").to_pylist()
        wanted = range(len(uids)) if rows is None else rows
        by_uid: dict[str, dict[object, dict[str, Any]]] = defaultdict(dict)
        for match in table.to_pylist():  # a uid that stands in several rows has its matches once
            by_uid[match["uid"]][match["entry"], match["method"], match["outcome"]] = match
        for row in wanted:
            mine = by_uid[uids[row]].values()
            if any(match["entry"] > before.seq for match in mine):
                found += [Match(start + row, match) for match in mine]
        queue_pairs(registry, run, index, table)
    return found


def request_of(entry: Entry) -> dict[str, Any]:
    """Return an entry as a receipt names it."""
    return {
        "entry": entry.seq,
        "hash": entry.hash,
        "kind": entry.kind.value,
        "value": entry.value[:500],
        "aliases": list(entry.aliases),
        "requester": entry.requester,
        "created_at": stamp(entry.created_at),
    }


def _candidates(run: Run, entries: list[Entry]) -> list[tuple[int, int, list[int] | None]]:
    """Return part, its first position, and the rows that may match; None for all rows of the part."""
    alike = any(entry.kind in (Kind.PDQ, Kind.EMBEDDING) for entry in entries)
    every = alike or len(entries) > MANY
    return rows_with(run, None if every else [key for entry in entries for key in entry.keys])


def _refresh(run: Run, body: dict[str, Any], now: Snapshot, keys: Keys) -> dict[str, Any]:
    """Note that the registry was consulted and had nothing to apply; the content stays what it is."""
    stage = Staged(run.store)
    new = Run(stage, run.recipe)
    pin(new, now)
    with stage.open(REGISTRY) as stream:
        sha256 = sha256_stream(stream)
    body["files"][REGISTRY] = {"size": stage.size(REGISTRY), "sha256": sha256}
    stage.write(MANIFEST, json.dumps(body, sort_keys=True, indent=1).encode() + b"\n")
    if keys.manifest is not None:
        sign(new, keys.manifest)
    stage.commit()
    ident = body["content_hash"]
    return {"before": ident, "after": ident, "registry": snapshot_body(now), "left": [], "came": [], "receipts": []}
