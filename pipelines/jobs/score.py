"""Score: decode each picture once, hand the pixels to every scorer, write columns, embeddings, thumbnails."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from filters.decoding import Undecodable, decode
from filters.errors import BadInput
from filters.registry import SCORERS
from filters.scorers.captions import CaptionScorer, CaptionStatistics
from filters.scorers.similarity import SimilarityScorer
from filters.scorers.thumbnail import thumbnail
from filters.scoring import Batch, Picture, Scorer
from pipelines.engine import Engine, run_parts
from pipelines.jobs.ingest import check_failures
from pipelines.jobs.reread import same_records
from pipelines.jobs.statistics import load_statistics, statistics
from pipelines.progress import Meter, shown
from pipelines.run.directory import Run
from pipelines.run.parts import PartWriter, fingerprint, finished, part_name
from pipelines.run.schema import SCORES_HEAD, embeddings_schema, scores_schema
from pipelines.sources.base import ShardRef
from pipelines.sources.registry import make_source

VERSION = "1"

#: Samples a model batch. Part of the result: models may differ in the last bit between batch sizes.
BATCH = 32

#: Pixels a batch; bounds the memory of decoded pictures (3 bytes each, and resized copies).
BATCH_PIXELS = 64_000_000


@dataclass
class _Columns:
    """Score columns of one part, filled batch by batch; rows without a score stay null."""

    rows: int
    positions: list[int] = field(default_factory=list)
    batches: dict[str, list[pa.RecordBatch]] = field(default_factory=dict)
    vectors: list[np.ndarray] = field(default_factory=list)

    def scattered(self, name: str, schema: pa.Schema) -> list[pa.Array]:
        """Return the scorer's columns over all rows of the part."""
        take = np.full(self.rows, -1, dtype=np.int64)
        take[self.positions] = np.arange(len(self.positions))
        indices = pa.array(take, mask=take < 0)
        table = pa.Table.from_batches(self.batches.get(name, []), schema=schema)
        return [column.combine_chunks().take(indices) for column in table.columns]

    def embedding_rows(self) -> pa.Array:
        """Return the vectors as a fixed-size list array over all rows, null where there is none."""
        found = np.concatenate(self.vectors)
        take = np.full(self.rows, -1, dtype=np.int64)
        take[self.positions] = np.arange(len(self.positions))
        flat = pa.array(found.astype(np.float16).reshape(-1))
        indices = pa.array(take, mask=take < 0)
        return pa.FixedSizeListArray.from_arrays(flat, found.shape[1]).take(indices)


@dataclass(frozen=True)
class Score:
    """Scores one part: reads the shard again, zips its records with the `samples` rows."""

    run_dir: Run
    shards: tuple[ShardRef, ...]
    statistics: str

    def scorers(self) -> list[Scorer]:
        """Return the recipe's scorers, not yet loaded."""
        recipe = self.run_dir.recipe
        counted = load_statistics(self.run_dir) if "caption" in recipe.scorers else None
        return [unloaded_scorer(name, recipe.similarity.model, counted) for name in recipe.scorers]

    def load(self) -> None:
        """Load every scorer's model; they cache them for the process."""
        for scorer in self.scorers():
            scorer.load()

    def run(self, index: int) -> None:
        """Write `scores`, `embeddings` and `thumbnails` part `index`."""
        store, name, wanted = self.run_dir.store, part_name("scores", index, ""), self.wanted(index)
        if finished(store, name, wanted):
            return
        meter = Meter(store, "score", index)
        scorers = self.scorers()
        for scorer in scorers:
            scorer.load()
        samples = self.run_dir.table("samples", index, ["uid", "caption", "sha256", "failure"])
        failures: list[tuple[str, str] | None] = [None] * samples.num_rows
        columns = _Columns(samples.num_rows)
        writer = PartWriter(store, name, wanted)
        thumbnails = part_name("thumbnails", index, ".tar")
        with store.create(thumbnails) as path:
            with tarfile.open(path, "w") as archive:
                seen: set[str] = set()
                for positions, batch in self._batches(index, samples, failures, meter):
                    _score_batch(scorers, batch, columns, meter)
                    columns.positions.extend(positions)
                    with meter.time("write"):
                        _add_thumbnails(archive, batch, seen)
                    meter.count(len(batch))
            writer.add_file(thumbnails, path)
        meter.count(samples.num_rows - len(columns.positions))
        self._write(writer, index, samples, failures, columns, scorers)
        meter.flush()

    def _batches(
        self, index: int, samples: pa.Table, failures: list[tuple[str, str] | None], meter: Meter
    ) -> Iterator[tuple[list[int], Batch]]:
        """Decode the part's readable samples; fill `failures` where the pixels turn out corrupt."""
        uids, captions, hashes, unreadable = (
            samples.column(name).to_pylist() for name in ("uid", "caption", "sha256", "failure")
        )
        max_pixels = self.run_dir.recipe.limits.max_pixels
        positions: list[int] = []
        data: list[bytes] = []
        pictures: list[Picture] = []
        pixels = 0

        def batch() -> tuple[list[int], Batch]:
            chosen = ([uids[p] for p in positions], [captions[p] for p in positions])
            return list(positions), Batch(*chosen, list(data), list(pictures))

        for row, record in enumerate(same_records(self.run_dir.recipe, self.shards[index], hashes, meter)):
            if unreadable[row] is not None or record.image is None:
                continue
            try:
                with meter.time("decode"):
                    picture = decode(record.image, max_pixels)
            except Undecodable as error:
                failures[row] = (error.reason.value, error.detail)
                meter.count(0, error.reason.value)
                continue
            size = picture.width * picture.height
            if positions and (len(positions) == BATCH or pixels + size > BATCH_PIXELS):
                yield batch()
                positions, data, pictures, pixels = [], [], [], 0
            positions.append(row)
            data.append(record.image)
            pictures.append(picture)
            pixels += size
        if positions:
            yield batch()

    def _write(
        self,
        writer: PartWriter,
        index: int,
        samples: pa.Table,
        failures: list[tuple[str, str] | None],
        columns: _Columns,
        scorers: list[Scorer],
    ) -> None:
        head = [
            samples.column("uid").combine_chunks(),
            pa.array([f and f[0] for f in failures], SCORES_HEAD[1].type),
            pa.array([f and f[1][:500] for f in failures], pa.string()),
        ]
        fields, arrays, models = [], [], {}
        for scorer in scorers:
            models[scorer.name] = scorer.model_id()
            tags = {"scorer": scorer.name, "version": scorer.version, "model": models[scorer.name]}
            for score_field, array in zip(scorer.fields, columns.scattered(scorer.name, scorer.fields), strict=True):
                fields.append(score_field.with_metadata({**(score_field.metadata or {}), **tags}))
                arrays.append(array)
        writer.add_table(
            part_name("scores", index), pa.Table.from_arrays([*head, *arrays], schema=scores_schema(fields))
        )
        if columns.vectors:
            vectors = columns.embedding_rows()
            schema = embeddings_schema(vectors.type.list_size)
            writer.add_table(part_name("embeddings", index), pa.Table.from_arrays([head[0], vectors], schema=schema))
        counts: dict[str, int] = {}
        for failure in failures:
            if failure:
                counts[failure[0]] = counts.get(failure[0], 0) + 1
        writer.commit(samples.num_rows, {"failures": counts, "models": models})

    def wanted(self, index: int) -> str:
        """Return the fingerprint of part `index`: samples, corpus statistics, scorers and their settings."""
        recipe = self.run_dir.recipe
        content = self.run_dir.marker("samples", index).facts["content"]
        scorers = [unloaded_scorer(name, recipe.similarity.model) for name in recipe.scorers]
        versions = [(scorer.name, scorer.version) for scorer in scorers]
        return fingerprint(
            "score",
            VERSION,
            content,
            self.statistics,
            versions,
            recipe.similarity.model,
            recipe.limits.max_pixels,
            BATCH,
        )


def unloaded_scorer(name: str, model: str, statistics: CaptionStatistics | None = None) -> Scorer:
    """Return the scorer `name`; `model` is the similarity's, `statistics` the captions' (none: an empty corpus)."""
    if name == "similarity":
        return SimilarityScorer(model)
    if name == "caption":
        return CaptionScorer(statistics or CaptionStatistics.empty())
    return SCORERS[name]()


def _score_batch(scorers: list[Scorer], batch: Batch, columns: _Columns, meter: Meter) -> None:
    for scorer in scorers:
        with meter.time("model"):
            if isinstance(scorer, SimilarityScorer):
                scores, vectors = scorer.score_with_embeddings(batch)
                columns.vectors.append(vectors)
            else:
                scores = scorer.score(batch)
        columns.batches.setdefault(scorer.name, []).append(scores)


def _add_thumbnails(archive: tarfile.TarFile, batch: Batch, seen: set[str]) -> None:
    for uid, picture in zip(batch.uids, batch.pictures, strict=True):
        if uid in seen:
            continue
        seen.add(uid)
        data = thumbnail(picture)
        member = tarfile.TarInfo(f"{uid}.webp")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))


def score(run: Run, engine: Engine) -> None:
    """Write all `scores` parts. Raises `TooManyFailures` where the recipe's limit is passed."""
    parts = run.parts("samples")
    if not parts:
        raise BadInput(f"{run.store.url}: nothing is ingested; run assay ingest first")
    shards = tuple(make_source(run.recipe.input).shards())
    work = Score(run, shards, statistics(run, engine).fingerprint)
    pending = [i for i in parts if not finished(run.store, part_name("scores", i, ""), work.wanted(i))]
    rows = {i: run.marker("samples", i).rows for i in parts}
    done = sum(rows.values()) - sum(rows[i] for i in pending)
    with shown(run.store, "score", sum(rows.values()), done):
        run_parts(engine, "score", work, pending)
    failed = sum(_failed(run, artefact) for artefact in ("samples", "scores"))
    check_failures(failed, run.rows("samples"), run.recipe.limits.max_failures)


def _failed(run: Run, artefact: str) -> int:
    facts: list[dict[str, Any]] = [run.marker(artefact, i).facts["failures"] for i in run.parts(artefact)]
    return sum(sum(counts.values()) for counts in facts)
