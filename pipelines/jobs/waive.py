"""Waive: somebody lets a gate that did not pass pass all the same, by name and with a reason, in a new version."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from filters.errors import BadInput
from pipelines.retraction.versions import WAIVERS, keep_version, version_records
from pipelines.run.directory import Run
from pipelines.run.gates import waived
from pipelines.run.manifest import SIGNATURE, content_hash, provenance, read_manifest, write_manifest
from pipelines.run.signing import sign
from pipelines.run.staged import Staged

_REPORT = "report.html"
#: Most characters of a name and of a reason.
_NAME, _WHY = 200, 2000


def waive(
    run: Run, gate: str, by: str, why: str, key: Ed25519PrivateKey | None = None, now: datetime | None = None
) -> dict[str, Any]:
    """Record a waiver in a new version of the manifest; return the waiver's record. Only under the run's lock.

    The dataset itself does not change. Without a `key` the new version is not signed, even if the old one was: a
    signature speaks for one manifest. Raises `BadInput` where there is nothing to waive.
    """
    body = read_manifest(run)
    if content_hash(body["content"]) != body.get("content_hash"):
        raise BadInput(
            f"{run.store.url}: the manifest does not have the hash that it states; see assay manifest verify"
        )
    at = (now or datetime.now(timezone.utc)).isoformat(timespec="seconds")
    waiver = {"by": _line(by, "--by", _NAME), "why": _line(why, "--why", _WHY), "at": at}
    entries = waived(list(body["content"].get("gates") or []), gate, waiver)
    stage = Staged(run.store)
    before = keep_version(run, stage)
    content = {**body["content"], "parent": before, "gates": entries}
    new = {"content_hash": content_hash(content), "content": content, "files": body["files"]}
    records = version_records(run.store)
    signed = run.store.exists(SIGNATURE)
    record = {"at": at, "before": before, "after": new["content_hash"], "came": [], "gate": gate, "waiver": waiver}
    stage.write(f"{WAIVERS}/{len(records) + 1:05d}.json", json.dumps(record, indent=1, sort_keys=True).encode())
    staged = Run(stage, run.recipe)
    write_manifest(staged, {**new, "provenance": provenance(run, body["provenance"].get("precision"))})
    if key is not None:
        sign(staged, key)
    stage.delete(_REPORT)
    stage.commit()
    return {**record, "unsigned": signed and key is None}


def _line(text: str, option: str, most: int) -> str:
    """Return a text of one line. Raises `BadInput` for none, a long one and control characters."""
    found = " ".join(text.split())
    if not found or len(found) > most or not found.isprintable():
        raise BadInput(f"{option}: give 1 to {most} printable characters")
    return found
