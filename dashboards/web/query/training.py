"""Trainings below the root: checkpoints, curves from metrics.csv, what was seen, evaluations."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from dashboards.text import clean
from dashboards.web.catalogue import Opened
from dashboards.web.places import within
from dashboards.web.query.training_places import (
    RECORD,
    Folder,
    model_folders,
    picture_folders,
    small_json,
    steps_of,
)
from filters.errors import AssayError, BadInput
from pipelines.retraction.versions import version_records
from pipelines.run.manifest import read_manifest
from pipelines.run.trainings import Training, trainings
from training.data.exposure import FILE, load_exposure
from training.recorder import METRICS

#: A metrics.csv that grew within so many seconds belongs to a training that runs.
_LIVE = 90.0

#: Points of a curve, curves of a training, bytes of an exposure log that a page reads.
_POINTS, _CURVES, _LOG_BYTES = 240, 80, 256 << 20

_AUTOENCODER = "autoencoder"


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint. `recorded`: the run knows it; `dataset`: content hash of the version it was trained on last."""

    stage: str
    step: int
    steps: int
    checkpoint: str
    dataset: str
    seconds: float
    recorded: bool


@dataclass(frozen=True)
class ModelRow:
    """One training in the list. `of_run`: it was trained on a version of this run; None where nothing says so yet."""

    name: str
    title: str
    live: bool
    of_run: bool | None
    checkpoints: list[Checkpoint]


@dataclass(frozen=True)
class Curve:
    """One metric over steps, thinned out by means; `last` is the newest single value."""

    metric: str
    points: list[tuple[float, float]]
    last: float
    count: int


@dataclass(frozen=True)
class Seen:
    """How often a checkpoint has seen the samples of its data: counts of samples by times seen."""

    checkpoint: str
    samples: int
    never: int
    median: float
    most: int
    total: int
    times: list[tuple[str, int]]
    problem: str


@dataclass(frozen=True)
class TrainingFound:
    """One training in full. `levels`: loss by noise level, first window and last, from little to much noise.

    `problem` says why metrics.csv cannot be read; the rest is shown all the same.
    """

    row: ModelRow
    stages: list[str]
    stage: str
    step: int
    curves: list[Curve]
    levels: list[tuple[str, float, float]]
    seen: Seen | None
    pictures: list[tuple[str, str]]
    evaluations: list[str]
    problem: str


def run_trainings(opened: Opened) -> list[Training]:
    """Return the trainings that the run has on record, on any of its versions."""
    return trainings(opened.run.store, versions_of(opened))


def versions_of(opened: Opened) -> set[str]:
    """Return the content hashes of all versions of a run; none while it is not finished."""
    if not opened.run.finished():
        return set()
    before = {str(record["before"]) for record in version_records(opened.run.store)}
    return {*before, str(read_manifest(opened.run)["content_hash"])}


def models(opened: Opened, root: Path) -> list[tuple[Folder, ModelRow]]:
    """Return the trainings below `root`: those on this run first."""
    recorded, versions = run_trainings(opened), versions_of(opened)
    known = {record.checkpoint for record in recorded}
    found = [(folder, _row(folder, known, versions)) for folder in model_folders(root, recorded)]
    return sorted(found, key=lambda item: ({True: 0, None: 1, False: 2}[item[1].of_run], item[0].name))


def _row(folder: Folder, known: set[str], versions: set[str]) -> ModelRow:
    title, found, data = "", [], set()
    for stage, place in ((_AUTOENCODER, folder.path / _AUTOENCODER), ("", folder.path)):
        for step, _, facts in steps_of(place) if within(place, folder.path) else []:
            datasets = [str(item) for item in facts.get("datasets") or [] if isinstance(item, str)]
            data |= set(datasets)
            title = clean(str(facts.get("name") or ""), 80)
            found.append(
                Checkpoint(
                    clean(str(facts.get("stage") or stage), 40),
                    step,
                    _whole(facts.get("steps")),
                    clean(str(facts["checkpoint"]), 64),
                    clean(datasets[-1] if datasets else "", 64),
                    _number(facts.get("seconds")),
                    facts["checkpoint"] in known,
                )
            )
    metrics = folder.path / METRICS
    live = metrics.is_file() and time.time() - metrics.stat().st_mtime < _LIVE
    of_run = (bool(data & versions) or any(item.recorded for item in found)) if found else None
    return ModelRow(folder.name, title, live, of_run, found)


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and isfinite(value) else 0.0


def training(opened: Opened, root: Path, folder: Folder, row: ModelRow, stage: str = "") -> TrainingFound:
    """Return one training; `stage` chooses whose curves, empty for the newest."""
    problem, stages, chosen, curves = "", [], "", []
    try:
        stages = _stages(opened, folder)
        chosen = stage if stage in stages else (stages[-1] if stages else "")
        curves = _curves(opened, folder, chosen) if chosen else []
    except duckdb.Error:
        problem = f"{METRICS} cannot be read as a table"
    newest = _newest(folder, chosen)
    return TrainingFound(
        row,
        stages,
        chosen,
        int(max((curve.points[-1][0] for curve in curves), default=0)),
        sorted((curve for curve in curves if "/level" not in curve.metric), key=_order),
        [
            (curve.metric.rpartition("/level")[2], curve.points[0][1], curve.last)
            for curve in sorted(curves, key=lambda curve: curve.metric)
            if "/loss/level" in curve.metric
        ],
        None if newest is None else _seen(newest, root),
        _pictures(root, {item.checkpoint for item in row.checkpoints}),
        evaluation_names(folder),
        problem,
    )


def _order(curve: Curve) -> tuple[bool, bool, str]:
    """Return where a curve stands: the loss first, metrics of one stage before those of all."""
    return not curve.metric.endswith("/loss"), "/" not in curve.metric, curve.metric


_CSV = (
    "read_csv(?, auto_detect=false, header=true, delim=',', quote='\"', escape='\"', ignore_errors=true, "
    "strict_mode=false, "
    "columns={'stage': 'VARCHAR', 'step': 'BIGINT', 'metric': 'VARCHAR', 'value': 'DOUBLE'})"
)


def _metrics(folder: Folder) -> str | None:
    path = folder.path / METRICS
    return str(path) if path.is_file() and within(path, folder.path) and path.stat().st_size else None


def _stages(opened: Opened, folder: Folder) -> list[str]:
    """Return the stages in the order in which the file has them."""
    path = _metrics(folder)
    if path is None:
        return []
    rows = opened.reader.rows(
        f"SELECT stage FROM (SELECT stage, row_number() OVER () AS n FROM {_CSV}) WHERE stage IS NOT NULL "
        "GROUP BY stage ORDER BY min(n) LIMIT 12",
        [path],
    )
    return [str(stage) for (stage,) in rows]


def _curves(opened: Opened, folder: Folder, stage: str) -> list[Curve]:
    """Return the metrics of a stage, each as at most `_POINTS` means; a file of any size takes one pass."""
    path = _metrics(folder)
    rows = opened.reader.rows(
        f"WITH all_rows AS (SELECT step, metric, value FROM {_CSV} "
        "WHERE stage = ? AND isfinite(value) AND step >= 0), "
        "wide AS (SELECT greatest(1, (max(step) + ?) // ?) AS w FROM all_rows) "
        "SELECT metric, max(step), avg(value), arg_max(value, step), count(*) FROM all_rows, wide "
        "GROUP BY metric, step // w ORDER BY metric, 2",
        [path, stage, _POINTS, _POINTS],
    )
    found: dict[str, list[tuple[Any, ...]]] = {}
    for metric, *rest in rows:
        if metric in found or len(found) < _CURVES:
            found.setdefault(metric, []).append(tuple(rest))
    return [
        Curve(
            clean(metric, 120),
            [(float(step), float(mean)) for step, mean, _, _ in points],
            float(points[-1][2]),
            sum(int(count) for *_, count in points),
        )
        for metric, points in found.items()
    ]


def _newest(folder: Folder, stage: str) -> tuple[Path, dict[str, Any]] | None:
    place = folder.path / _AUTOENCODER if stage == _AUTOENCODER else folder.path
    found = steps_of(place) if within(place, folder.path) else []
    return (found[-1][1], found[-1][2]) if found else None


def _seen(newest: tuple[Path, dict[str, Any]], root: Path) -> Seen:
    path, facts = newest
    name = clean(str(facts["checkpoint"]), 64)
    try:
        files = [path / FILE, *sorted((path / "views").glob("*.parquet"))]
        if not all(within(file, root) for file in files):
            raise BadInput("a link leads out of the folder that is served")
        if sum(file.stat().st_size for file in files if file.is_file()) > _LOG_BYTES:
            raise BadInput("the log is too large for a page; assay lineage reads it")
        log = load_exposure(path)
    except (AssayError, OSError) as error:
        return Seen(name, 0, 0, 0.0, 0, 0, [], clean(str(error).replace(str(root), "RUNS"), 200))
    counts = _by_sample(log.total, {key: view.words for key, view in log.views.items()})
    if not len(counts):
        return Seen(name, 0, 0, 0.0, 0, 0, [], "the log counts no sample")
    return Seen(
        name,
        len(counts),
        int((counts == 0).sum()),
        float(np.median(counts)),
        int(counts.max()),
        int(counts.sum()),
        _times(counts),
        "",
    )


def _by_sample(total: dict[str, np.ndarray], words: dict[str, np.ndarray]) -> np.ndarray:
    """Return how often each sample was seen (n,); a sample that stands in several views counts once."""
    if len(total) == 1:
        return next(iter(total.values())).astype(np.int64)
    names = sorted(total)
    if not names:
        return np.empty(0, np.int64)
    _, which = np.unique(np.concatenate([words[name] for name in names]), axis=0, return_inverse=True)
    return np.bincount(which.ravel(), np.concatenate([total[name] for name in names])).astype(np.int64)


def _times(counts: np.ndarray, most: int = 12) -> list[tuple[str, int]]:
    """Return a histogram of whole numbers in at most `most` ranges of equal width."""
    top = int(counts.max())
    width = max(1, -(-(top + 1) // most))
    bins = np.bincount(counts // width)
    names = [f"{at * width}" if width == 1 else f"{at * width}–{at * width + width - 1}" for at in range(len(bins))]
    return list(zip(names, bins.tolist(), strict=True))


def _pictures(root: Path, known: set[str]) -> list[tuple[str, str]]:
    """Return the folders of pictures that a checkpoint of this training made, with its identity."""
    found = []
    for folder in picture_folders(root):
        body = small_json(folder.path / RECORD, root) or {}
        if str(body.get("checkpoint")) in known:
            found.append((folder.name, str(body["checkpoint"])))
    return found


def evaluation_names(folder: Folder) -> list[str]:
    """Return the names of a training's evaluations, the newest step last."""
    base = folder.path / "evaluations"
    if not base.is_dir() or not within(base, folder.path):
        return []
    return sorted(
        place.name for place in base.iterdir() if place.name.isprintable() and (place / "evaluation.json").is_file()
    )[-40:]
