"""How a job fares: its stages, rates, where the time goes, failures by class."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from filters.reasons import BY_CODE
from pipelines.commands.status import current_stage
from pipelines.progress import FOLDER, read_meters, split_seconds
from pipelines.run.directory import Run

#: Stages with counters, in the order of the job, and the artefact whose parts are done when the stage is.
_STAGES = (
    ("ingest", "samples"),
    ("score", "scores"),
    ("groups", "groups"),
    ("decide", "ledger"),
    ("audit", "audit/parts"),
    ("balance", "shards"),
)

#: A job whose last news is older, in seconds, is not called running; counters are written twice a second, but one
#: large picture may take longer.
_SILENT = 30.0


@dataclass(frozen=True)
class StageRow:
    """One stage: parts that are done, samples that the last job counted, its rate and where its time went.

    `seconds` are per sample, by phase (read, decode, model, write); `rate` is samples a second of wall time.
    """

    stage: str
    parts: int
    samples: int
    rate: float | None
    seconds: dict[str, float]


@dataclass(frozen=True)
class Failure:
    """Samples that could not be read, by reason."""

    reason: str
    meaning: str
    count: int


@dataclass(frozen=True)
class Health:
    """How far a run is. `total` is what ingest has found so far; `silent_for` seconds since the last news."""

    stage: str
    running: bool
    silent_for: float | None
    total: int
    scored: int
    stages: list[StageRow]
    scorers: list[tuple[str, float]]
    failures: list[Failure]


def health(run: Run) -> Health:
    """Read the job's counters and the parts' markers; the ledger is not needed."""
    stage = current_stage(run)
    silent = _silent_for(run)
    rows = [_stage(run, name, artefact) for name, artefact in _STAGES]
    meter = read_meters(run.store, "score")
    scorers = [
        (name, value / meter.samples)
        for name, value in sorted(meter.seconds.items(), key=lambda item: -item[1])
        if meter.samples and name not in ("read", "decode", "write")
    ]
    totals, live = {}, Counter[str]()
    for artefact in ("samples", "scores"):
        markers = [run.marker(artefact, index) for index in run.parts(artefact)]
        totals[artefact] = sum(marker.rows for marker in markers)
        for marker in markers:
            live.update(marker.facts.get("failures", {}))
    if stage != "done":
        for name in ("ingest", "score"):
            # parts that are done have told theirs in the markers
            for reason, n in read_meters(run.store, name).failures.items():
                live[reason] = max(live[reason], n)
    return Health(
        stage,
        stage != "done" and silent is not None and silent < _SILENT,
        None if silent is None else round(silent, 1),
        totals["samples"],
        totals["scores"],
        rows,
        scorers,
        [Failure(code, BY_CODE[code].meaning, n) for code, n in sorted(live.items()) if code in BY_CODE and n],
    )


def _stage(run: Run, name: str, artefact: str) -> StageRow:
    meter = read_meters(run.store, name)
    folder = [entry for entry in run.store.list(artefact) if entry.endswith(".done.json")]
    rate = None if meter.rate is None else round(meter.rate, 1)
    return StageRow(name, len(folder), meter.samples, rate, split_seconds(meter))


def _silent_for(run: Run) -> float | None:
    """Return the seconds since the newest counter was written; None where there is none."""
    times = []
    for name in run.store.list(FOLDER):
        try:
            info = run.store.fs.info(run.store.path(name))
        except FileNotFoundError:  # a sign of life, gone since the folder was listed
            continue
        times.append(float(info.get("mtime", 0.0)))
    return max(0.0, time.time() - max(times)) if times else None
