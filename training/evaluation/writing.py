"""The evaluation's folder: beside the checkpoint, never in it, since a checkpoint's identity covers its files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from filters.errors import BadInput
from pipelines.run.storage import Store
from training.evaluation.document import CARD, JSON, PAGE, Evaluation, dumped
from training.evaluation.evaluate import Job
from training.evaluation.gallery import SAMPLES, Gallery
from training.evaluation.page import card_with, rendered
from training.evaluation.studio import WORK
from training.evaluation.subjects import PictureReader, subjects_of
from training.keeper import CARD as CHECKPOINT_CARD
from training.sampling.model import Model

FOLDER = "evaluations"

#: Pictures that are decoded at once.
_DECODED = 64


def folder_of(model: Model) -> Path:
    """Return where a checkpoint's evaluation lies: in `evaluations/` beside it, by its name and identity."""
    path = model.path.resolve()
    return path.parent / FOLDER / f"{path.name}-{model.identity[:16]}"


def write(job: Job, store: Store) -> Evaluation:
    """Measure, and write document, page and card; the document comes last. The same call again gives the same bytes.

    Raises `BadInput` where the folder holds another checkpoint's evaluation.
    """
    _claim(store, job.model)
    subjects = subjects_of(job.model, job.run, job.seed)
    with PictureReader(subjects, _DECODED) as reader:
        studio = job.studio(subjects, reader, store)
        found, asked = job.measured(subjects, reader, studio)
        job.say("page")
        gallery = Gallery(studio, subjects)
        page = rendered(found, gallery.samples(asked[:SAMPLES]), gallery.comparisons(found))
    store.write(PAGE, page)
    card = (job.model.path / CHECKPOINT_CARD).read_text(encoding="utf-8")
    store.write(CARD, card_with(card, found, PAGE).encode())
    store.write(JSON, dumped(found))
    shutil.rmtree(Path(store.path(WORK)), ignore_errors=True)
    return found


def _claim(store: Store, model: Model) -> None:
    if not store.exists(JSON):
        return
    try:
        there = json.loads(store.read(JSON))["subject"]["checkpoint"]
    except (ValueError, KeyError, TypeError):
        raise BadInput(f"{store.url}/{JSON}: not an evaluation of this tool; use another --out") from None
    if there != model.identity:
        raise BadInput(f"{store.url}: holds the evaluation of another checkpoint; use another --out")
