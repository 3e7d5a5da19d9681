"""A picture's way back: checkpoint, dataset version, shards, recipe, rules, registry, and later opt-outs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from filters.errors import BadInput
from pipelines.retraction.versions import HISTORY, version_records
from pipelines.run.directory import Run
from pipelines.run.manifest import content_hash, read_manifest
from pipelines.run.trainings import Training, trainings
from training.checkpoints import verified_facts
from training.data.exposure import FILE, FOLDER, Exposure, load_exposure
from training.hallmark.claim import ClaimedPart
from training.hallmark.verify import Report


def picture_lineage(report: Report, run: Run) -> dict[str, Any]:
    """Return what is known of a verified picture's origin; JSON values.

    `found` tells whether the way was found to its end. Without a claim that we signed there is none: `checkpoint` and
    `dataset` are null then. `parts` are the models beside the main one, each with a way of its own; it may lead to
    another dataset, and is `found` only where `run` is that one.
    """
    claim = report.claim
    if claim is None:
        way = nowhere("nothing that we signed says where this picture is from")
    else:
        way = way_back(run, claim.checkpoint, claim.dataset)
        way["checkpoint"]["model"] = claim.model
    return {
        "file": report.file,
        "picture": {
            "id": claim.id if claim else None,
            "created_at": claim.created_at if claim else None,
            "credential": report.credential.verdict,
            "led_by": _led_by(report),
            "problems": list(report.problems),
        },
        **way,
        "parts": [_part_way(run, one) for one in claim.parts] if claim else [],
    }


def _part_way(run: Run, part: ClaimedPart) -> dict[str, Any]:
    """Return a further model's way; it may have been trained on another dataset than this one, which is told."""
    way = way_back(run, part.checkpoint, part.dataset)
    way["checkpoint"]["model"] = part.model
    return {**way, "dataset": {"sha256": part.dataset, "name": part.dataset_name}}


def checkpoint_lineage(checkpoint: Path, run: Run) -> dict[str, Any]:
    """Return the same for a checkpoint's folder. Raises `BadInput` where it is none, or its files were changed."""
    facts = verified_facts(checkpoint)
    datasets = facts.get("datasets")
    if not isinstance(datasets, list) or not datasets:
        raise BadInput(f"{checkpoint}: its facts name no dataset")
    way = way_back(run, str(facts["checkpoint"]), str(datasets[-1]))
    way["checkpoint"]["model"] = f"{facts.get('name')} step {facts.get('step')}"
    return way


def nowhere(why: str) -> dict[str, Any]:
    """Return the lineage of what has none."""
    return {"found": False, "missing": [why], "checkpoint": None, "dataset": None, "opt_outs_since": []}


def way_back(run: Run, checkpoint: str, dataset: str) -> dict[str, Any]:
    """Return checkpoint and dataset (SHA-256 each) as the dataset's folder knows them; what it does not is `missing`.

    `opt_outs_since`: every retraction after that version, how many samples it took out, and how many of those the
    checkpoint has seen (null where no log of that is left).
    """
    records = version_records(run.store)
    versions = [*(str(record["before"]) for record in records), str(read_manifest(run)["content_hash"])]
    missing = []
    if dataset not in versions:
        missing.append(f"the dataset {dataset[:16]}… is no version of {run.store.url}")
    record = next((one for one in trainings(run.store, {dataset}) if one.checkpoint == checkpoint), None)
    if record is None:
        missing.append(f"{run.store.url} has no record that {checkpoint[:16]}… was trained on that dataset")
    exposure = _exposure(run, record) if record else None
    seen = None if exposure is None else exposure.counts()
    later = records[versions.index(dataset) :] if dataset in versions else []
    return {
        "found": not missing,
        "missing": missing,
        "checkpoint": {
            "sha256": checkpoint,
            "path": record.path if record else None,
            "finished_at": record.finished_at if record else None,
            "samples_seen": None if seen is None else len(seen),
            "exposures": None if seen is None else sum(seen.values()),
        },
        "dataset": _version(run, dataset) if dataset in versions else {"sha256": dataset},
        "opt_outs_since": [
            {
                "at": one.get("at"),
                "entries": one.get("entries", []),
                "taken_out": len(one["left"]),
                "seen_by_checkpoint": None if seen is None else sum(uid in seen for uid in one["left"]),
                "after": one["after"],
            }
            for one in later
            if one.get("left")
        ],
    }


def _version(run: Run, dataset: str) -> dict[str, Any]:
    """Return what the manifest of one version says. Raises `BadInput` where it is gone or was changed."""
    body = read_manifest(run)
    current = body["content_hash"] == dataset
    if not current:
        body = _kept(run, dataset)
    content = body["content"]
    return {
        "sha256": dataset,
        "name": content["name"],
        "run": run.store.url,
        "current": current,
        "parent": content["parent"],
        "shards": content["shards"],
        "inputs": content["inputs"],
        "recipe": content["recipe"],
        "rules": content["rules"],
        "models": content["models"],
        "registry": content["registry"],
        "counts": content["counts"],
    }


def _kept(run: Run, dataset: str) -> dict[str, Any]:
    name = f"{HISTORY}/{dataset}.json"
    try:
        body: dict[str, Any] = json.loads(run.store.read(name))
        right = content_hash(body["content"]) == dataset
    except (OSError, ValueError, KeyError, TypeError):
        raise BadInput(f"{run.store.url}/{name}: the manifest of that version cannot be read") from None
    if not right:
        raise BadInput(f"{run.store.url}/{name}: the manifest of that version was changed")
    return body


def _exposure(run: Run, record: Training) -> Exposure | None:
    """Return what a checkpoint has seen; None where no log of it is left."""
    kept = f"{FOLDER}/{record.checkpoint}.parquet"
    if run.store.exists(kept):
        return load_exposure(run.store.url.rstrip("/") + "/" + FOLDER, f"{record.checkpoint}.parquet")
    folder = Path(record.path)
    try:
        # Another checkpoint may lie at its place by now.
        if (folder / FILE).exists() and verified_facts(folder)["checkpoint"] == record.checkpoint:
            return load_exposure(folder)
    except BadInput:
        pass
    return None


def _led_by(report: Report) -> str | None:
    """Return what led from the file to the claim."""
    if report.claim is None:
        return None
    return report.recovery.state if report.credential.verdict != "ours" and report.recovery else "credential"


def words(found: dict[str, Any]) -> list[str]:
    """Return the lines of a lineage."""
    lines = [*_picture_words(found)] if "picture" in found else []
    checkpoint, dataset = found["checkpoint"], found["dataset"]
    if checkpoint:
        lines.append(f"  checkpoint {checkpoint['sha256']} ({checkpoint['model']})")
        if checkpoint["path"]:
            lines.append(f"             {checkpoint['path']}, finished {checkpoint['finished_at']}")
        if checkpoint["samples_seen"] is not None:
            counts = (checkpoint["exposures"], checkpoint["samples_seen"])
            lines.append("             saw {:,} times one of {:,} samples".format(*counts))
    if dataset:
        lines += _dataset_words(dataset)
    lines += _since_words(found)
    for part in found.get("parts", []):
        lines.append(f"  with model {part['checkpoint']['sha256']} ({part['checkpoint']['model']})")
        lines.append(f"             of dataset {part['dataset']['sha256']} ({part['dataset']['name']})")
        lines += _since_words(part)
    return lines


def _since_words(found: dict[str, Any]) -> list[str]:
    """Return the lines of opt-outs after a model's dataset, and of what is missing."""
    lines = []
    for one in found["opt_outs_since"]:
        entries = ", ".join(str(entry) for entry in one["entries"])
        seen = one["seen_by_checkpoint"]
        told = "it is not known how many of them the checkpoint saw" if seen is None else f"the checkpoint saw {seen}"
        lines.append(f"  since then {one['at']}: entry {entries} took out {one['taken_out']} samples; {told}")
    if found["found"] and not found["opt_outs_since"]:
        lines.append("  since then no opt-out was applied")
    return lines + [f"  missing    {one}" for one in found["missing"]]


def _picture_words(found: dict[str, Any]) -> list[str]:
    picture = found["picture"]
    known = f"picture {picture['id']} of {picture['created_at']}" if picture["id"] else "of unknown origin"
    lines = [f"{found['file']}: {known}"]
    lines.append(f"  led by     {picture['led_by'] or 'nothing'}; credential {picture['credential']}")
    return lines + [f"  problem    {one}" for one in picture["problems"]]


def _dataset_words(dataset: dict[str, Any]) -> list[str]:
    if "name" not in dataset:
        return [f"  dataset    {dataset['sha256']}"]
    state = "its present version" if dataset["current"] else "an earlier version of it"
    lines = [f"  dataset    {dataset['sha256']}", f"             {dataset['name']} in {dataset['run']}, {state}"]
    lines += [f"  shard      {one['shard']}.tar {one['sha256']}, {one['rows']:,} samples" for one in dataset["shards"]]
    lines.append(f"  inputs     {len(dataset['inputs'])}: {', '.join(one['shard'] for one in dataset['inputs'][:5])}")
    lines += [f"  rule       {_rule_words(rule)}" for rule in dataset["rules"]]
    registry = dataset["registry"]
    state = f"up to entry {registry['seq']}, {registry['hash']}" if registry else "none"
    counts = dataset["counts"]
    dropped = sum(counts["dropped"].values())
    lines.append(f"  registry   {state}")
    lines.append(f"  recipe     {counts['samples']:,} samples in, {counts['kept']:,} kept, {dropped:,} dropped")
    return lines


def _rule_words(rule: dict[str, Any]) -> str:
    bounds = [f"{name} {rule[name]}" for name in ("low", "high", "keep_top", "allow") if rule.get(name) is not None]
    return f"{rule.get('name')}: {', '.join(bounds) or rule.get('reason')} ({rule.get('reason')})"
