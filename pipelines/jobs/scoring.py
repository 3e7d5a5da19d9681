"""Scoring one batch: decode, run the scorers, and with a cascade spare the costly ones what is dropped already.

A pure unit: bytes and captions in, columns out. The score job feeds it and writes what comes out.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from filters.decoding import Undecodable, decode
from filters.decoding_guard import Guard
from filters.registry import COSTLY, HEADS
from filters.rules import AnyRule, judge, primary_codes
from filters.scorers.heads import ClipHeadScorer
from filters.scorers.similarity import Embeddings, SimilarityScorer
from filters.scorers.thumbnail import DRAFT_SIDE, thumbnail
from filters.scoring import Batch, DraftScorer, Evidence, EvidenceScorer, Picture, Scorer

#: Costly scorers that take over what another one has computed for the same sample, so that they run after it.
AFTER_OTHERS = frozenset({"nudity", *HEADS})


@dataclass(frozen=True)
class Raw:
    """Records that will be decoded and scored together; lists and the rows of `samples` have the same length.

    `samples` holds the columns of the samples part that the cascade's rules read. `reserved` has the reason
    code of records whose rights holders reserve them (empty: none): no model sees those, and no thumbnail is made.
    """

    positions: list[int]
    uids: list[str]
    captions: list[str]
    data: list[bytes]
    samples: pa.Table
    reserved: list[str | None] = field(default_factory=list)


@dataclass
class Scored:
    """What came of one `Raw`: positions of the decoded rows, failures by position, columns by scorer.

    `skipped` has the reason by which the cascade spared a row its costly scorers, by position. `evidence` has
    scorer and evidence by position, for the rows that have some.
    """

    positions: list[int] = field(default_factory=list)
    failures: dict[int, tuple[str, str]] = field(default_factory=dict)
    skipped: dict[int, str] = field(default_factory=dict)
    columns: dict[str, pa.RecordBatch] = field(default_factory=dict)
    embeddings: Embeddings | None = None
    evidence: dict[int, list[tuple[str, Evidence]]] = field(default_factory=dict)
    thumbnails: list[tuple[str, bytes]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def spent(self, phase: str, start: float) -> float:
        """Add the seconds since `start` to a phase; return the time now."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - start
        return now


def drafts(scorers: Sequence[Scorer]) -> bool:
    """Tell whether all of a run's scorers can do with JPEGs decoded at a half or less. They need not be loaded."""
    return all(isinstance(scorer, DraftScorer) for scorer in scorers)


def draft_side(scorers: Sequence[Scorer]) -> int:
    """Return the pixels of the shorter side that the loaded scorers, and thumbnails, need; only where `drafts`.

    A run's costly scorers need as much as all of them, so that what is scored later comes from the same pixels.
    """
    return max([DRAFT_SIDE, *(scorer.draft_side() for scorer in scorers if isinstance(scorer, DraftScorer))])


def score_batch(
    scorers: Sequence[Scorer],
    raw: Raw,
    max_pixels: int,
    rules: Sequence[AnyRule] = (),
    thumbnails: bool = True,
    side: int | None = None,
    guard: Guard | None = None,
) -> Scored:
    """Decode and score the records of `raw`; a corrupt picture costs itself, a reserved one is shown to no model.

    `rules`: those of the cascade. Before each costly scorer they are judged on the columns that exist by then,
    and the scorer gets only what passes; the others' scores are null. Without rules every scorer gets all.
    `side`: the shorter side that JPEGs must keep (`draft_side`); None: all pixels. `guard` stands before the decoders.
    """
    scored = Scored()
    start = time.perf_counter()
    batch, rows = _decoded(raw, max_pixels, side, scored, guard)
    start = scored.spent("decode", start)
    if not rows:
        return scored
    table = raw.samples.take(rows)
    alive = np.ones(len(rows), dtype=bool)
    reserved = [raw.reserved[row] if raw.reserved else None for row in rows]
    scored.skipped |= {scored.positions[row]: code for row, code in enumerate(reserved) if code is not None}
    free = np.array([code is None for code in reserved], dtype=bool)
    for scorer in sorted(scorers, key=lambda found: (found.name in COSTLY, found.name in AFTER_OTHERS)):
        if scorer.name in COSTLY:
            alive = alive & free
        if rules and scorer.name in COSTLY:
            alive = _still_alive(rules, table, alive, scored)
        columns = _run(scorer, batch, alive, scored)
        scored.columns[scorer.name] = columns
        for name, column in zip(columns.schema.names, columns.columns, strict=True):
            table = table.append_column(name, column)
        start = scored.spent(scorer.name, start)
    if thumbnails:
        shown = [row for row in range(len(rows)) if free[row]]
        scored.thumbnails = [(batch.uids[row], thumbnail(batch.pictures[row])) for row in shown]
        scored.spent("write", start)
    return scored


def _decoded(
    raw: Raw, max_pixels: int, side: int | None, scored: Scored, guard: Guard | None
) -> tuple[Batch, list[int]]:
    rows: list[int] = []
    pictures: list[Picture] = []
    for i, data in enumerate(raw.data):
        try:
            found = (
                decode(data, max_pixels, side) if guard is None else guard.decode(data, max_pixels, side, raw.uids[i])
            )
            pictures.append(found)
            rows.append(i)
        except Undecodable as error:
            scored.failures[raw.positions[i]] = (error.reason.value, error.detail)
    scored.positions = [raw.positions[i] for i in rows]
    batch = Batch([raw.uids[i] for i in rows], [raw.captions[i] for i in rows], [raw.data[i] for i in rows], pictures)
    return batch, rows


def _still_alive(rules: Sequence[AnyRule], table: pa.Table, alive: np.ndarray, scored: Scored) -> np.ndarray:
    """Judge what can be judged by now; note the reason of each row that drops out."""
    masks = judge([rule for rule in rules if rule.column in table.column_names], table)
    passing: np.ndarray = alive & (masks == 0)
    codes = primary_codes(masks).cast(pa.string()).to_pylist()
    for row in np.flatnonzero(alive & ~passing):
        scored.skipped[scored.positions[row]] = codes[row]
    return passing


def _run(scorer: Scorer, batch: Batch, alive: np.ndarray, scored: Scored) -> pa.RecordBatch:
    """Score the living rows; null (and zero vectors) for the others."""
    rows = np.flatnonzero(alive)
    if len(rows) == 0:
        return pa.RecordBatch.from_arrays(
            [pa.nulls(len(batch), found.type) for found in scorer.fields], schema=scorer.fields
        )
    part = batch if alive.all() else _subset(batch, rows)
    if isinstance(scorer, SimilarityScorer):
        columns, both = scorer.score_with_embeddings(part)
        scored.embeddings = Embeddings(*(_spread(vectors, rows, len(batch)) for vectors in both))
    elif isinstance(scorer, ClipHeadScorer) and scored.embeddings is not None:
        columns = scorer.score_embeddings(part, scored.embeddings.image[rows])
    elif isinstance(scorer, EvidenceScorer):
        columns, evidence = scorer.score_with_evidence(part, _known(scored, rows))
        for row, found in zip(rows, evidence, strict=True):
            if found:
                scored.evidence.setdefault(scored.positions[row], []).extend((scorer.name, one) for one in found)
    else:
        columns = scorer.score(part)
    return columns if alive.all() else columns.take(scattered(len(batch), rows))


def _known(scored: Scored, rows: np.ndarray) -> dict[str, pa.Array]:
    """Return the columns found so far for living rows. Who lives now lived before: none of their scores is missing."""
    found = scored.columns.values()
    return {name: batch.column(name).take(pa.array(rows)) for batch in found for name in batch.schema.names}


def _subset(batch: Batch, rows: np.ndarray) -> Batch:
    return Batch(
        [batch.uids[i] for i in rows],
        [batch.captions[i] for i in rows],
        [batch.data[i] for i in rows],
        [batch.pictures[i] for i in rows],
    )


def _spread(vectors: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    whole = np.zeros((count, vectors.shape[1]), dtype=vectors.dtype)
    whole[rows] = vectors
    return whole


def scattered(count: int, positions: Sequence[int] | np.ndarray) -> pa.Array:
    """Return indices (count,) that put the i-th of some rows at `positions[i]`; null where there is none."""
    take = np.full(count, -1, dtype=np.int64)
    take[positions] = np.arange(len(positions))
    return pa.array(take, mask=take < 0)
