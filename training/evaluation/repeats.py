"""The memorisation audit: bounds from pictures that were not generated, flags, and the pairs that are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from audit.metrics.shares import share
from training.evaluation.document import Memorisation, NotMeasured, Pair, digits, shown
from training.evaluation.memorisation import (
    FAR,
    RATE,
    Bounds,
    Nearest,
    bounds_of,
    flags,
    nearest_by_embedding,
    nearest_by_hash,
)
from training.evaluation.sheets import Sheet
from training.evaluation.studio import Asked

#: Most pairs in the report: all flagged ones up to here, else the nearest few.
_PAIRS, _NEAREST = 40, 8

#: Unseen pictures that are enough to set the bounds at `RATE`.
_ENOUGH = round(2 / RATE) - 1

#: Most pictures that set the bounds: more make them no better, and each is held against all training pictures.
_MOST = 5_000

#: Training pictures that the audit needs.
_LEAST_TRAINING = 10


@dataclass(frozen=True)
class Made:
    """The pictures that were generated: `own` of them for prompts of no importance here, the rest for captions that
    the training has seen most often.
    """

    asked: Sequence[Asked]
    sheet: Sheet
    own: int


def audit_repeats(
    made: Made, training: Sheet, unseen: Sheet | None, uids: Sequence[str], basis: str
) -> Memorisation | NotMeasured:
    """Audit generated pictures. `uids`: of the training pictures; `unseen`: those that the checkpoint has not seen.

    Where those are too few, the bounds are from training pictures, each held against all others: a duplicate-free
    dataset's pictures are to each other as new ones are to it.
    """
    if len(training) < _LEAST_TRAINING:
        return NotMeasured(why=f"only {len(training)} training pictures; {_LEAST_TRAINING} are needed")
    if unseen is not None and len(unseen) >= _ENOUGH:
        some = np.arange(min(_MOST, len(unseen)))
        against, told = nearest(unseen.take(some), training), f"{len(some)} {basis} pictures against the training's"
    else:
        some = np.arange(min(_MOST, len(training)))
        against = nearest(training.take(some), training, some)
        told = f"{len(some)} training pictures, each against all others"
    bounds = bounds_of(against)
    if bounds is None:
        return NotMeasured(why=f"only {len(against.bits)} pictures to set the bounds by")
    found = nearest(made.sheet, training)
    flagged = flags(found, bounds)
    hit = flagged[:, 0] | flagged[:, 1]
    count, total = int(hit.sum()), len(hit)
    return Memorisation(
        basis=told,
        rate=digits(bounds.rate),
        bits_bound=bounds.bits,
        ratio_bound=None if bounds.ratio is None else digits(bounds.ratio),
        baseline=bounds.compared,
        baseline_flagged=shown(share(int(flags(against, bounds).any(axis=1).sum()), bounds.compared)),
        flagged=shown(share(count, total)),
        flagged_training_captions=shown(share(int(hit[made.own :].sum()), total - made.own)),
        p=digits(float(stats.binom.sf(count - 1, total, bounds.rate))),
        too_plain=int((~made.sheet.usable).sum()),
        pairs=_pairs(made, found, flagged, bounds, uids),
    )


def nearest(pictures: Sheet, training: Sheet, own: np.ndarray | None = None) -> Nearest:
    """Return each picture's nearest training pictures; `own` (n,): the row that a picture itself is."""
    by_hash, bits = nearest_by_hash(pictures.codes, pictures.usable, training.codes[:, 0], training.usable, own)
    by_embedding, ratio = nearest_by_embedding(pictures.features, training.features, own)
    return Nearest(by_hash, bits, by_embedding, ratio)


def _pairs(made: Made, found: Nearest, flagged: np.ndarray, bounds: Bounds, uids: Sequence[str]) -> list[Pair]:
    """Return the flagged pictures, nearest first; where there are none, those that came nearest."""
    score = np.minimum(found.bits / max(1, bounds.bits or 1), found.ratio / max(1e-9, bounds.ratio or 1e-9))
    order = np.argsort(score, kind="stable")
    hit = flagged[:, 0] | flagged[:, 1]
    chosen = [int(at) for at in order if hit[at]][:_PAIRS] or [int(at) for at in order[:_NEAREST]]
    return [_pair(made, found, flagged, uids, at) for at in chosen]


def _pair(made: Made, found: Nearest, flagged: np.ndarray, uids: Sequence[str], at: int) -> Pair:
    bits, row = int(found.bits[at]), int(found.by_hash[at])
    return Pair(
        set="prompts" if at < made.own else "training captions",
        prompt=made.asked[at].prompt,
        seed=made.asked[at].seed,
        by=[name for name, hit in zip(("hash", "embedding"), flagged[at], strict=True) if hit],
        hash_uid=uids[row] if row >= 0 and bits < FAR else None,
        bits=bits if bits < FAR else None,
        embedding_uid=uids[int(found.by_embedding[at])],
        ratio=round(float(found.ratio[at]), 6),
    )
