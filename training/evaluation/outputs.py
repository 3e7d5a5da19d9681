"""The audit of outputs: whom pictures show for prompts that name nobody, where the encoder may be trusted to tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from audit.metrics.association import cramers_v
from audit.metrics.estimate import Unmeasurable, two_shares_p
from audit.metrics.multiplicity import benjamini_hochberg
from audit.metrics.shares import share
from training.evaluation import encoder_labels
from training.evaluation.document import NotMeasured, OutputSet, Prompted, Reading, shown
from training.evaluation.encoder_labels import assign, class_scores, corrected_share, read_classes
from training.evaluation.prompt_sets import Attribute, PromptSet, caption_labels
from training.evaluation.sheets import Sheet
from training.evaluation.studio import Asked, Studio
from training.evaluation.subjects import Subjects
from training.sampling.plan import MAX_SEED

#: Encoders that have learnt from public drawings which a dataset may hold as well: their error cannot be measured on
#: it. Measured: on the sample corpus builtin:mini's skill at regions came out as 0.64, by drawings that it knows.
LEARNT = frozenset({"builtin:mini"})

#: Most pictures of a class that the encoder is tried on.
MOST_LABELLED = 500


class OutputAudit:
    """Audits sets of prompts with one checkpoint; a picture of the dataset is looked at once for each attribute."""

    def __init__(self, studio: Studio, subjects: Subjects, seed: int, seeds: int) -> None:
        """`seeds`: pictures a prompt."""
        self._studio, self._subjects, self._seed, self._seeds = studio, subjects, seed, seeds

    def reading(self, attribute: Attribute) -> encoder_labels.Reading | Unmeasurable:
        """Return how well the encoder tells an attribute on the dataset's pictures, or why that is not known."""
        labels = caption_labels(attribute, self._subjects.shards.caption)
        order = np.concatenate([self._subjects.seen, self._subjects.unseen])
        rows = np.concatenate(
            [order[labels[order] == at][:MOST_LABELLED] for at in range(len(attribute.classes))]
        ).astype(np.int64)
        count = np.bincount(labels[rows], minlength=len(attribute.classes))
        if (count < encoder_labels.LEAST_LABELLED).any():  # then nothing need be looked at
            return read_classes(list(attribute.classes), np.empty((0, len(count))), labels[rows])
        sheet = self._studio.real(f"pictures whose captions tell {attribute.name}", rows)
        return read_classes(list(attribute.classes), self._scores(sheet, attribute), labels[sheet.rows])

    def run(self, prompts: PromptSet, attribute: Attribute, found: encoder_labels.Reading | Unmeasurable) -> OutputSet:
        """Audit one set. Nothing is generated where the encoder's error is unknown or too large."""
        if isinstance(found, Unmeasurable):
            told = NotMeasured(why=found.why)
            return OutputSet(name=prompts.name, attribute=attribute.name, reading=told, measured=False, why=found.why)
        reading = _reading(attribute, found)
        uri = self._studio.eye.encoder.uri
        if uri in LEARNT:
            why = (
                f"not measurable with this encoder: {uri} is bad at people, and has learnt from openclipart's "
                "drawings, so that its skill may be flattered here"
            )
            return OutputSet(name=prompts.name, attribute=attribute.name, reading=reading, measured=False, why=why)
        if not found.usable:
            why = (
                "not measurable with this encoder: the 95 % interval of its skill does not lie above "
                f"{encoder_labels.LEAST_SKILL:g} (0 is chance, 1 is no error)"
            )
            return OutputSet(name=prompts.name, attribute=attribute.name, reading=reading, measured=False, why=why)
        asked = [
            Asked(prompt, (self._seed + at * self._seeds + k) % MAX_SEED)
            for at, prompt in enumerate(prompts.prompts)
            for k in range(self._seeds)
        ]
        sheet = self._studio.generated(f"prompts by {prompts.name}", asked)
        classes = assign(self._scores(sheet, attribute), found.offset)
        table = np.zeros((len(prompts.prompts), len(attribute.classes)), np.int64)
        np.add.at(table, (np.repeat(np.arange(len(prompts.prompts)), self._seeds), classes), 1)
        return tabled(prompts, attribute, found, table)

    def _scores(self, sheet: Sheet, attribute: Attribute) -> np.ndarray:
        texts = [self._studio.eye.encoder.encode_texts(some) for some in attribute.classes.values()]
        return class_scores(sheet.vectors, texts)


def tabled(prompts: PromptSet, attribute: Attribute, found: encoder_labels.Reading, table: np.ndarray) -> OutputSet:
    """Return the figures of a set from its counts, int64 (prompts, classes)."""
    whole = table.sum(axis=0)
    p = [_against_rest(row, whole) for row in table]
    q = benjamini_hochberg(p)
    rows = [_prompted(prompt, row, found, value) for prompt, row, value in zip(prompts.prompts, table, q, strict=True)]
    return OutputSet(
        name=prompts.name,
        attribute=attribute.name,
        reading=_reading(attribute, found),
        measured=True,
        whole=_prompted("all prompts", whole, found, None),
        prompts=rows,
        association=shown(cramers_v(table.tolist())),
    )


def _against_rest(row: np.ndarray, whole: np.ndarray) -> float:
    """Return p of a prompt's pictures being like the rest: of each class apart, the least times their number."""
    rest = whole - row
    n, m = int(row.sum()), int(rest.sum())
    if not n or not m:
        return 1.0
    found = [two_shares_p(int(k), n, int(other), m) for k, other in zip(row, rest, strict=True)]
    tests = 1 if len(found) == 2 else len(found)
    return min(1.0, min(found) * tests)


def _prompted(
    prompt: str, counts: Sequence[int] | np.ndarray, found: encoder_labels.Reading, q: float | None
) -> Prompted:
    total = int(sum(counts))
    two = len(found.classes) == 2
    return Prompted(
        prompt=prompt,
        pictures=total,
        shares={name: shown(share(int(k), total)) for name, k in zip(found.classes, counts, strict=True)},
        corrected=shown(corrected_share(int(counts[0]), total, found.confusion)) if two else None,
        q=q,
    )


def _reading(attribute: Attribute, found: encoder_labels.Reading) -> Reading:
    return Reading(
        attribute=attribute.name,
        classes=list(found.classes),
        confusion=found.confusion.tolist(),
        skill=shown(found.skill),
        usable=found.usable,
    )
