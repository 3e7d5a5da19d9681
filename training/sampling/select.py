"""The best of several candidates of one picture, by the project's own scorers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from filters.errors import BadInput
from filters.scorers.heads import AestheticScorer
from filters.scorers.quality import QualityScorer
from filters.scorers.similarity import SimilarityScorer
from filters.scoring import Batch, Picture, Scorer

#: Criteria on the command line, and the column of each one's scorer; more is better in all.
CRITERIA = {"similarity": "similarity", "aesthetic": "aesthetic", "technical": "technical_quality"}


@dataclass(frozen=True)
class Selector:
    """Chooses by the mean of the candidates' ranks over the criteria, so that no criterion's scale counts.

    Of equals the first is taken. Made by `selector_of`, which loads the scorers.
    """

    scorers: tuple[tuple[str, Scorer], ...]

    def choose(self, pictures: Sequence[np.ndarray], prompt: str) -> tuple[int, list[dict[str, float]]]:
        """Return the place of the best of uint8 (h, w, 3) pictures, and each one's scores by criterion."""
        batch = batch_of(pictures, prompt)
        found: dict[str, np.ndarray] = {}
        for criterion, scorer in self.scorers:
            column = scorer.score(batch).column(CRITERIA[criterion])
            found[criterion] = column.to_numpy(zero_copy_only=False).astype(np.float64)
        rows = [{name: float(values[at]) for name, values in found.items()} for at in range(len(pictures))]
        if not found:
            return 0, rows
        return int(np.argmin(np.mean([ranks(values) for values in found.values()], axis=0))), rows


def ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value (n,), 0 for the largest; equal values share the mean of theirs, NaN is last."""
    order = np.where(np.isnan(values), -np.inf, values)
    above = (order[None, :] > order[:, None]).sum(axis=1)
    same = (order[None, :] == order[:, None]).sum(axis=1)
    found: np.ndarray = above + (same - 1) / 2
    return found


def require_criteria(criteria: Sequence[str]) -> None:
    """Raise `BadInput` for a criterion that there is none of."""
    for name in criteria:
        if name not in CRITERIA:
            raise BadInput(f"--select {name}: no such criterion; of {', '.join(CRITERIA)}")


def selector_of(criteria: Sequence[str], encoder: str) -> Selector:
    """Return the selector of some criteria, loaded. Raises `BadInput` for an unknown one or a model that is missing.

    `encoder`: URI of the image-text encoder for similarity.
    """
    require_criteria(criteria)
    chosen: list[tuple[str, Scorer]] = []
    for name in criteria:
        scorer: Scorer = _scorer(name, encoder)
        scorer.load()
        chosen.append((name, scorer))
    return Selector(tuple(chosen))


def _scorer(name: str, encoder: str) -> Scorer:
    if name == "similarity":
        return SimilarityScorer(encoder)
    return AestheticScorer() if name == "aesthetic" else QualityScorer()


def batch_of(pictures: Sequence[np.ndarray], prompt: str) -> Batch:
    """Return pictures in memory as a batch for scorers."""
    count = len(pictures)
    images = [Picture(Image.fromarray(np.ascontiguousarray(pixels))) for pixels in pictures]
    return Batch([f"{at:032x}" for at in range(count)], [prompt] * count, [b""] * count, images)
