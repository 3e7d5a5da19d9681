"""Which of a dataset's samples a checkpoint has seen, which it has not, and their pictures as it saw them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from filters.errors import BadInput
from pipelines.retraction.versions import version_records
from pipelines.run.directory import Run, open_run
from pipelines.run.manifest import read_manifest
from training.config import Config, parse_config
from training.contents import CONFIG
from training.data.buckets import assign, bucket_sizes
from training.data.exposure import load_exposure
from training.data.held_out import held_out
from training.data.jobs import jobs_of, make_decoder
from training.data.mixing import keys
from training.data.pool import Decoder
from training.data.samples import ShardSet
from training.sampling.model import Model

#: held-out: left out by data.held_out; unseen: merely not reached yet; none: the training has seen all.
Basis = Literal["held-out", "unseen", "none"]

#: Purpose of the draw that orders samples where not all are looked at (`training.data.mixing`).
_CHOICE = 201


@dataclass(frozen=True)
class Subjects:
    """Rows of a dataset's shards, int64, in a random order of the seed: `seen` and `unseen` by the checkpoint.

    `times` int64 (n,): how often each sample of the shards was seen; `leaked`: held-out samples that were seen all the
    same; `gone`: samples that were seen and have left the dataset since.
    """

    shards: ShardSet
    config: Config
    seen: np.ndarray
    unseen: np.ndarray
    basis: Basis
    times: np.ndarray
    leaked: int
    gone: int


def dataset_of(named: str, facts: dict[str, Any]) -> Run:
    """Return the dataset that a checkpoint was trained on, in whatever version it is now. Raises `BadInput`."""
    run = open_run(named)
    records = version_records(run.store)
    versions = {str(read_manifest(run)["content_hash"]), *(str(record["before"]) for record in records)}
    if not versions & {str(one) for one in facts.get("datasets", [])}:
        raise BadInput(f"{named}: the checkpoint was not trained on this dataset")
    return run


def subjects_of(model: Model, run: Run, seed: int) -> Subjects:
    """Return what a checkpoint has seen of a dataset, by its own exposure log. Raises `BadInput`."""
    path = model.path / CONFIG
    config = parse_config(path.read_text(encoding="utf-8"), str(path), [])
    shards = ShardSet.open(run)
    counts = load_exposure(model.path).counts()
    uids = shards.uids(np.arange(len(shards)))
    times = np.array([counts.get(uid, 0) for uid in uids], dtype=np.int64)
    out = held_out(shards.words, config.data.held_out)
    order = np.argsort(keys(shards.words, _CHOICE, seed), kind="stable")
    seen = order[times[order] > 0]
    if not len(seen):
        raise BadInput(f"{run.store.url}: the checkpoint has seen none of its samples; train it further")
    unseen, basis = order[(times[order] == 0) & out[order]], "held-out"
    if not config.data.held_out:
        unseen = order[times[order] == 0]
        basis = "unseen" if len(unseen) else "none"
    gone = len(counts) - int((times > 0).sum())
    return Subjects(shards, config, seen, unseen, basis, times, int((out & (times > 0)).sum()), gone)  # type: ignore[arg-type]


class PictureReader:
    """Reads pictures as the training saw them: the part in the middle, not mirrored. Close it, or use it in `with`."""

    def __init__(self, subjects: Subjects, batch: int) -> None:
        self._subjects, self._batch = subjects, batch
        self._sizes = bucket_sizes(subjects.config.data.buckets)
        self._decoder: Decoder | None = None

    def __enter__(self) -> PictureReader:
        return self

    def __exit__(self, *details: object) -> None:
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None

    def read(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield rows of one size, int64 (b,), and their pixels uint8 (b, 3, h, w); unreadable ones are left out.

        In the order of sizes, then of `rows`.
        """
        shards, data = self._subjects.shards, self._subjects.config.data
        if self._decoder is None:
            self._decoder = make_decoder(shards.url, data, self._batch, self._sizes)
        buckets = assign(shards.width[rows], shards.height[rows], self._sizes)
        for bucket in np.unique(buckets):
            mine = rows[buckets == bucket]
            for start in range(0, len(mine), self._batch):
                some = mine[start : start + self._batch]
                middle = np.full(len(some), 0.5)
                jobs = jobs_of(shards, some, middle, middle, np.zeros(len(some), dtype=bool))
                pixels, outcomes = self._decoder.result(self._decoder.submit(jobs, *self._sizes[int(bucket)]))
                good = np.array([not outcome.reason for outcome in outcomes], dtype=bool)
                if good.any():
                    yield some[good], pixels[good]


def images(pixels: np.ndarray) -> list[Image.Image]:
    """Return pixels uint8 (n, 3, h, w) as pictures."""
    return [Image.fromarray(np.ascontiguousarray(one.transpose(1, 2, 0))) for one in pixels]
