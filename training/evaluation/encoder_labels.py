"""Telling a picture's group by an encoder, how often that is wrong, and when it must not be done at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audit.metrics.estimate import Estimate, Measured, Unmeasurable, Z, finite

#: Labelled pictures that a class needs before its error can be told (ours).
LEAST_LABELLED = 20

#: The 95 % interval of the skill must lie above this, else nothing is measured: an encoder that carries less than half
#: of what labels say would report its own confusion (ours).
LEAST_SKILL = 0.5


@dataclass(frozen=True)
class Reading:
    """How well an encoder tells k classes: `confusion` int64 (k, k), true class by assigned one, and what follows.

    `skill`: balanced accuracy brought to 0 for chance and 1 for no error; for two classes Youden's J (1950),
    sensitivity + specificity - 1. `offset` (k,): taken off the classes' scores before the largest is taken.
    """

    classes: tuple[str, ...]
    confusion: np.ndarray
    skill: Measured
    offset: np.ndarray

    @property
    def usable(self) -> bool:
        """Tell whether the rule lets the encoder be used: its skill's interval lies above `LEAST_SKILL`."""
        return isinstance(self.skill, Estimate) and self.skill.low is not None and self.skill.low > LEAST_SKILL


def class_scores(pictures: np.ndarray, texts: Sequence[np.ndarray]) -> np.ndarray:
    """Return float64 (n, k): cosine of unit vectors (n, d) with the mean of each class's unit text vectors (m, d)."""
    means = np.stack([vectors.astype(np.float64).mean(axis=0) for vectors in texts])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    found: np.ndarray = pictures.astype(np.float64) @ means.T
    return found


def read_classes(classes: Sequence[str], scores: np.ndarray, labels: np.ndarray) -> Reading | Unmeasurable:
    """Return how well scores (n, k) tell the labels int (n,), or why that cannot be told.

    Classes with too few labelled pictures make the whole unmeasurable: they would be assigned without a known error.
    Offsets that bring the classes level are fitted on one half of the pictures and tried on the other.
    """
    count = np.bincount(labels, minlength=len(classes))
    if (count < LEAST_LABELLED).any():
        few = ", ".join(f"{name} {number}" for name, number in zip(classes, count.tolist(), strict=True))
        return Unmeasurable(
            f"not measurable with this encoder: its error is not known, for the dataset has too few pictures whose "
            f"caption tells ({few}; {LEAST_LABELLED} of each are needed)"
        )
    assigned = np.empty(len(labels), np.int64)
    half = _halves(labels)
    for side in (0, 1):
        assigned[half == side] = assign(scores[half == side], offsets(scores[half != side], labels[half != side]))
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (labels, assigned), 1)
    return Reading(tuple(classes), confusion, skill_of(confusion), offsets(scores, labels))


def offsets(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return float64 (k,): each class's score in the mean over the classes' means, so that no class is favoured."""
    found: np.ndarray = np.mean([scores[labels == label].mean(axis=0) for label in np.unique(labels)], axis=0)
    return found


def assign(scores: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return int64 (n,): the class of each picture."""
    return np.asarray((scores - offset).argmax(axis=1), np.int64)


def _halves(labels: np.ndarray) -> np.ndarray:
    """Return 0 or 1 for each picture, in turns within its class."""
    half = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        at = np.flatnonzero(labels == label)
        half[at] = np.arange(len(at)) % 2
    return half


def skill_of(confusion: np.ndarray) -> Measured:
    """Return the skill with its interval: the classes' recalls are independent shares (Agresti and Coull 1998)."""
    total = confusion.sum(axis=1)
    k = len(confusion)
    value = float((np.diagonal(confusion) / total).mean())
    padded = (np.diagonal(confusion) + 2) / (total + 4)
    error = float(np.sqrt((padded * (1 - padded) / (total + 4)).sum()) / k)
    scale, chance = 1 - 1 / k, 1 / k
    return finite(
        (value - chance) / scale,
        (float(padded.mean()) - Z * error - chance) / scale,
        min(1.0, (float(padded.mean()) + Z * error - chance) / scale),
        None,
        int(total.sum()),
    )


def corrected_share(first: int, pictures: int, confusion: np.ndarray) -> Measured:
    """Return the share of the first of two classes, with the encoder's known errors taken out (Rogan and Gladen 1978).

    `first` of `pictures` were assigned to it. (share + specificity - 1) / (sensitivity + specificity - 1), cut to 0
    and 1; the interval is by the delta method over the share and both errors.
    """
    if confusion.shape != (2, 2):
        return Unmeasurable("errors are taken out for two classes alone")
    if not pictures:
        return Unmeasurable("no picture")
    (hit, miss), (false, right) = confusion.tolist()
    sensitivity, specificity = hit / (hit + miss), right / (right + false)
    youden, share = sensitivity + specificity - 1, first / pictures
    if youden <= 0:
        return Unmeasurable("the encoder tells the classes no better than chance")
    value = (share + specificity - 1) / youden
    padded = [(k + 2) / (n + 4) for k, n in ((first, pictures), (hit, hit + miss), (right, right + false))]
    variance = [p * (1 - p) / (n + 4) for p, n in zip(padded, (pictures, hit + miss, right + false), strict=True)]
    slopes = (1 / youden, -value / youden, (1 - value) / youden)
    half = Z * float(np.sqrt(sum(s * s * v for s, v in zip(slopes, variance, strict=True))))
    clipped = min(1.0, max(0.0, value))
    return finite(clipped, min(clipped, max(0.0, value - half)), max(clipped, min(1.0, value + half)), None, pictures)
