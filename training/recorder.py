"""Where metrics go: metrics.csv always, TensorBoard where it is installed, Weights & Biases where it is asked for."""

from __future__ import annotations

import csv
import importlib.util
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filters.errors import BadInput
from pipelines.run.storage import Store
from training.config_loop import Logs

METRICS = "metrics.csv"
_HEAD = ["stage", "step", "metric", "value"]


class Recorder:
    """Writes the metrics of one stage; one row a metric, so that new ones need no new column.

    A resumed or rolled-back training takes back the rows behind its checkpoint, so that the file reads as if it had
    never been interrupted. Only the main process has one.
    """

    def __init__(self, folder: Path, stage: str, logs: Logs, name: str) -> None:
        require_writers(logs)
        self._store, self._stage = Store(str(folder)), stage
        self._events = folder / "tensorboard" / stage
        self._board: Any = _board(self._events, None) if logs.tensorboard else None
        self._wandb: Any = _wandb(logs.wandb, folder, f"{name} {stage}") if logs.wandb else None
        self._path = folder / METRICS

    def rewind(self, step: int) -> None:
        """Take back this stage's rows behind `step`, and a last line that was cut off."""
        rows = [row for row in read_metrics(self._path) if row[0] != self._stage or int(row[1]) <= step]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([_HEAD, *rows])
        self._store.write(METRICS, text.getvalue().encode())
        if self._board is not None:  # its files only grow: a new one tells readers what of the old ones is void
            self._board.close()
            self._board = _board(self._events, step + 1)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write one window's numbers."""
        with self._path.open("a", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerows([self._stage, step, name, repr(float(value))] for name, value in values.items())
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()
        if self._wandb is not None:
            self._wandb.log({f"{self._stage}/{name}": value for name, value in values.items()}, step=step)

    def histogram(self, step: int, name: str, values: Sequence[float]) -> None:
        """Write a distribution to TensorBoard, and its quartiles to the CSV; what is no finite number is left out."""
        ordered = sorted(value for value in values if math.isfinite(value))
        if not ordered:
            return
        marks = {f"{name}/q{part}": ordered[(len(ordered) - 1) * part // 100] for part in (0, 25, 50, 75, 100)}
        with self._path.open("a", encoding="utf-8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows(
                [self._stage, step, mark, repr(float(value))] for mark, value in marks.items()
            )
        if self._board is not None:
            import torch

            self._board.add_histogram(name, torch.tensor(ordered), step)

    def close(self) -> None:
        """Finish the optional writers."""
        if self._board is not None:
            self._board.close()
        if self._wandb is not None:
            self._wandb.finish()


def read_metrics(path: Path) -> list[list[str]]:
    """Return the whole rows (stage, step, metric, value) of a metrics.csv without its head; [] where it is absent."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    whole = text[: text.rfind("\n") + 1]
    rows = list(csv.reader(io.StringIO(whole)))[1:]
    return [row for row in rows if len(row) == len(_HEAD) and row[1].isdigit()]


def _board(folder: Path, purge: int | None) -> Any:
    """Return a writer of TensorBoard files, behind whose first line steps from `purge` on are void."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=purge)


def require_writers(logs: Logs) -> None:
    """Raise `BadInput` where the configuration asks for a writer whose package is not installed."""
    if logs.wandb and importlib.util.find_spec("wandb") is None:
        raise BadInput("logs.wandb: the package wandb is not installed; install it, or leave logs.wandb empty")


def _wandb(project: str, folder: Path, name: str) -> Any:
    import wandb

    return wandb.init(project=project, name=name, dir=str(folder), resume="allow")
