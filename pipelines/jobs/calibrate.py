"""Calibrate: what a similarity of this run says, measured against mismatched pairs of the same data."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pyarrow.compute as pc

from filters.calibration import Calibration, fit, mismatches
from filters.scorers.captions import caption_hash
from pipelines.run.directory import Run
from pipelines.run.parts import Marker, PartWriter, fingerprint, finished
from pipelines.run.storage import Store

VERSION = "1"

#: Pairs at most; the curve has two parameters, and its error falls with the root of their number.
PAIRS = 20_000

#: Mismatched captions a picture.
ROUNDS = 4

_NAME = "statistics/calibration"
_FILE = "statistics/calibration.json"


def calibrate(run: Run) -> Marker | None:
    """Fit the run's calibration and store it; None where the run has no similarity.

    Pairs are the samples with the smallest uids, which is a random choice that never changes.
    """
    if "similarity" not in run.recipe.scorers:
        return None
    parts = run.parts("scores")
    sources = [sorted(r.sha256 for r in run.marker("scores", i).files.values()) for i in parts]
    wanted = fingerprint("calibrate", VERSION, PAIRS, ROUNDS, sources)
    done = finished(run.store, _NAME, wanted)
    if done:
        return done
    matched, mismatched = _similarities(run, parts)
    if len(matched) == 0 or len(mismatched) == 0:
        return None
    found = fit(matched, mismatched)
    rounded = Calibration(round(found.slope, 6), round(found.offset, 6), round(found.auc, 6), *_counts(found))
    writer = PartWriter(run.store, _NAME, wanted)
    with run.store.create(_FILE) as path:
        path.write_text(json.dumps(asdict(rounded), indent=1))
        writer.add_file(_FILE, path)
    return writer.commit(len(matched), asdict(rounded))


def _counts(found: Calibration) -> tuple[int, int]:
    return found.matched, found.mismatched


def _similarities(run: Run, parts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return similarities of chosen samples with their own captions, and with other samples' captions."""
    limit = _largest_uid(run, parts)
    pictures: list[np.ndarray] = []
    texts: list[np.ndarray] = []
    captions: list[int] = []
    matched: list[np.ndarray] = []
    for index in parts:
        scores = run.table("scores", index, ["uid", "similarity"])
        if "similarity" not in scores.column_names:
            continue
        chosen = pc.and_(pc.is_valid(scores.column("similarity")), pc.less_equal(scores.column("uid"), limit))
        rows = np.flatnonzero(chosen.to_numpy())
        if len(rows) == 0:
            continue
        vectors = run.table("embeddings", index)
        for kind, into in (("image", pictures), ("text", texts)):
            column = vectors.column(kind).combine_chunks()
            into.append(column.flatten().to_numpy().reshape(len(column), -1)[rows].astype(np.float32))
        matched.append(scores.column("similarity").to_numpy()[rows])
        found = run.table("samples", index, ["caption"]).column("caption").to_pylist()
        captions += [caption_hash(found[row]) for row in rows]
    if len(captions) < 2:
        return np.empty(0), np.empty(0)
    image, text, key = np.concatenate(pictures), np.concatenate(texts), np.array(captions, dtype=np.uint64)
    others = []
    for partners in mismatches(len(key), ROUNDS):
        # a caption that says the same is no mismatch
        differ = key != key[partners]
        others.append(np.einsum("nd,nd->n", image[differ], text[partners[differ]]))
    return np.concatenate(matched), np.concatenate(others)


def _largest_uid(run: Run, parts: list[int]) -> str:
    """Return the uid up to which samples are chosen, so that about `PAIRS` are."""
    total = sum(run.marker("scores", i).rows for i in parts)
    share = min(1.0, PAIRS / max(1, total))
    return "f" * 32 if share == 1.0 else f"{int(share * 16**32):032x}"


def load_calibration(store: Store) -> Calibration | None:
    """Return the run's calibration, None where it has none."""
    if not store.exists(_FILE):
        return None
    return Calibration(**json.loads(store.read(_FILE)))
