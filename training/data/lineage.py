"""A sample's way: from the input's record through decision, shard and versions to the checkpoints that saw it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from filters.errors import BadInput
from pipelines.jobs.balance import shard_name
from pipelines.retraction.versions import version_records, versions_with
from pipelines.run.directory import Run
from pipelines.run.manifest import read_manifest
from pipelines.run.trainings import Training, trainings
from training.checkpoints import read_facts, verified_facts
from training.data.exposure import FILE, FOLDER, load_exposure
from training.data.mixing import uid_words

_SAMPLE = ["uid", "key", "shard", "caption", "url", "page_url", "creator", "licence", "sha256"]
_LEDGER = ["uid", "decision", "primary_reason", "reasons", "weight", "duplicate_of", "shard"]


def trace(run: Run, uid: str) -> dict[str, Any]:
    """Return what is known of a sample of a run; JSON values. Raises `BadInput` where the run has no such sample.

    `checkpoints` lists those that have seen it at least once, and those of which that is no longer known
    (`exposures` null).
    """
    uid = uid.strip().lower()
    uid_words([uid], "UID")
    sample, decision = _rows(run, uid)
    records = version_records(run.store)
    left = [record for record in records if uid in record.get("left", [])]
    versions = versions_with(run, uid, decision["decision"] == "kept", records) if run.finished() else []
    if decision["shard"] is not None:
        decision["shard"] = shard_name(decision["shard"], ".tar")
    return {
        "uid": uid,
        "sample": sample,
        "decision": decision,
        "versions": versions,
        "retractions": [{name: record[name] for name in ("at", "before", "after", "entries")} for record in left],
        "checkpoints": _checkpoints(run, uid, versions),
    }


def _rows(run: Run, uid: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the sample's row and that of the ledger; the kept one where the input has it several times."""
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for part in run.parts("ledger"):
        ledger = run.table("ledger", part, _LEDGER)
        rows = pc.indices_nonzero(pc.equal(ledger.column("uid"), uid))
        if len(rows):
            samples = run.table("samples", part, _SAMPLE).take(rows).to_pylist()
            found += zip(samples, ledger.take(rows).to_pylist(), strict=True)
    if not found:
        raise BadInput(f"{run.store.url}: no sample {uid}; uids stand in the shards' sidecars and in the ledger")
    sample, decision = min(found, key=lambda pair: pair[1]["decision"] != "kept")
    del sample["uid"], decision["uid"]
    return sample, decision


def _checkpoints(run: Run, uid: str, versions: list[str]) -> list[dict[str, Any]]:
    """Return the recorded checkpoints by date; their logs in the run count, else those that lie in the checkpoints."""
    everything = {*_contents(run), *versions}
    found = []
    for training in trainings(run.store, everything):
        times = _times(run, training, uid)
        if times or (times is None and training.on(versions)):
            found.append({**vars(training), "exposures": times})
    return found


def _contents(run: Run) -> list[str]:
    if not run.finished():
        return []
    before = [str(record["before"]) for record in version_records(run.store)]
    return [*before, str(read_manifest(run)["content_hash"])]


def _times(run: Run, training: Training, uid: str) -> int | None:
    """Return how often a checkpoint has seen a sample; None where no log of it is left.

    Another checkpoint may lie at its place by now, or one whose files were changed: their logs say nothing of it.
    """
    kept = f"{FOLDER}/{training.checkpoint}.parquet"
    if run.store.exists(kept):
        folder = run.store.url.rstrip("/") + "/" + FOLDER
        return load_exposure(folder, f"{training.checkpoint}.parquet").of(uid)
    folder_of_it = Path(training.path)
    if not (folder_of_it / FILE).exists() or not _is(folder_of_it, training.checkpoint):
        return None
    return load_exposure(folder_of_it).of(uid)


def _is(folder: Path, identity: str) -> bool:
    """Tell whether a folder holds the checkpoint of this identity, every file as it was written."""
    try:
        return str(read_facts(folder)["checkpoint"]) == identity and bool(verified_facts(folder))
    except BadInput:
        return False
