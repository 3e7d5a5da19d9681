"""What the report tells of a run's later life: receipts, exposure, trainings, generated pictures; and its job's rates.

The same queries as the dashboard's pages. They read folders of this machine beside the run, so a run in a store is
told of by what lies in the run alone. Nothing here depends on the clock: the same files give the same bytes.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from dashboards.web.catalogue import Opened, Reader
from dashboards.web.columns import Columns
from dashboards.web.indexing import parts_of
from dashboards.web.places import Place, check_links
from dashboards.web.query.generated import (
    PictureFolder,
    Refused,
    Verdict,
    folders,
    picture_bytes,
    picture_page,
    refusals,
    thumbnail_of,
    trust_anchors,
    verify,
)
from dashboards.web.query.health import Health, health
from dashboards.web.query.rights_took import CheckpointExposure, Receipt, checkpoint_exposures, receipts
from dashboards.web.query.training import Curve, ModelRow, TrainingFound, models, run_trainings, training
from dashboards.web.query.training_evaluation import FigureRow, evaluation_figures
from dashboards.web.query.training_places import Folder
from filters.errors import AssayError
from pipelines.run.directory import Run

#: Trainings and folders of pictures that a page can bear, curves of a training, pictures of a folder, rows of a table.
TRAININGS, FOLDERS, CURVES, PICTURES, ROWS = 4, 4, 6, 12, 40

#: Bytes of all thumbnails of generated pictures together (before base64).
_BYTES = 600_000

_MEMORY = "256MB"


@dataclass(frozen=True)
class Trained:
    """One training on a version of this run: its newest stage, and its newest evaluation (or why not)."""

    found: TrainingFound
    curves: list[Curve]
    evaluation: str
    figures: list[FigureRow]
    problem: str


@dataclass(frozen=True)
class Made:
    """One generated picture: a small one as a data URI (empty where there is no room), and what was found of it."""

    name: str
    thumbnail: str
    verdict: Verdict


@dataclass(frozen=True)
class MadeFolder:
    """A folder of pictures that a checkpoint of this run made; the first of them, and what was refused."""

    folder: PictureFolder
    total: int
    pictures: list[Made]
    refused: list[Refused]


@dataclass(frozen=True)
class Later:
    """All of it. `problem` says why only the job's rates are told; `trusted`: anchors for credentials are set."""

    health: Health
    problem: str = ""
    receipts: Sequence[Receipt] = ()
    exposures: Sequence[CheckpointExposure] = ()
    trainings: Sequence[Trained] = ()
    more_trainings: int = 0
    folders: Sequence[MadeFolder] = ()
    more_folders: int = 0
    trusted: bool = False


def later_facts(run: Run) -> Later:
    """Return a run's later life; a record that is broken makes it a sentence, not a report that cannot be written."""
    rates = health(run)
    if not run.store.local:
        return Later(rates, "The run lies in a store: what is made from it stands in no folder beside it.")
    path = Path(run.store.root).resolve()
    place = Place(path.name or "run", path)
    try:
        check_links(place, path.parent)
        with _opened(run, place) as opened:
            return _found(opened, path.parent, rates)
    except (AssayError, OSError, duckdb.Error) as error:
        words = " ".join(str(error).split()).replace(str(path), place.name).replace(str(path.parent), "RUNS")
        return Later(rates, f"This could not be read: {words[:300]}")


def _found(opened: Opened, root: Path, rates: Health) -> Later:
    known = {item.checkpoint for item in run_trainings(opened)}
    mine = [(folder, row) for folder, row in models(opened, root) if row.of_run]
    known |= {item.checkpoint for _, row in mine for item in row.checkpoints}
    made = [(folder, row) for folder, row in folders(opened, root, known) if row.of_run] if known else []
    return Later(
        rates,
        "",
        receipts(opened)[:ROWS],
        checkpoint_exposures(opened)[:ROWS],
        [_trained(opened, root, folder, row) for folder, row in mine[:TRAININGS]],
        max(0, len(mine) - TRAININGS),
        _pictures(opened, made[:FOLDERS]),
        max(0, len(made) - FOLDERS),
        bool(trust_anchors()),
    )


def _trained(opened: Opened, root: Path, folder: Folder, row: ModelRow) -> Trained:
    found = training(opened, root, folder, row)
    # two or three values make no curve; the loss is shown whatever there is of it
    curves = [curve for curve in found.curves if len(curve.points) > 3 or curve.metric.endswith("/loss")][:CURVES]
    if not found.evaluations:
        return Trained(found, curves, "", [], "")
    figures, problem = evaluation_figures(folder, found.evaluations[-1])
    return Trained(found, curves, found.evaluations[-1], figures[:ROWS], problem)


def _pictures(opened: Opened, made: list[tuple[Folder, PictureFolder]]) -> list[MadeFolder]:
    anchors, shown, room = trust_anchors(), [], _BYTES
    for folder, row in made:
        page, pictures = picture_page(folder), []
        for name in page.names[:PICTURES]:
            data = picture_bytes(folder, name)
            if data is None:
                continue
            small = thumbnail_of(data) or b""
            room -= len(small)
            uri = f"data:image/webp;base64,{b64encode(small).decode()}" if small and room > 0 else ""
            pictures.append(Made(name, uri, verify(opened, folder, name, data, anchors)[0]))
        shown.append(MadeFolder(row, page.total, pictures, refusals(folder)))
    return shown


@contextmanager
def _opened(run: Run, place: Place) -> Iterator[Opened]:
    """Yield the run as the pages' queries take it, without an index: those that are asked here read files alone."""
    with duckdb.connect(":memory:", config={"memory_limit": _MEMORY, "threads": 1}) as connection:
        connection.execute("SET autoinstall_known_extensions=false")
        connection.execute("SET autoload_known_extensions=false")
        yield Opened(place.name, place, run, Columns((), ()), tuple(parts_of(run)), Reader(connection))
