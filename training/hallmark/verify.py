"""What can be said about one file: credential, marks, and the way back to the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from filters.decoding import Undecodable, decode
from filters.optout.base import clipped
from pipelines.retraction.versions import retraction_records, version_records
from pipelines.run.directory import Run
from pipelines.run.manifest import read_manifest
from pipelines.run.trainings import trainings
from training.hallmark import gaussian_shading
from training.hallmark.claim import Claim
from training.hallmark.reader import Credential, read_credential
from training.hallmark.recovery import Recovery, recover
from training.hallmark.registry import HallmarkRegistry
from training.hallmark.watermark import FPR, Detection, Detector, best


@dataclass(frozen=True)
class Verifier:
    """What files are held against: PEM anchors of our issuers, detectors of our marks, our register, a dataset.

    All may be absent; then what they would tell is not told.
    """

    anchors: str = ""
    detectors: Sequence[Detector] = ()
    registry: HallmarkRegistry | None = None
    run: Run | None = None
    bound: float = FPR

    def verify(self, name: str, data: bytes) -> Report:
        """Return the report on one file. Never raises for what the bytes contain."""
        credential = read_credential(data, self.anchors)
        problems, notes = list(credential.problems), list(credential.notes)
        image = _decoded(data, problems)
        detections = [] if image is None else [one.detect(np.asarray(image), self.bound) for one in self.detectors]
        notes += self._not_looked_for(credential)
        if self.registry is not None and not self.anchors:
            notes.append("the register was not asked: without a trust anchor no stored manifest counts")
        recovery = None
        if credential.verdict == "ours":
            problems += self._contradictions(credential, detections, notes)
        elif image is not None and self.registry is not None and self.anchors:
            recovery = recover(data, image, detections, self.registry, self.anchors)
        if credential.verdict == "none" and not problems:
            problems.append("no credential: it was never signed, or the credential was taken out")
        if recovery is not None:
            problems.append(f"{recovery.state}: {recovery.detail}")
        claim = credential.claim if credential.verdict == "ours" else (recovery.claim if recovery else None)
        if claim is not None and self.run is not None:
            problems += lineage_problems(claim, self.run, notes)
        return Report(name, credential, tuple(problems), tuple(notes), tuple(detections), recovery, claim)

    def _not_looked_for(self, credential: Credential) -> list[str]:
        """Return what to say about marks that nobody looked for."""
        if not self.detectors:
            return ["marks were not looked for: no watermark key was given"]
        claim = credential.claim if credential.verdict == "ours" else None
        ruled_out = claim is not None and gaussian_shading.ALGORITHM not in {one.algorithm for one in claim.bindings}
        if ruled_out or any(one.algorithm == gaussian_shading.ALGORITHM for one in self.detectors):
            return []
        return ["the mark in the noise was not looked for: that takes the checkpoint that made the picture (--model)"]

    def _contradictions(self, credential: Credential, detections: Sequence[Detection], notes: list[str]) -> list[str]:
        """Return how marks and register contradict an intact credential of ours."""
        claim = credential.claim
        if claim is None:
            return []
        problems = []
        stated = {binding.algorithm: binding.value for binding in claim.bindings}
        for one in detections:
            if one.found and one.value != stated.get(one.algorithm):
                problems.append(f"the picture holds our mark {one.value}, which its credential does not name")
            elif not one.found and one.algorithm in stated:
                notes.append(f"the mark that the credential names ({one.algorithm}) was not found")
        if self.registry is not None and self.registry.get(claim.id) is None:
            problems.append(
                f"signed by us, but the register does not know {claim.id}: it was not issued by this service"
            )
        return problems


@dataclass(frozen=True)
class Report:
    """The verdict on one file. `claim`: what we signed about it, from its credential or a stored one."""

    file: str
    credential: Credential
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    detections: tuple[Detection, ...] = ()
    recovery: Recovery | None = None
    claim: Claim | None = field(default=None)

    @property
    def detection(self) -> Detection | None:
        """Return what was found by the mark that chance explains worst, None where none was looked for."""
        return best(self.detections)

    @property
    def ok(self) -> bool:
        """Tell whether the file is ours and intact, and nothing speaks against it."""
        return self.credential.verdict == "ours" and not self.problems

    def as_json(self) -> dict[str, Any]:
        """Return the report for `--json`."""
        return {
            "file": self.file,
            "ok": self.ok,
            "credential": self.credential.verdict,
            "problems": list(self.problems),
            "notes": list(self.notes),
            "signer": self.credential.signer or None,
            "signed_at": self.credential.signed_at,
            "watermark": _detection_json(self.detection),
            "watermarks": [_detection_json(one) for one in self.detections],
            "id": self.claim.id if self.claim else None,
            "dataset": self.claim.dataset if self.claim else None,
            "checkpoint": self.claim.checkpoint if self.claim else None,
            "parts": [asdict(one) for one in self.claim.parts] if self.claim else [],
            "recovery": {
                "state": self.recovery.state,
                "detail": self.recovery.detail,
                "distance": self.recovery.distance,
            }
            if self.recovery
            else None,
        }


def _detection_json(found: Detection | None) -> dict[str, Any]:
    return {
        "found": bool(found and found.found),
        "id": found.value if found and found.found else None,
        "fpr": found.fpr if found else None,
        "algorithm": found.algorithm if found else None,
        "flipped": bool(found and found.found and found.flipped),
    }


def lineage_problems(claim: Claim, run: Run, notes: list[str]) -> list[str]:
    """Look a claim's dataset and checkpoint up in a dataset's folder; return what does not fit, add what does."""
    current = str(read_manifest(run)["content_hash"])
    records = version_records(run.store)
    versions = [*(str(record["before"]) for record in records), current]
    applied = retraction_records(run.store)

    def look_up(checkpoint: str, dataset: str) -> list[str]:
        later = records[versions.index(dataset) :]
        retractions = sum(record in later for record in applied)
        age = f"{retractions} retraction(s) have been applied since" if later else "its present version"
        notes.append(f"dataset {dataset[:16]}… is {run.recipe.name}, {age}")
        if checkpoint not in {one.checkpoint for one in trainings(run.store, {dataset})}:
            return [f"{run.store.url} has no record that checkpoint {checkpoint[:16]}… was trained on that dataset"]
        notes.append(f"checkpoint {checkpoint[:16]}… was trained on it")
        return []

    if claim.dataset not in versions:
        return [f"the dataset {claim.dataset[:16]}… is no version of {run.store.url}"]
    problems = look_up(claim.checkpoint, claim.dataset)
    for part in claim.parts:
        if part.dataset in versions:
            problems += look_up(part.checkpoint, part.dataset)
        else:
            notes.append(f"{part.model} took part; its dataset {part.dataset[:16]}… is another than this run's")
    return problems


def _decoded(data: bytes, problems: list[str]) -> Image.Image | None:
    """Return the pixels; None with a problem where the file has none."""
    try:
        return decode(data).image
    except Undecodable as error:
        problems.append(f"the picture cannot be decoded: {clipped(error.detail)[:200]}")
        return None
