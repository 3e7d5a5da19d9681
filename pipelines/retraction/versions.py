"""The versions of a dataset that its folder knows: each manifest that a retraction replaced, and the present one."""

from __future__ import annotations

import json
from typing import Any

from audit.compliance import Problem
from filters.errors import BadInput
from pipelines.run.directory import MANIFEST, Run
from pipelines.run.manifest import SIGNATURE, content_hash, read_manifest
from pipelines.run.storage import Store

HISTORY = "history"
RETRACTIONS = "retractions"
WAIVERS = "waivers"


def keep_version(run: Run, store: Store) -> str:
    """Write the present manifest and its signature to the history in `store`; return its content hash."""
    ident: str = read_manifest(run)["content_hash"]
    store.write(f"{HISTORY}/{ident}.json", run.store.read(MANIFEST))
    if run.store.exists(SIGNATURE):
        store.write(f"{HISTORY}/{ident}.sig", run.store.read(SIGNATURE))
    return ident


def retraction_records(store: Store) -> list[dict[str, Any]]:
    """Return the records of all retractions of this dataset, oldest first. Raises `BadInput` for a broken one."""
    return _records(store, store.list(RETRACTIONS))


def version_records(store: Store) -> list[dict[str, Any]]:
    """Return the records of all that made a new version (retractions and waivers), oldest first; numbers run on.

    Raises `BadInput` for a broken one.
    """
    names = [*store.list(RETRACTIONS), *store.list(WAIVERS)]
    return _records(store, sorted(names, key=lambda name: name.rpartition("/")[2]))


def _records(store: Store, names: list[str]) -> list[dict[str, Any]]:
    found = []
    for name in names:
        try:
            record: dict[str, Any] = json.loads(store.read(name))
            record["before"], record["after"], record["came"]
        except (ValueError, KeyError, TypeError):
            raise BadInput(f"{store.url}/{name}: not the record of a version") from None
        found.append(record)
    return found


def versions_with(run: Run, uid: str, kept: bool, records: list[dict[str, Any]]) -> list[str]:
    """Return the content hashes of the versions of this dataset that hold or held a sample, oldest first.

    `kept` tells whether the present version holds it. A sample that a retraction let in is in the versions from then
    on, any other one was there from the first; one that a retraction took out, up to then.
    """
    left = taken_out(uid, records)
    if left is None and not kept:
        return []
    versions = [*(record["before"] for record in records), str(read_manifest(run)["content_hash"])]
    since = next((i + 1 for i, record in enumerate(records) if uid in record["came"]), 0)
    return versions[since : len(versions) if left is None else left + 1]


def taken_out(uid: str, records: list[dict[str, Any]]) -> int | None:
    """Return which of the records, from 0, is that of the retraction that took the sample out, if one did."""
    return next((at for at, record in enumerate(records) if uid in record.get("left", ())), None)


def retracted(store: Store) -> bool:
    """Tell whether a retraction has changed this dataset."""
    return bool(store.list(RETRACTIONS))


def revised(store: Store) -> bool:
    """Tell whether a retraction or a waiver has made a new version of this dataset."""
    return retracted(store) or bool(store.list(WAIVERS))


def sealed(store: Store) -> None:
    """Refuse to work on a dataset with later versions: its stages would bring back what was taken out.

    Raises `BadInput`.
    """
    if store.list(WAIVERS) and not retracted(store):
        raise BadInput(
            f"{store.url}: a gate of this dataset was waived, so it is not made again from its recipe; "
            "use assay replay into a new folder"
        )
    if retracted(store):
        raise BadInput(
            f"{store.url}: opt-outs were applied to this dataset, so it is not made again from its recipe; "
            "use assay optout apply, or assay replay into a new folder"
        )


def chain_problems(run: Run) -> list[Problem]:
    """Check that each version names the one before it, back to the first that this folder made."""
    problems = []
    body = read_manifest(run)
    for record in reversed(version_records(run.store)):
        if body["content"]["parent"] != record["before"] or body["content_hash"] != record["after"]:
            problems.append(Problem("CHAIN_BROKEN", f"the version {body['content_hash']} is not what followed"))
        name = f"{HISTORY}/{record['before']}.json"
        if not run.store.exists(name):
            problems.append(Problem("VERSION_MISSING", name))
            break
        try:
            body = json.loads(run.store.read(name))
            stated = body["content_hash"]
            if not content_hash(body["content"]) == stated == record["before"]:
                problems.append(Problem("VERSION_CHANGED", name))
        except (ValueError, KeyError, TypeError):
            problems.append(Problem("VERSION_CHANGED", f"{name} is not a manifest"))
            break
    return problems
