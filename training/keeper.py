"""Checkpoints of one stage: everything gathered from the processes, written by the first, read by all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filters.errors import BadInput
from pipelines.run.storage import sha256_file
from training.card import card
from training.checkpoints import STATE, checkpoints, prune, read_facts, stated_files, write_checkpoint
from training.contents import Contents
from training.data.batch import Batch
from training.data.exposure import Exposure, load_exposure
from training.data.view import View
from training.progress import Progress, read_progress
from training.together import on_first
from training.trainee import Trainee
from training.weights import read_state, save_state

PROGRESS, CARD = "progress.json", "README.md"


#: After a checkpoint is written or loaded: its path, facts and exposure log, to be recorded with the dataset.
Record = Callable[[Path, Mapping[str, Any], Exposure], None]

#: Makes a checkpoint's facts of the progress, the dataset versions trained on, and the last row of metrics.
Facts = Callable[[Progress, list[str], Mapping[str, float]], dict[str, Any]]


@dataclass(frozen=True)
class Rules:
    """How many checkpoints stay, what their facts are, and what happens with a new one.

    `first`: the checkpoint whose exposure log this stage's goes on from: that of the autoencoder trained before.
    """

    keep: int
    facts: Facts
    record: Record
    first: Path | None = None


class StageKeeper:
    """The checkpoints in one folder; `training`: the folder of the whole training, which holds its views."""

    def __init__(self, folder: Path, training: Path, contents: Contents, rules: Rules, accelerator: Any) -> None:
        self._folder, self._training, self._contents = folder, training, contents
        self._rules, self._accelerator = rules, accelerator
        self._exposure = Exposure()

    def seen(self, batch: Batch, view: View) -> None:
        """Count the samples of a batch that a step has been made with."""
        self._exposure.add(batch, view)

    def save(self, progress: Progress, trainees: Sequence[Trainee], metrics: dict[str, float]) -> None:
        """Write a checkpoint after `progress.step`, record it with the dataset, delete old ones."""
        weights = {trainee.player.name: trainee.shipped() for trainee in trainees}
        state = {trainee.player.name: trainee.state() for trainee in trainees}
        self._gather()
        on_first(self._accelerator, lambda: self._write(progress, weights, state, metrics))
        if self._accelerator.is_main_process:
            self._exposure.checkpointed()

    def _gather(self) -> None:
        """Bring the counts of all processes to the first one."""
        if self._accelerator.num_processes == 1:
            return
        from accelerate.utils import gather_object

        counts = gather_object([self._exposure.interval()])
        if self._accelerator.is_main_process:
            self._exposure.merge(counts[1:])
        else:
            self._exposure.forget()

    def _write(
        self, progress: Progress, weights: Mapping[str, Any], state: Mapping[str, Any], metrics: dict[str, float]
    ) -> None:
        datasets = self._exposure.contents
        facts = self._rules.facts(progress, datasets, metrics)

        def fill(folder: Path) -> None:
            self._contents.fill(folder, weights, datasets)
            self._exposure.save(folder, self._training)
            (folder / CARD).write_text(card(facts), encoding="utf-8")
            (folder / STATE).mkdir()
            (folder / STATE / PROGRESS).write_bytes(progress.dump())
            for name, body in state.items():
                save_state(folder / STATE / f"{name}.pt", body)

        path, body = write_checkpoint(self._folder, progress.step, fill, facts)
        self._record(path, body)
        prune(self._folder, self._rules.keep)

    def _record(self, path: Path, facts: Mapping[str, Any]) -> None:
        if self._exposure.views:
            self._rules.record(path, facts, self._exposure)

    def load(self, trainees: Sequence[Trainee]) -> Progress | None:
        """Set the trainees to the newest checkpoint; None where there is none. Raises `BadInput` for a damaged one.

        It is recorded with the dataset again: a training that was killed may have died just before that.
        """
        found = checkpoints(self._folder)
        if not found:
            self._exposure = self._read(self._rules.first)
            self._exposure.checkpointed()
            return None
        path = found[-1][1]
        verify_state(path)
        progress = read_progress((path / STATE / PROGRESS).read_bytes(), str(path))
        for trainee in trainees:
            trainee.restore(read_state(path / STATE / f"{trainee.player.name}.pt"))
        self._exposure = self._read(path)
        on_first(self._accelerator, lambda: self._record(path, read_facts(path)))
        self._exposure.checkpointed()
        return progress

    def _read(self, checkpoint: Path | None) -> Exposure:
        """Return the counts up to a checkpoint; they lie on the first process, the others begin empty."""
        if checkpoint is not None and self._accelerator.is_main_process:
            return load_exposure(checkpoint)
        return Exposure()


def verify_state(path: Path) -> None:
    """Check the files of a checkpoint against the hashes in its facts. Raises `BadInput`."""
    for name, digest in stated_files(path, read_facts(path)).items():
        if not (path / name).is_file() or sha256_file(path / name) != digest:
            raise BadInput(f"{path}: {name} is missing or changed; delete this checkpoint, the one before is used")
