"""Score: decode each picture once, hand the pixels to every scorer, write columns, embeddings, thumbnails.

Within a part, batches are scored side by side by as many threads as the process may use cores, each model
on one thread. Measured on a busy machine, that is several times faster than one batch on all cores (whose
threads wait for each other at every layer), and its result does not depend on the number of cores.
"""

from __future__ import annotations

import io
import sys
import tarfile
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from filters.cores import available_cores
from filters.encoders.precision import is_rounded, precision_error, probe
from filters.encoders.uri import parse_uri
from filters.errors import BadInput
from filters.optout.judging import rights_masks
from filters.reasons import Reason
from filters.registry import HEADS, SCORERS
from filters.rules import AnyRule, mask, primary_codes
from filters.scorers.captions import CaptionScorer, CaptionStatistics
from filters.scorers.nsfw import NsfwScorer
from filters.scorers.similarity import SimilarityScorer
from filters.scoring import EvidenceScorer, Scorer
from pipelines.engine import Engine, run_parts
from pipelines.jobs.attempts import guarded
from pipelines.jobs.ingest import check_failures
from pipelines.jobs.match import key_matches, pinned
from pipelines.jobs.reread import known_hashes, same_records
from pipelines.jobs.rights import policy_of
from pipelines.jobs.scoring import Raw, Scored, draft_side, drafts, scattered, score_batch
from pipelines.jobs.statistics import load_statistics, statistics
from pipelines.progress import Meter, shown
from pipelines.registry.samples import samples_to_match
from pipelines.run.directory import Run
from pipelines.run.parts import PartWriter, fingerprint, finished, part_name
from pipelines.run.recipe import HeadChoices
from pipelines.run.schema import EVIDENCE, SCORES_HEAD, embeddings_schema, scores_schema
from pipelines.sources.base import ShardRef
from pipelines.sources.registry import make_source

VERSION = "3"

#: Reasons for which no model sees a picture, as far as they are known before one could.
UNSEEN = (Reason.OPTED_OUT, Reason.REGISTRY_OPT_OUT, Reason.CREATOR_NAMED)

#: Samples a model batch. Part of the result: models may differ in the last bit between batch sizes.
BATCH = 32

#: Pixels a batch, by the headers; bounds the memory of decoded pictures (4 bytes each, and resized copies).
BATCH_PIXELS = 64_000_000


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
        return [unloaded_scorer(name, recipe.similarity.model, recipe.heads, counted) for name in recipe.scorers]

    def load(self) -> None:
        """Load every scorer's model; they cache them for the process."""
        for scorer in self.scorers():
            scorer.load()

    def wants_accelerator(self) -> bool:
        """Tell whether the recipe's encoder is one that a GPU runs faster; the packaged one is too small to gain."""
        recipe = self.run_dir.recipe
        return "similarity" in recipe.scorers and not recipe.similarity.model.startswith("builtin:")

    def run(self, index: int) -> None:
        """Write `scores`, `embeddings`, `evidence`, `thumbnails` part `index`; unwanted thumbnails are empty."""
        store, name, wanted = self.run_dir.store, part_name("scores", index, ""), self.wanted(index)
        if finished(store, name, wanted):
            return
        meter = Meter(store, "score", index)
        scorers = self.scorers()
        samples = with_reserved(self.run_dir, index)
        rules = self.run_dir.recipe.filter_rules() if self.run_dir.recipe.cascade else []
        writer = PartWriter(store, name, wanted)
        thumbnails = part_name("thumbnails", index, ".tar")
        results = []
        with store.create(thumbnails) as path:
            with tarfile.open(path, "w") as archive:
                seen: set[str] = set()
                for scored in score_rows(self.run_dir, self.shards[index], samples, scorers, rules, meter):
                    with meter.time("write"):
                        _add_thumbnails(archive, scored, seen)
                    results.append(scored)
            writer.add_file(thumbnails, path)
        side = _side(self.run_dir, scorers)
        _write(writer, index, samples, results, scorers, self.precision(index), side)
        meter.count(samples.num_rows - meter.samples)
        meter.flush()

    def precision(self, index: int) -> dict[str, object] | None:
        """Return what running the similarity in less than float32 costs on this machine, for the run's first part."""
        recipe = self.run_dir.recipe
        if index or "similarity" not in recipe.scorers or not is_rounded(recipe.similarity.model):
            return None
        return precision_error(recipe.similarity.model, *probe()).facts()

    def wanted(self, index: int) -> str:
        """Return the fingerprint of part `index`: samples, corpus statistics, scorers and their settings."""
        recipe = self.run_dir.recipe
        facts = self.run_dir.marker("samples", index).facts
        registry = pinned(self.run_dir)
        content = [facts["content"], facts["signals_content"], registry and registry.hash]
        scorers = [unloaded_scorer(name, recipe.similarity.model, recipe.heads) for name in recipe.scorers]
        versions = [(scorer.name, scorer.version) for scorer in scorers]
        model = (recipe.similarity.model, _weights_state(recipe.similarity.model))
        settings = (model, recipe.heads.model_dump(), recipe.limits.max_pixels, BATCH, BATCH_PIXELS)
        cascade = [str(rule) for rule in recipe.filter_rules()] if recipe.cascade else None
        # A run of before drafts must not go on with them.
        more = ["drafts"] if drafts(scorers) else []
        more += [] if recipe.thumbnails else ["no thumbnails"]
        return fingerprint("score", VERSION, content, self.statistics, versions, settings, cascade, *more)


def with_reserved(run: Run, index: int) -> pa.Table:
    """Return one part's samples with a column `reserved`: the reason code by which training on one is denied.

    By its own signals, or by an entry of the registry that names its address, maker or hash.
    """
    samples = run.table("samples", index)
    matches = key_matches(run, samples_to_match(run, index))
    uids = samples.column("uid").combine_chunks()
    masks = rights_masks(uids, run.table("signals", index), matches, policy_of(run.recipe.rights))
    return samples.append_column("reserved", primary_codes(masks & mask(*UNSEEN)).cast(pa.string()))


def unloaded_scorer(
    name: str, model: str, heads: HeadChoices | None = None, statistics: CaptionStatistics | None = None
) -> Scorer:
    """Return a scorer. `model` is the similarity's URI, `heads` choose among the heads over its embeddings,
    `statistics` are those of the captions (none: an empty corpus)."""
    if name == "similarity":
        return SimilarityScorer(model, threads=1)
    if name in HEADS:
        chosen = getattr(heads or HeadChoices(), name)
        return SCORERS[name](encoder=model, head=chosen.head, weights=chosen.weights)
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


def score_rows(
    run: Run,
    shard: ShardRef,
    samples: pa.Table,
    scorers: Sequence[Scorer],
    rules: Sequence[AnyRule],
    meter: Meter,
    only: set[int] | None = None,
) -> Iterator[Scored]:
    """Score the readable rows of one part, or `only` some positions, batch by batch and in order.

    Never more batches are in flight than there are threads.
    """
    for scorer in scorers:
        scorer.load()
    threads = available_cores()
    side = _side(run, scorers)
    pictured = run.recipe.thumbnails and only is None
    waiting: deque[Future[Scored]] = deque()
    with (
        guarded(run.store, "score", meter.part) as guard,
        ThreadPoolExecutor(threads, initializer=_one_model_thread) as pool,
    ):
        for raw in _raw(run, shard, samples, meter, only):
            limit = run.recipe.limits.max_pixels
            waiting.append(pool.submit(score_batch, scorers, raw, limit, rules, pictured, side, guard))
            if len(waiting) > threads:
                yield _counted(meter, waiting.popleft().result())
        while waiting:
            yield _counted(meter, waiting.popleft().result())


def _side(run: Run, scorers: Sequence[Scorer]) -> int | None:
    """Return the shorter side that JPEGs must keep, by what all of the run's scorers need; None: all pixels."""
    recipe = run.recipe
    every = [unloaded_scorer(name, recipe.similarity.model, recipe.heads) for name in recipe.scorers]
    return draft_side(scorers) if drafts(every) else None


def _raw(run: Run, shard: ShardRef, samples: pa.Table, meter: Meter, only: set[int] | None) -> Iterator[Raw]:
    """Read the part's readable records, as many together as fit a batch."""
    rows = samples.select(["uid", "caption", "sha256", "width", "height", "failure"]).to_pydict()
    carried = samples.drop_columns(["failure", "reserved"])
    reserved = samples.column("reserved").to_pylist()
    positions: list[int] = []
    data: list[bytes] = []
    pixels = 0

    def raw() -> Raw:
        uids, captions = [rows["uid"][p] for p in positions], [rows["caption"][p] for p in positions]
        spared = [reserved[p] for p in positions]
        return Raw(list(positions), uids, captions, list(data), carried.take(positions), spared)

    for row, record in enumerate(same_records(run.recipe, shard, known_hashes(samples), meter)):
        if rows["failure"][row] is not None or record.image is None or (only is not None and row not in only):
            continue
        size = rows["width"][row] * rows["height"][row]
        if positions and (len(positions) == BATCH or pixels + size > BATCH_PIXELS):
            yield raw()
            positions, data, pixels = [], [], 0
        positions.append(row)
        data.append(record.image)
        pixels += size
    if positions:
        yield raw()


def _counted(meter: Meter, scored: Scored) -> Scored:
    for phase, seconds in scored.seconds.items():
        meter.add_time(phase, seconds)
    for reason, _ in scored.failures.values():
        meter.count(failure=reason)
    meter.count(len(scored.positions))
    return scored


def _write(
    writer: PartWriter,
    index: int,
    samples: pa.Table,
    results: list[Scored],
    scorers: list[Scorer],
    precision: dict[str, object] | None,
    side: int | None,
) -> None:
    """Write the part's scores and embeddings over all rows, null where a row has none, and the evidence.

    Where JPEGs may be decoded at a half or less, `side` says in the columns' metadata and the part's facts how far.
    """
    failures: dict[int, tuple[str, str]] = {}
    skipped: dict[int, str] = {}
    for result in results:
        failures.update(result.failures)
        skipped.update(result.skipped)
    count = samples.num_rows
    found = [failures.get(row) for row in range(count)]
    head = [
        samples.column("uid").combine_chunks(),
        pa.array([f and f[0] for f in found], SCORES_HEAD[1].type),
        pa.array([f and f[1][:500] for f in found], pa.string()),
        pa.array([skipped.get(row) for row in range(count)], SCORES_HEAD[3].type),
    ]
    positions = [p for result in results for p in result.positions]
    rows = scattered(count, positions)
    fields, arrays = [], []
    models = {scorer.name: scorer.model_id() for scorer in scorers}
    for scorer in scorers:
        tags = {"scorer": scorer.name, "version": scorer.version, "model": models[scorer.name]}
        if side is not None:
            tags["jpeg_side"] = str(side)
        batches = [result.columns[scorer.name] for result in results if result.positions]
        table = pa.Table.from_batches(batches, schema=scorer.fields)
        for score_field, column in zip(scorer.fields, table.columns, strict=True):
            fields.append(score_field.with_metadata({**(score_field.metadata or {}), **tags}))
            arrays.append(column.combine_chunks().take(rows))
    writer.add_table(part_name("scores", index), pa.Table.from_arrays([*head, *arrays], schema=scores_schema(fields)))
    write_embeddings(writer, index, head[0], results)
    if any(isinstance(scorer, EvidenceScorer) for scorer in scorers):
        writer.add_table(part_name("evidence", index), evidence_table(head[0].to_pylist(), results))
    counts = Counter(reason for reason, _ in failures.values())
    facts: dict[str, Any] = {"failures": dict(sorted(counts.items())), "models": models, "skipped": len(skipped)}
    if side is not None:
        facts["jpeg_side"] = side
    writer.commit(count, facts if precision is None else {**facts, "precision": precision})


def evidence_table(uids: list[str], results: list[Scored]) -> pa.Table:
    """Return the evidence of a part's rows in their order; `uids` are those of all rows."""
    found = {position: some for result in results for position, some in result.evidence.items()}
    rows = [(uids[position], scorer, one) for position in sorted(found) for scorer, one in found[position]]
    columns = {
        "uid": [uid for uid, _, _ in rows],
        "scorer": [scorer for _, scorer, _ in rows],
        "kind": [one.kind for _, _, one in rows],
        "text": [one.text for _, _, one in rows],
        "confidence": [one.confidence for _, _, one in rows],
        "box": [one.box for _, _, one in rows],
    }
    return pa.table({name: pa.array(columns[name], EVIDENCE.field(name).type) for name in columns}, schema=EVIDENCE)


def write_embeddings(writer: PartWriter, index: int, uids: pa.Array, results: list[Scored]) -> None:
    """Write the part's embeddings, if any: half precision, zeros where a row has none."""
    dimension = next((r.embeddings.image.shape[1] for r in results if r.embeddings is not None), None)
    if dimension is None:
        return
    arrays: list[pa.Array] = [uids]
    for kind in ("image", "text"):
        flat = np.zeros((len(uids), dimension), dtype=np.float16)
        for result in results:
            if result.embeddings is not None:
                flat[result.positions] = getattr(result.embeddings, kind)
        arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), dimension))
    table = pa.Table.from_arrays(arrays, schema=embeddings_schema(dimension))
    writer.add_table(part_name("embeddings", index), table)


def _add_thumbnails(archive: tarfile.TarFile, scored: Scored, seen: set[str]) -> None:
    for uid, data in scored.thumbnails:
        if uid not in seen:
            seen.add(uid)
            member = tarfile.TarInfo(f"{uid}.webp")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    scored.thumbnails = []


def _one_model_thread() -> None:
    """Keep torch to one thread in this worker thread (OpenMP's number belongs to the calling thread), and OpenCV.

    torch only where a loaded scorer uses it: importing it takes seconds.
    """
    import cv2

    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    cv2.setNumThreads(1)


def score_work(run: Run, engine: Engine) -> Score:
    """Return the work of scoring this run's parts; counts the corpus first. Raises `BadInput` before ingest."""
    if not run.parts("samples"):
        raise BadInput(f"{run.store.url}: nothing is ingested; run assay ingest first")
    return Score(run, tuple(make_source(run.recipe.input, run.store).shards()), statistics(run, engine).fingerprint)


def score(run: Run, engine: Engine) -> None:
    """Write all `scores` parts. Raises `TooManyFailures` where the recipe's limit is passed."""
    work = score_work(run, engine)
    rows = {i: run.marker("samples", i).rows for i in run.parts("samples")}
    pending = [i for i in rows if not finished(run.store, part_name("scores", i, ""), work.wanted(i))]
    done = sum(rows.values()) - sum(rows[i] for i in pending)
    with shown(run.store, "score", sum(rows.values()), done):
        run_parts(engine, "score", work, pending)
    failed = sum(_failed(run, artefact) for artefact in ("samples", "scores"))
    check_failures(failed, run.rows("samples"), run.recipe.limits.max_failures)


def _failed(run: Run, artefact: str) -> int:
    facts: list[dict[str, Any]] = [run.marker(artefact, i).facts["failures"] for i in run.parts(artefact)]
    return sum(sum(counts.values()) for counts in facts)
