"""The gate: nothing is trained on that the compliance check has not cleared, and what is retracted later leaves.

At the start the whole check of `assay check` must pass. While a training runs, the gate looks again whether the
dataset has a new version, or the registry new entries; what they take out leaves the batches at once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from filters.errors import BadInput, GateRefused
from filters.optout.judging import match_reason
from pipelines.jobs.apply import find_matches
from pipelines.jobs.check import require_clear
from pipelines.jobs.match import pinned
from pipelines.jobs.rematch import tightened
from pipelines.jobs.rights import policy_of
from pipelines.registry.store import Snapshot, open_registry
from pipelines.retraction.versions import chain_problems, version_records
from pipelines.run.directory import Run
from pipelines.run.manifest import read_manifest
from pipelines.run.storage import Store
from pipelines.run.trainings import Training, record_training, trainings
from training.data.exposure import FOLDER, Exposure
from training.data.loader import Batches
from training.data.locking import soon_locked
from training.data.mixing import find_words, uid_words
from training.data.samples import ShardSet, patient, present

#: The record of removals in a training's folder, one JSON object a line.
LOG = "removed.jsonl"


@dataclass(frozen=True)
class Removal:
    """Samples that left a training when `step` steps had been made; `entries`: numbers of the registry's entries.

    `dataset`: content hash of the version that it goes on with; `registry`: last entry of the registry.
    """

    step: int
    at: str
    uids: tuple[str, ...]
    entries: tuple[int, ...]
    dataset: str
    registry: int

    def body(self) -> dict[str, Any]:
        """Return the record as it stands in the log."""
        return {
            "removed": list(self.uids),
            "entries": list(self.entries),
            "at_step": self.step,
            "at": self.at,
            "dataset": self.dataset,
            "registry_seq": self.registry,
        }


class Gate:
    """Clears a dataset for one training, and watches it from then on. Made by `clear`."""

    def __init__(self, url: str, content: str, registry: str, seen: Snapshot, folder: Path) -> None:
        self.url, self.registry, self.folder = url, registry, folder
        self._content, self._seen = content, seen
        self._removed = uid_words(removed(folder), f"{folder}/{LOG}")

    def recheck(self, batches: Batches, step: int) -> Removal | None:
        """Look for a new version of the dataset and for new entries of the registry; take out what they name.

        To be called after each epoch and before each checkpoint, by one process; the others `follow` what it returns.
        None where nothing has changed; without uids where the dataset has, and nothing left. What left is recorded
        before it is returned. Raises `GateRefused` where the dataset
        was replaced by one that does not follow from it, or the registry cannot be asked or is not the same one.
        """
        left, behind = self._new_version(batches)
        denied, named, now = self._new_entries(batches.shards)
        batches.remove(denied)
        self._seen = now
        uids, content = tuple(sorted({*left, *denied})), batches.shards.content
        if not uids and content == self._content:
            return None
        self._content = content
        self._removed = np.concatenate([self._removed, uid_words(list(uids), self.url)])
        at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        removal = Removal(step, at, uids, tuple(sorted(behind | named)), content, now.seq)
        if uids:
            self._record(removal)
        return removal

    def _new_version(self, batches: Batches) -> tuple[list[str], set[int]]:
        """Go on with the dataset as it is now; return the uids that it has lost, and the entries behind that."""
        run = patient(self.url, lambda run: run)
        if read_manifest(run)["content_hash"] != batches.agreed.content:
            batches.refresh(present(self.url))
        records = version_records(run.store)
        known = {batches.shards.content, *(record["before"] for record in records)}
        changed = batches.view.content != batches.shards.content
        if batches.view.content not in known or (changed and chain_problems(run)):
            raise GateRefused(
                f"{self.url}: replaced by a dataset that does not follow from the one trained on; start a new training"
            )
        lost = batches.take_left()
        known_before = find_words(self._removed, uid_words(lost, self.url)) >= 0
        left = {uid for uid, before in zip(lost, known_before, strict=True) if not before}
        behind = [record.get("entries", []) for record in records if left & set(record.get("left", []))]
        return sorted(left), {int(entry) for entries in behind for entry in entries}

    def _new_entries(self, shards: ShardSet) -> tuple[list[str], set[int], Snapshot]:
        """Return the uids in the shards that the registry denies by now, its newer entries behind that, and its state.

        By newer entries, by grants that have ended since, or by corrected verdicts.
        """
        run = patient(self.url, lambda run: run)
        try:
            with open_registry(self.registry) as registry:
                if not registry.holds(self._seen):
                    raise GateRefused(
                        f"{self.registry}: not the registry that the dataset was cleared with, or cut off"
                    )
                now = registry.snapshot()
                applied = pinned(run)
                seen = applied if applied is not None and applied.seq > self._seen.seq else self._seen
                entries = list(registry.entries(seen.seq, now.seq))
                matches = find_matches(run, registry, seen, now, entries) if entries else []
                changed = tightened(run, registry, now)
        except BadInput as error:
            raise GateRefused(
                f"{self.registry}: the registry cannot be asked ({error}); training goes on from the "
                "last checkpoint once it can"
            ) from None
        policy = policy_of(run.recipe.rights)
        rows = [match.row for match in matches]
        granted = {row["uid"] for row in rows if row["outcome"] == "grant"}
        denying = [
            row
            for row in rows
            if row["uid"] not in granted and match_reason(row["outcome"], row["kind"], row["method"], policy)
        ]
        uids = sorted({*(str(row["uid"]) for row in denying), *(found.uid for found in changed)})
        words = uid_words(uids, self.url)
        held = (shards.find(words) >= 0) & (find_words(self._removed, words) < 0)
        chosen = {uid for uid, here in zip(uids, held, strict=True) if here}
        numbers = {int(row["entry"]) for row in denying if row["uid"] in chosen and row["entry"] > seen.seq}
        return sorted(chosen), numbers, now

    def _record(self, removal: Removal) -> None:
        """Add a line to the training's log of removals."""
        store = Store(str(self.folder))
        before = store.read(LOG) if store.exists(LOG) else b""
        store.write(LOG, before + json.dumps(removal.body(), sort_keys=True).encode() + b"\n")


def clear(run: Run, folder: Path, registry: str | None = None, signer: Ed25519PublicKey | None = None) -> Gate:
    """Return the gate of a dataset that the compliance check clears. Raises `GateRefused` (exit code 3).

    `folder`: the training's, where removals are recorded; `registry`: its URL, else the recipe's; `signer`: the key
    that must have signed the manifest.
    """
    require_clear(run, registry, signer)
    url, state = registry or run.recipe.rights.registry, pinned(run)
    if url is None or state is None:
        raise GateRefused(f"{run.store.url}: no opt-out registry was consulted; set rights.registry")
    return Gate(run.store.url, read_manifest(run)["content_hash"], url, state, folder)


def follow(batches: Batches, removal: Removal) -> None:
    """Do in another process what the gate's own did."""
    if batches.agreed.content != removal.dataset:
        batches.refresh(present(batches.shards.url))
    batches.remove(list(removal.uids))


def removals(folder: Path) -> list[dict[str, Any]]:
    """Return the records of a training's removals, oldest first. Raises `BadInput` for a broken log."""
    store = Store(str(folder))
    if not store.exists(LOG):
        return []
    try:
        return [json.loads(line) for line in store.read(LOG).splitlines()]
    except ValueError:
        raise BadInput(f"{store.url}/{LOG}: not the record of a training's removals") from None


def removed(folder: Path) -> list[str]:
    """Return all samples that have left a training, in whichever stage; they never come back into it."""
    return [uid for record in removals(folder) for uid in record["removed"]]


def record_checkpoint(run: Run, sha256: str, path: Path, exposure: Exposure) -> None:
    """Note in the dataset's own folder that a checkpoint was trained on it, and which samples it has seen.

    `sha256`: the checkpoint's identity (`checkpoint` in its assay.json). From then on receipts of retractions name
    it, and `assay lineage` finds it, wherever its files go. Again, it changes nothing; but where the checkpoint lies
    elsewhere by now, or an older release left a version out, its record says so. A dataset that it was not trained on
    is left alone.
    """
    versions = {str(read_manifest(run)["content_hash"]), *(str(one["before"]) for one in version_records(run.store))}
    own = [content for content in exposure.contents if content in versions]
    if not own:
        return
    place = str(path.resolve())  # whoever reads the record stands in another folder
    log = f"{sha256}.parquet"
    before = None
    if run.store.exists(f"{FOLDER}/{log}"):
        before = next((one for one in trainings(run.store, set(own)) if one.checkpoint == sha256), None)
    at = before.finished_at if before is not None else datetime.now(timezone.utc).isoformat(timespec="seconds")
    training = Training(sha256, place, own[-1], at, tuple(own[:-1]))
    if training == before:
        return
    with soon_locked(run.store):
        exposure.save(run.store.url.rstrip("/") + "/" + FOLDER, file=log)
        record_training(run.store, training)
