"""Score: decode each picture once, hand the pixels to every scorer, write columns, embeddings, thumbnails.

Within a part, batches are scored side by side by as many threads as the process may use cores, each model
on one thread. Measured on a busy machine, that is several times faster than one batch on all cores (whose
threads wait for each other at every layer), and its result does not depend on the number of cores.
"""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from filters.decoding import Undecodable, decode
from filters.encoders.uri import parse_uri
from filters.errors import BadInput
from filters.registry import SCORERS
from filters.scorers.captions import CaptionScorer, CaptionStatistics
from filters.scorers.nsfw import NsfwScorer
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

#: Pixels a batch, by the headers; bounds the memory of decoded pictures (4 bytes each, and resized copies).
BATCH_PIXELS = 64_000_000


@dataclass(frozen=True)
class _Raw:
    """Records that will be decoded and scored together; all lists have the same length."""

    positions: list[int]
    uids: list[str]
    captions: list[str]
    data: list[bytes]


@dataclass
class _Scored:
    """What came of one `_Raw`: rows by position, failures by position, columns by scorer."""

    positions: list[int] = field(default_factory=list)
    failures: dict[int, tuple[str, str]] = field(default_factory=dict)
    columns: dict[str, pa.RecordBatch] = field(default_factory=dict)
    vectors: np.ndarray | None = None
    thumbnails: list[tuple[str, bytes]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


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
        samples = self.run_dir.table("samples", index, ["uid", "caption", "sha256", "width", "height", "failure"])
        writer = PartWriter(store, name, wanted)
        thumbnails = part_name("thumbnails", index, ".tar")
        results = []
        with store.create(thumbnails) as path:
            with tarfile.open(path, "w") as archive:
                seen: set[str] = set()
                for scored in self._scored(scorers, self._raw(index, samples, meter)):
                    with meter.time("write"):
                        _add_thumbnails(archive, scored, seen)
                    results.append(scored)
                    _count(meter, scored)
            writer.add_file(thumbnails, path)
        self._write(writer, index, samples, results, scorers)
        meter.count(samples.num_rows - meter.samples)
        meter.flush()

    def _raw(self, index: int, samples: pa.Table, meter: Meter) -> Iterator[_Raw]:
        """Read the part's readable records, as many together as fit a batch."""
        rows = samples.to_pydict()
        raw, pixels = _Raw([], [], [], []), 0
        records = same_records(self.run_dir.recipe, self.shards[index], rows["sha256"], meter)
        for row, record in enumerate(records):
            if rows["failure"][row] is not None or record.image is None:
                continue
            size = rows["width"][row] * rows["height"][row]
            if raw.uids and (len(raw.uids) == BATCH or pixels + size > BATCH_PIXELS):
                yield raw
                raw, pixels = _Raw([], [], [], []), 0
            raw.positions.append(row)
            raw.uids.append(rows["uid"][row])
            raw.captions.append(rows["caption"][row])
            raw.data.append(record.image)
            pixels += size
        if raw.uids:
            yield raw

    def _scored(self, scorers: list[Scorer], batches: Iterator[_Raw]) -> Iterator[_Scored]:
        """Score batches side by side and yield them in order, never more in flight than there are threads."""
        max_pixels = self.run_dir.recipe.limits.max_pixels
        threads = _cores()
        waiting: deque[Future[_Scored]] = deque()
        with ThreadPoolExecutor(threads, initializer=_one_model_thread) as pool:
            for raw in batches:
                waiting.append(pool.submit(score_batch, scorers, raw, max_pixels))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _write(
        self, writer: PartWriter, index: int, samples: pa.Table, results: list[_Scored], scorers: list[Scorer]
    ) -> None:
        failures: dict[int, tuple[str, str]] = {}
        for result in results:
            failures.update(result.failures)
        found = [failures.get(row) for row in range(samples.num_rows)]
        head = [
            samples.column("uid").combine_chunks(),
            pa.array([f and f[0] for f in found], SCORES_HEAD[1].type),
            pa.array([f and f[1][:500] for f in found], pa.string()),
        ]
        rows = _scatter(samples.num_rows, [p for result in results for p in result.positions])
        fields, arrays = [], []
        models = {scorer.name: scorer.model_id() for scorer in scorers}
        for scorer in scorers:
            tags = {"scorer": scorer.name, "version": scorer.version, "model": models[scorer.name]}
            batches = [result.columns[scorer.name] for result in results if result.positions]
            table = pa.Table.from_batches(batches, schema=scorer.fields)
            for score_field, column in zip(scorer.fields, table.columns, strict=True):
                fields.append(score_field.with_metadata({**(score_field.metadata or {}), **tags}))
                arrays.append(column.combine_chunks().take(rows))
        writer.add_table(
            part_name("scores", index), pa.Table.from_arrays([*head, *arrays], schema=scores_schema(fields))
        )
        vectors = [result.vectors for result in results if result.vectors is not None]
        if vectors:
            scored = np.concatenate(vectors).astype(np.float16)
            flat = np.zeros((samples.num_rows, scored.shape[1]), dtype=np.float16)
            flat[[p for result in results for p in result.positions]] = scored
            array = pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), flat.shape[1])
            schema = embeddings_schema(flat.shape[1])
            writer.add_table(part_name("embeddings", index), pa.Table.from_arrays([head[0], array], schema=schema))
        counts = Counter(reason for reason, _ in failures.values())
        writer.commit(samples.num_rows, {"failures": dict(sorted(counts.items())), "models": models})

    def wanted(self, index: int) -> str:
        """Return the fingerprint of part `index`: samples, corpus statistics, scorers and their settings."""
        recipe = self.run_dir.recipe
        content = self.run_dir.marker("samples", index).facts["content"]
        scorers = [unloaded_scorer(name, recipe.similarity.model) for name in recipe.scorers]
        versions = [(scorer.name, scorer.version) for scorer in scorers]
        model = (recipe.similarity.model, _weights_state(recipe.similarity.model))
        settings = (model, recipe.limits.max_pixels, BATCH, BATCH_PIXELS)
        return fingerprint("score", VERSION, content, self.statistics, versions, settings)


def unloaded_scorer(name: str, model: str, statistics: CaptionStatistics | None = None) -> Scorer:
    """Return the scorer `name`; `model` is the similarity's, `statistics` the captions' (none: an empty corpus)."""
    if name == "similarity":
        return SimilarityScorer(model, threads=1)
    if name == "nsfw":
        return NsfwScorer(threads=1)
    if name == "caption":
        return CaptionScorer(statistics or CaptionStatistics.empty())
    return SCORERS[name]()


def _weights_state(model: str) -> list[tuple[str, int, int]]:
    """Return name, size and time of a `file:` model's files, so that other weights under the same name show."""
    uri = parse_uri(model)
    if uri.kind != "file":
        return []
    path = Path(uri.path)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]


def score_batch(scorers: list[Scorer], raw: _Raw, max_pixels: int) -> _Scored:
    """Decode and score the records of `raw`; a corrupt picture costs itself."""
    scored = _Scored()
    kept: list[int] = []
    pictures: list[Picture] = []
    start = time.perf_counter()
    for i, data in enumerate(raw.data):
        try:
            pictures.append(decode(data, max_pixels))
            kept.append(i)
        except Undecodable as error:
            scored.failures[raw.positions[i]] = (error.reason.value, error.detail)
    start = _add_time(scored, "decode", start)
    if not kept:
        return scored
    batch = Batch([raw.uids[i] for i in kept], [raw.captions[i] for i in kept], [raw.data[i] for i in kept], pictures)
    scored.positions = [raw.positions[i] for i in kept]
    for scorer in scorers:
        if isinstance(scorer, SimilarityScorer):
            scored.columns[scorer.name], scored.vectors = scorer.score_with_embeddings(batch)
        else:
            scored.columns[scorer.name] = scorer.score(batch)
        start = _add_time(scored, scorer.name, start)
    scored.thumbnails = [(uid, thumbnail(picture)) for uid, picture in zip(batch.uids, pictures, strict=True)]
    _add_time(scored, "write", start)
    return scored


def _add_time(scored: _Scored, phase: str, start: float) -> float:
    now = time.perf_counter()
    scored.seconds[phase] = scored.seconds.get(phase, 0.0) + now - start
    return now


def _count(meter: Meter, scored: _Scored) -> None:
    for phase, seconds in scored.seconds.items():
        meter.add_time(phase, seconds)
    for reason, _ in scored.failures.values():
        meter.count(failure=reason)
    meter.count(len(scored.positions))


def _scatter(rows: int, positions: list[int]) -> pa.Array:
    """Return indices (rows,) that put scored rows at their positions; null where there is no score."""
    take = np.full(rows, -1, dtype=np.int64)
    take[positions] = np.arange(len(positions))
    return pa.array(take, mask=take < 0)


def _add_thumbnails(archive: tarfile.TarFile, scored: _Scored, seen: set[str]) -> None:
    for uid, data in scored.thumbnails:
        if uid not in seen:
            seen.add(uid)
            member = tarfile.TarInfo(f"{uid}.webp")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    scored.thumbnails = []


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _one_model_thread() -> None:
    """Keep torch to one thread in this worker thread: OpenMP's number of threads belongs to the calling thread."""
    import torch

    torch.set_num_threads(1)


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
