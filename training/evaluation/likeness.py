"""How well pictures fit their prompts, beside how well they fit other prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audit.metrics.estimate import Measured, Unmeasurable, normal


@dataclass(frozen=True)
class Similarity:
    """Mean cosine with the own prompt, with all other prompts, and the mean difference of both a picture.

    `auc`: chance that a picture is nearer to its own prompt than to another one; 0.5 is chance.
    """

    matched: Measured
    shuffled: Measured
    difference: Measured
    auc: float | None


def prompt_similarity(pictures: np.ndarray, prompts: Sequence[str], texts: np.ndarray) -> Similarity:
    """Measure unit vectors of pictures (n, d) against those of their prompts (n, d), row by row.

    The baseline is every pairing with a prompt of another wording: the mean over all shuffles. Intervals take the
    prompts as the sample: the rows of one prompt count as one.
    """
    cosines = pictures.astype(np.float64) @ texts.astype(np.float64).T
    names = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
    own = np.array([names[prompt] for prompt in prompts])
    others = own[:, None] != own[None, :]
    if len(names) < 2:
        why = Unmeasurable("fewer than two different prompts: there is nothing to shuffle")
        return Similarity(_mean(np.diagonal(cosines), own), why, why, None)
    matched = np.diagonal(cosines)
    shuffled = np.where(others, cosines, 0.0).sum(axis=1) / others.sum(axis=1)
    below = (cosines < matched[:, None]) + 0.5 * (cosines == matched[:, None])
    auc = float((np.where(others, below, 0.0).sum(axis=1) / others.sum(axis=1)).mean())
    return Similarity(_mean(matched, own), _mean(shuffled, own), _mean(matched - shuffled, own), auc)


def _mean(values: np.ndarray, groups: np.ndarray) -> Measured:
    """Return the mean over groups of their means, with its normal interval."""
    count = np.bincount(groups)
    means = np.bincount(groups, values) / count
    if len(means) < 2:
        return Unmeasurable("one prompt alone gives no interval")
    return normal(float(means.mean()), float(means.std(ddof=1) / np.sqrt(len(means))), len(values))
