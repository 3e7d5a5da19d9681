"""The job behind `assay evaluate generation`: everything that is measured of one checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from audit.metrics.estimate import Unmeasurable
from filters.encoders.base import Encoder
from filters.errors import BadInput
from pipelines.run.directory import Run
from pipelines.run.storage import Store
from training.evaluation import document
from training.evaluation.encoder_labels import Reading
from training.evaluation.features import Features
from training.evaluation.figures import fit_part, frechet_part, loss_part, manifold_part
from training.evaluation.limits import limits_of
from training.evaluation.outputs import OutputAudit
from training.evaluation.prompt_sets import lists
from training.evaluation.repeats import Made, audit_repeats
from training.evaluation.sheets import Eye, Sheet, joined
from training.evaluation.studio import Asked, Studio, asked_for
from training.evaluation.subjects import PictureReader, Subjects
from training.sampling.model import Model
from training.sampling.sample import Sampler, Settings

#: Real pictures that generated ones are compared with, but for memorisation: larger sets move figures little.
_REAL = 10_000


@dataclass(frozen=True)
class Amounts:
    """How much is measured. `pictures`: generated for the prompts, and as many for training captions; `losses`:
    samples a side of the loss; `compared`: training pictures that generated ones are held against; `seeds`: pictures a
    prompt of the audit of outputs, 0 for none.
    """

    pictures: int = 64
    losses: int = 256
    compared: int = 50_000
    seeds: int = 8
    batch: int = 8

    def check(self) -> None:
        """Raise `BadInput` for amounts that give nothing."""
        for name, value, least in (
            ("--pictures", self.pictures, 2),
            ("--losses", self.losses, 10),
            ("--compared", self.compared, 10),
            ("--seeds", self.seeds, 0),
            ("--batch", self.batch, 1),
        ):
            if not least <= value <= 1_000_000:
                raise BadInput(f"{name} {value}: {least} to 1000000")


@dataclass(frozen=True)
class Job:
    """One evaluation. `prompts`: the user's own, or none: captions that the training has not seen, else any."""

    model: Model
    run: Run
    settings: Settings
    features: Features
    encoder: Encoder
    amounts: Amounts
    seed: int
    prompts: tuple[str, ...]
    say: Callable[[str], None]

    def studio(self, subjects: Subjects, reader: PictureReader, store: Store) -> Studio:
        """Return what makes and reads pictures; `store`: the folder in which a killed run left its numbers."""
        depends = [
            self.model.identity,
            str(self.settings),
            str(self.model.dtype),
            self.features.name,
            self.encoder.model_id(),
            subjects.shards.content,
            subjects.config.data.buckets.model_dump_json(),
            torch.__version__,
        ]
        key = hashlib.sha256(json.dumps(depends).encode()).hexdigest()
        sampler = Sampler(self.model, self.settings)
        eye = Eye(self.features, self.encoder)
        return Studio(sampler, reader, eye, store, key, self.amounts.batch, self.say)

    def measured(
        self, subjects: Subjects, reader: PictureReader, studio: Studio
    ) -> tuple[document.Evaluation, list[Asked]]:
        """Return what was found, and the pictures that were generated for the prompts.

        Raises `BadInput` where the dataset's pictures cannot be read.
        """
        amounts, seed = self.amounts, self.seed
        self.say(f"loss on {min(amounts.losses, len(subjects.unseen))} unseen samples")
        rows = subjects.unseen[: amounts.losses], subjects.seen[: amounts.losses]
        loss = loss_part(self.model, subjects, reader, *rows, seed)
        training = studio.real("training pictures", subjects.seen[: amounts.compared])
        unseen = None
        if len(subjects.unseen):
            unseen = studio.real("unseen pictures", subjects.unseen[: amounts.compared])
        if len(training) < 2:
            raise BadInput(f"{self.run.store.url}: its pictures cannot be read; run assay check")
        made = self._made(subjects, studio)
        generated = made.sheet.take(np.arange(made.own))
        real = training.take(np.arange(min(_REAL, len(training))))
        captions = subjects.shards.captions(real.rows[: amounts.pictures])
        fit = fit_part(
            generated,
            [one.prompt for one in made.asked[: made.own]],
            self.encoder.encode_texts([one.prompt for one in made.asked[: made.own]]),
            real.take(np.arange(len(captions))),
            captions,
            self.encoder.encode_texts(captions),
        )
        uids = subjects.shards.uids(training.rows)
        repeats = audit_repeats(made, training, unseen, uids, subjects.basis)
        frechet = frechet_part(self.features, generated, real, seed)
        outputs = self._outputs(studio, subjects)
        found = document.Evaluation(
            subject=self._subject(subjects),
            asked=self._asked(made, len(training)),
            loss=loss,
            frechet=frechet,
            manifold=manifold_part(generated, real, seed),
            prompt_fit=fit,
            memorisation=repeats,
            outputs=outputs,
            limits=limits_of(subjects, frechet, repeats, len(training), self.encoder.uri),
        )
        return found, list(made.asked[: made.own])

    def _made(self, subjects: Subjects, studio: Studio) -> Made:
        """Generate for the prompts, and for the captions that the training has seen most often.

        A model that has learnt a picture by heart gives it back for its caption (arXiv:2301.13188, section 4).
        """
        shards, count = subjects.shards, self.amounts.pictures
        some = subjects.unseen if len(subjects.unseen) >= count else subjects.seen[::-1]
        prompts = list(self.prompts) or shards.captions(some[:count])
        own = asked_for(prompts, count, self.seed)
        most = subjects.seen[np.argsort(-subjects.times[subjects.seen], kind="stable")][:count]
        other = asked_for(shards.captions(most), count, self.seed + count)
        sheets: list[Sheet] = [
            studio.generated("generated for prompts", own),
            studio.generated("generated for training captions", other),
        ]
        return Made([*own, *other], joined(sheets), len(own))

    def _outputs(self, studio: Studio, subjects: Subjects) -> list[document.OutputSet]:
        if not self.amounts.seeds:
            return []
        audit = OutputAudit(studio, subjects, self.seed, self.amounts.seeds)
        by_name = {one.name: one for one in lists().attributes}
        readings: dict[str, Reading | Unmeasurable] = {name: audit.reading(one) for name, one in by_name.items()}
        return [audit.run(one, by_name[one.attribute], readings[one.attribute]) for one in lists().sets]

    def _subject(self, subjects: Subjects) -> document.Subject:
        return document.Subject(
            name=str(self.model.facts["name"]),
            step=int(self.model.facts["step"]),
            checkpoint=self.model.identity,
            dataset=subjects.shards.content,
            samples=len(subjects.shards),
            seen=len(subjects.seen),
            unseen=len(subjects.unseen),
            basis=subjects.basis,
            leaked=subjects.leaked,
            gone=subjects.gone,
        )

    def _asked(self, made: Made, compared: int) -> document.Asked:
        prompts = [one.prompt for one in made.asked]
        source = "the user's file" if self.prompts else "captions of the dataset"
        return document.Asked(
            seed=self.seed,
            pictures=self.amounts.pictures,
            scheduler=self.settings.scheduler,
            steps=self.settings.steps,
            guidance=self.settings.guidance,
            width=self.settings.width,
            height=self.settings.height,
            prompts=source,
            prompts_sha256=hashlib.sha256(json.dumps(prompts).encode()).hexdigest(),
            features=self.features.name,
            encoder=f"{self.encoder.uri} ({self.encoder.model_id()})",
            compared=compared,
        )
