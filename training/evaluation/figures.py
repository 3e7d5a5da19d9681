"""From sheets of pictures to the parts of the document: distance, precision and recall, fit to prompts, loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from audit.metrics.shares import share
from training.evaluation.document import (
    Baseline,
    Frechet,
    Loss,
    Manifold,
    NotMeasured,
    PromptFit,
    digits,
    shown,
)
from training.evaluation.features import Features
from training.evaluation.frechet import biased, frechet_distance, split_baseline
from training.evaluation.likeness import prompt_similarity
from training.evaluation.losses import errors_of, gap, summarised
from training.evaluation.manifolds import NEIGHBOURS, overlap
from training.evaluation.sheets import Sheet
from training.evaluation.subjects import PictureReader, Subjects
from training.sampling.model import Model
from training.sampling.sample import SamplingFailed

#: Pictures whose fit to all prompts is measured at most: it takes their square in memory.
_FIT = 4_000

#: Samples that a loss needs.
_LEAST = 10


def loss_part(
    model: Model, subjects: Subjects, reader: PictureReader, unseen: np.ndarray, seen: np.ndarray, seed: int
) -> Loss | NotMeasured:
    """Return the loss on rows that the checkpoint has not seen and rows that it has. Raises `SamplingFailed`."""
    stage = model.facts.get("stage")
    if stage != "denoiser":
        return NotMeasured(why=f"a checkpoint of the stage {stage} was not trained for this loss")
    if len(unseen) < _LEAST:
        why = "the training has seen every sample" if not len(unseen) else f"only {len(unseen)} unseen samples"
        return NotMeasured(why=f"{why}: set data.held_out in the training's configuration")
    objective = subjects.config.objective
    errors = [errors_of(model, objective, _batches(subjects, reader, rows), seed) for rows in (unseen, seen)]
    if not all(np.isfinite(one).all() for one in errors):
        raise SamplingFailed(f"{model.path}: its loss is no finite number; take a checkpoint from before")
    (out, known), difference = (summarised(one) for one in errors), gap(*errors)
    return Loss(
        unseen=shown(out.mean),
        seen=shown(known.mean),
        gap=shown(difference),
        unseen_levels=[shown(one) for one in out.levels],
        seen_levels=[shown(one) for one in known.levels],
    )


def _batches(
    subjects: Subjects, reader: PictureReader, rows: np.ndarray
) -> Iterator[tuple[Sequence[str], Sequence[str], np.ndarray]]:
    for some, pixels in reader.read(rows):
        yield subjects.shards.uids(some), subjects.shards.captions(some), pixels


def frechet_part(features: Features, generated: Sheet, real: Sheet, seed: int) -> Frechet | NotMeasured:
    """Return the Fréchet distance of generated pictures to the dataset's, with the baseline of real ones."""
    if min(len(generated), len(real)) < 2:
        return NotMeasured(why="fewer than two pictures on one side")
    split = split_baseline(real.features, len(generated), seed)
    few = NotMeasured(why=f"{len(real)} real pictures are too few to split off {len(generated)} and leave as many")
    return Frechet(
        value=digits(frechet_distance(generated.features, real.features)),
        name="Fréchet Inception distance" if features.is_fid else "Fréchet distance of encoder features (not FID)",
        generated=len(generated),
        real=len(real),
        dimension=features.dimension,
        biased=biased(min(len(generated), len(real)), features.dimension),
        baseline=few
        if split is None
        else Baseline(
            mean=digits(split.mean), low=digits(split.low), high=digits(split.high), pictures=split.pictures
        ),
    )


def manifold_part(generated: Sheet, real: Sheet, seed: int) -> Manifold | NotMeasured:
    """Return precision and recall of as many real as generated pictures, and of real against other real ones."""
    size = min(len(generated), len(real) // 2)
    if size <= NEIGHBOURS:
        return NotMeasured(why=f"more than {NEIGHBOURS} generated and twice as many real pictures are needed")
    order = np.random.default_rng(seed).permutation(len(real))
    one, other = real.features[order[:size]], real.features[order[size : 2 * size]]
    found, base = overlap(one, generated.features[:size]), overlap(one, other)
    return Manifold(
        precision=shown(share(found.precise, found.generated)),
        recall=shown(share(found.recalled, found.real)),
        real_precision=shown(share(base.precise, base.generated)),
        real_recall=shown(share(base.recalled, base.real)),
    )


def fit_part(
    generated: Sheet, prompts: Sequence[str], texts: np.ndarray, real: Sheet, captions: Sequence[str], own: np.ndarray
) -> PromptFit:
    """Return how pictures fit their prompts, and how real ones fit their captions; `texts`, `own`: unit vectors."""
    found = prompt_similarity(generated.vectors[:_FIT], prompts[:_FIT], texts[:_FIT])
    base = prompt_similarity(real.vectors[:_FIT], captions[:_FIT], own[:_FIT])
    return PromptFit(
        matched=shown(found.matched),
        shuffled=shown(found.shuffled),
        difference=shown(found.difference),
        auc=None if found.auc is None else digits(found.auc),
        real_matched=shown(base.matched),
        real_difference=shown(base.difference),
    )
