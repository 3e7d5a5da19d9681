"""Finish: count the ledger, check that the counts add up everywhere, write and sign the manifest."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.counts import Counts, count
from filters.errors import AssayError, BadInput
from pipelines.jobs import audit, balance, calibrate, decide, dedup, fetch, groups, ingest, match, score, statistics
from pipelines.retraction.index import build_index
from pipelines.run.directory import Run
from pipelines.run.manifest import build, content_hash, read_manifest, write_manifest
from pipelines.run.signing import sign

#: Versions of the stages; a change of one changes the content hash.
VERSIONS = {
    "fetch": fetch.VERSION,
    "ingest": ingest.VERSION,
    "statistics": statistics.VERSION,
    "score": score.VERSION,
    "calibrate": calibrate.VERSION,
    "match": match.VERSION,
    "dedup": dedup.VERSION,
    "groups": groups.VERSION,
    "decide": decide.VERSION,
    "audit": audit.VERSION,
    "balance": balance.VERSION,
}


def run_counts(run: Run) -> Counts:
    """Count the run's ledger against the rows of its samples."""
    return count(run.tables("ledger", ["decision", "primary_reason"]), run.rows("samples"))


def finish(run: Run, key: Ed25519PrivateKey | None = None, parent: str | None = None) -> dict[str, Any]:
    """Write the manifest and return it. Raises `AssayError` where counts do not add up or gates were not judged.

    A run that is finished already, with the same content, keeps its manifest; a key signs it all the same.
    """
    counts = run_counts(run)
    shipped = sum(balance.shard_rows(run))
    if not counts.balanced or counts.kept != shipped:
        raise AssayError(
            f"{run.store.url}: counts do not add up: {counts.samples} samples, {counts.kept} kept, "
            f"{sum(counts.dropped.values())} dropped, {shipped} in shards; this is a defect, please report it"
        )
    if (run.recipe.gates or run.parts("groups")) and audit.current(run) is None:
        raise BadInput(f"{run.store.url}: the audit is not of this ledger; run assay audit first")
    build_index(run)
    body = build(run, {"samples": counts.samples, "kept": counts.kept, "dropped": counts.dropped}, VERSIONS, parent)
    if run.finished():
        old = read_manifest(run)
        if old.get("content_hash") == content_hash(old["content"]) == body["content_hash"]:
            body = {**body, "provenance": old["provenance"]}
        if body == old:
            return _signed(run, body, key)
    write_manifest(run, body)
    return _signed(run, body, key)


def _signed(run: Run, body: dict[str, Any], key: Ed25519PrivateKey | None) -> dict[str, Any]:
    if key is not None:
        sign(run, key)
    return body
