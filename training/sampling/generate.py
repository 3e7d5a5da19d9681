"""The job behind `assay generate`: sample, guard, choose, mark, write; one picture after the other, each whole."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from filters.errors import BadInput
from pipelines.run.lock import locked
from pipelines.run.storage import Store, sha256_file
from training.hallmark.claim import DatasetFacts, Facts, ModelFacts, Part
from training.hallmark.credentials import HallmarkFailed
from training.hallmark.marking import SUFFIXES, Hallmark, SamplingMark
from training.sampling.diversify import Diversifier
from training.sampling.diversify import counts as diversified
from training.sampling.diversify import log as log_change
from training.sampling.diversify import parameters as change_parameters
from training.sampling.guards import Code, Guards, Refusal
from training.sampling.noise import Shading
from training.sampling.plan import Plan, Slot
from training.sampling.refusals import RefusalLog
from training.sampling.sample import Request, Sampler
from training.sampling.select import Selector

#: What the folder's pictures were made by.
RECORD = "generation.json"

#: After so many pictures in a row that could not be marked, the fault is not the pictures'.
_FAILURES = 3


@dataclass(frozen=True)
class Candidate:
    """One sampled picture that no guard refused: its number, pixels uint8 (h, w, 3), and mark from the noise."""

    number: int
    pixels: np.ndarray
    mark: SamplingMark | None


@dataclass
class Result:
    """What a run came to: each written picture and each final refusal, and how many pictures were there before.

    `diversified`: what became of all the plan's prompts, where prompts are diversified.
    """

    written: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)
    before: int = 0
    diversified: dict[str, Any] = field(default_factory=dict)

    @property
    def unmarked(self) -> int:
        """Return how many pictures could not be marked."""
        return sum(body["code"] == Code.MARKING_FAILED.value for body in self.refused)


@dataclass(frozen=True)
class Origin:
    """What a credential says beside the picture's own facts: who answers for it, the dataset's name and place.

    `parts`: further models with their datasets.
    """

    provider: str
    dataset: DatasetFacts
    model: ModelFacts
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Generator:
    """Makes a plan's pictures in one folder; the same call again goes on where the last one stopped.

    `shading`: marks at sampling, None for none. `batch`: pictures that are sampled at once. `reference`: a picture,
    uint8 (h, w, 3), whose edges steer; it must pass the guards as a starting picture must.
    """

    plan: Plan
    sampler: Sampler
    guards: Guards
    selector: Selector
    hallmark: Hallmark
    origin: Origin
    shading: Shading | None = None
    batch: int = 4
    parameters: Mapping[str, str | int | float] = field(default_factory=dict)
    reference: np.ndarray | None = None
    diversify: Diversifier | None = None

    def run(self, folder: Path) -> Result:
        """Write the pictures that are not there yet. Raises `HallmarkFailed` where marking fails again and again."""
        folder.mkdir(parents=True, exist_ok=True)
        store = Store(str(folder))
        with locked(store):
            store.sweep()
            log, result = RefusalLog(folder), Result()
            open_slots = self._open(store, log, result)
            found = self._refused_source() if open_slots else None
            if found is not None:
                result.refused += [log.add(slot, self._name(slot), found, None, True) for slot in open_slots]
                return result
            asked: dict[str, Refusal | None] = {}
            for group in _groups(open_slots, max(1, self.batch // self.plan.candidates)):
                allowed = []
                for slot in group:
                    for text in (slot.asked or slot.text, slot.text):  # a change may part the words of a name
                        if text not in asked:
                            asked[text] = self.guards.prompt(text)
                    refusal = asked[slot.asked or slot.text] or asked[slot.text]
                    if refusal is None:
                        allowed.append(slot)
                    else:
                        result.refused.append(log.add(slot, self._name(slot), refusal, None, True))
                for slot, candidates in zip(allowed, self._sampled(allowed), strict=True):
                    self._finish(store, log, result, slot, candidates)
            return result

    def _refused_source(self) -> Refusal | None:
        """Return why nothing is made from the starting picture or the one that steers."""
        start = self.sampler.start
        given = (None if start is None else start.pixels, self.reference)
        refusals = (self.guards.start(pixels) for pixels in given if pixels is not None)
        return next((one for one in refusals if one is not None), None)

    def _fair_value(self, slot: Slot) -> str:
        """Return the value that a picture's candidates are all guided to; empty for none."""
        return self.sampler.fair.value(slot.text, slot.seed) if self.sampler.fair is not None else ""

    def _name(self, slot: Slot) -> str:
        return slot.name(SUFFIXES[self.hallmark.config.format])

    def _open(self, store: Store, log: RefusalLog, result: Result) -> list[Slot]:
        """Claim the folder; return the slots that have neither a picture nor a final refusal."""
        slots = self.plan.slots()
        if self.diversify is not None:
            slots = [self.diversify.slot(slot) for slot in slots]
            result.diversified = diversified(slots)
        body = {**self.plan.body(self.sampler.model.identity), "format_of_files": self.hallmark.config.format}
        wanted = json.dumps(body, sort_keys=True)
        there = {slot for slot in slots if store.exists(self._name(slot))}
        if store.exists(RECORD):
            if store.read(RECORD).decode("utf-8", "replace") != wanted:
                raise BadInput(f"{store.url}: holds pictures of another checkpoint or settings; use another --out")
        elif there:
            raise BadInput(f"{store.url}: there are such files already, and no {RECORD}; use another --out")
        else:
            store.write(RECORD, wanted.encode())
        for slot in there:
            self._require_issued(Path(store.url) / self._name(slot))
        finals = log.finals()
        result.before = len(there)
        missing = [slot for slot in slots if slot not in there]
        result.refused += [finals[name] for slot in missing if (name := self._name(slot)) in finals]
        return [slot for slot in missing if self._name(slot) not in finals]

    def _require_issued(self, path: Path) -> None:
        """Refuse to count as made what is no whole picture of ours. Raises `BadInput`.

        The register has a picture's row before the picture is there.
        """
        registry = self.hallmark.registry
        if not path.is_file() or not registry.issued(sha256_file(path)):
            what = "not a file" if not path.is_file() else f"not a picture that the register {registry.shown} knows"
            raise BadInput(f"{path}: {what}; move it away, and it is made again")

    def _sampled(self, slots: Sequence[Slot]) -> list[list[Candidate]]:
        """Return each slot's candidates."""
        units = [(slot, number) for slot in slots for number in range(self.plan.candidates)]
        found: list[Candidate] = []
        for some in _groups(units, self.batch):
            seeds = [slot.candidate_seed(number) for slot, number in some]
            noise, marks = (
                self.shading.noise(seeds, self.sampler.shape) if self.shading else (None, [None] * len(some))
            )
            prompts, negatives = [slot.text for slot, _ in some], [self.plan.negative] * len(some)
            values = [self._fair_value(slot) for slot, _ in some] if self.sampler.fair is not None else []
            pictures = self.sampler.sample(Request(prompts, negatives, seeds, noise, values))
            found += [
                Candidate(number, pixels, mark)
                for (_, number), pixels, mark in zip(some, pictures, marks, strict=True)
            ]
        each = self.plan.candidates
        return [found[start : start + each] for start in range(0, len(found), each)]

    def _finish(self, store: Store, log: RefusalLog, result: Result, slot: Slot, candidates: list[Candidate]) -> None:
        """Guard, choose, mark and write one picture."""
        name = self._name(slot)
        judged = self.guards.pictures([one.pixels for one in candidates], slot.text)
        left = [one for one, refusal in zip(candidates, judged, strict=True) if refusal is None]
        bodies = [
            log.add(slot, name, refusal, one.number, final=not left)
            for one, refusal in zip(candidates, judged, strict=True)
            if refusal is not None
        ]
        if not left:
            result.refused.append(bodies[-1])
            return
        at, scores = self.selector.choose([one.pixels for one in left], slot.text)
        chosen = left[at]
        facts = self._facts(slot, chosen)
        try:
            marked = self.hallmark.issue(store, name, chosen.pixels, facts, chosen.mark)
        except HallmarkFailed as error:
            refusal = Refusal(Code.MARKING_FAILED, str(error))
            result.refused.append(log.add(slot, name, refusal, chosen.number, final=True))
            if _all_failed(result):
                raise
            return
        log_change(Path(store.url), name, slot, facts.parameters)
        result.written.append(
            {
                "file": str(Path(store.url) / name),
                "id": marked.id,
                "prompt": slot.prompt,
                "seed": slot.candidate_seed(chosen.number),
                "candidate": chosen.number,
                "scores": scores[at],
                "stamped": marked.stamped,
                **({"drawn": dict(slot.drawn)} if slot.drawn else {}),
            }
        )

    def _facts(self, slot: Slot, chosen: Candidate) -> Facts:
        settings = self.sampler.settings
        more: dict[str, str | int | float] = {
            "scheduler": settings.scheduler,
            "steps": settings.steps,
            "guidance": settings.guidance,
            "width": settings.width,
            "height": settings.height,
            "seed": slot.candidate_seed(chosen.number),
            "candidates": self.plan.candidates,
            "guards": self.guards.names,
            **self.parameters,
            **change_parameters(self.diversify, slot),
        }
        if self.sampler.fair is not None:
            more |= self.sampler.fair.parameters(self._fair_value(slot))
        if self.plan.select:
            more["select"] = ",".join(self.plan.select)
        if self.sampler.start is not None:
            more["strength"] = settings.strength
        now = datetime.now(timezone.utc)
        origin = self.origin
        return Facts(origin.model, origin.dataset, slot.text, origin.provider, now, more, origin.parts)


def _all_failed(result: Result) -> bool:
    last = result.refused[-_FAILURES:]
    return (
        not result.written and len(last) == _FAILURES and all(one["code"] == Code.MARKING_FAILED.value for one in last)
    )


def _groups(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
