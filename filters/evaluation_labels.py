"""How well a detector separates pictures that a user has labelled."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from filters.decoding import Undecodable, decode
from filters.errors import BadInput
from filters.evaluation import auc
from filters.scoring import Batch, Picture, Scorer

#: Share of the negatives that may be flagged at the threshold that is reported.
FALSE_POSITIVES = 0.01

#: Pictures held decoded at once.
_CHUNK = 16


@dataclass(frozen=True)
class Labelled:
    """One labelled picture: its name, bytes, whether it has what is looked for, and its caption where there is one."""

    name: str
    data: bytes
    positive: bool
    caption: str = ""


def evaluate_labelled(
    scorer: Scorer, pictures: Iterable[Labelled], column: str, bound: float, max_false: float = FALSE_POSITIVES
) -> dict[str, Any]:
    """Score the pictures and measure how one column separates those that have it from those that do not.

    `pictures` are read in order, 16 at a time. `bound`: the rule's bound; what lies above it is dropped. Returns

    - `images`, `positives`, `negatives`: how many were scored
    - `auc`, `tpr@fpr=0.01`, `threshold`: see `separation`
    - `bound`, `fpr`, `tpr`: shares of negatives and positives above the rule's bound
    - `failures`: how many pictures could not be decoded, by reason; they count nowhere else
    - `ms_per_image`: wall milliseconds to score one picture, decoding not included

    Raises `BadInput` unless pictures of both classes could be scored.
    """
    scores: list[float] = []
    labels: list[bool] = []
    failures: Counter[str] = Counter()
    seconds = 0.0
    for some in _chunks(pictures):
        kept, decoded = [], []
        for item in some:
            try:
                decoded.append(decode(item.data))
                kept.append(item)
            except Undecodable as error:
                failures[error.reason.value] += 1
        if not kept:
            continue
        batch = _batch(kept, decoded)
        began = time.perf_counter()
        values = scorer.score(batch).column(column).to_pylist()
        seconds += time.perf_counter() - began
        scores += values
        labels += [item.positive for item in kept]
    values_of, positive = np.array(scores, dtype=np.float64), np.array(labels, dtype=bool)
    if not positive.any() or positive.all():
        which = "1" if not positive.any() else "0"
        raise BadInput(
            f"both labels are needed: no picture labelled {which} could be read "
            f"({len(scores)} scored, {failures.total()} failed)"
        )
    having, lacking = values_of[positive], values_of[~positive]
    return {
        "images": len(scores),
        "positives": len(having),
        "negatives": len(lacking),
        **separation(having, lacking, max_false),
        "bound": bound,
        "fpr": float((lacking > bound).mean()),
        "tpr": float((having > bound).mean()),
        "failures": dict(sorted(failures.items())),
        "ms_per_image": seconds * 1000.0 / len(scores),
    }


def separation(positive: np.ndarray, negative: np.ndarray, max_false: float = FALSE_POSITIVES) -> dict[str, float]:
    """Return `auc`, `threshold`, and `tpr@fpr=0.01` (named by `max_false`) for two non-empty sets of scores.

    `auc` counts ties half (Mann-Whitney). `threshold` is the lowest score of a negative such that at most
    `max_false` of the negatives lie above it; what lies above it counts as found, and what equals it does not, as a
    rule's upper bound has it. Below 1 / `max_false` negatives that is their highest score.
    """
    ordered = np.sort(negative)[::-1]
    threshold = float(ordered[int(np.floor(max_false * len(negative) + 1e-9))]) if max_false < 1 else -np.inf
    return {
        "auc": auc(positive, negative),
        f"tpr@fpr={max_false:g}": float((positive > threshold).mean()),
        "threshold": threshold,
    }


def _chunks(pictures: Iterable[Labelled]) -> Iterator[Sequence[Labelled]]:
    source = iter(pictures)
    while some := list(islice(source, _CHUNK)):
        yield some


def _batch(items: Sequence[Labelled], decoded: list[Picture]) -> Batch:
    names = [item.name for item in items]
    return Batch(names, [item.caption for item in items], [item.data for item in items], decoded)
