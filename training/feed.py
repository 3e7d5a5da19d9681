"""Batches for the loop: opened at a cursor, and the gate asked again while they are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.config_data import Data
from training.data.batch import Batch
from training.data.loader import Batches, Caches
from training.data.order import read_cursor
from training.data.samples import ShardSet
from training.data.view import View
from training.gate import Gate, follow, removals
from training.together import on_first


class ShardFeed:
    """Batches of a dataset's shards, for one process of a training; its gate is asked by the first one.

    `shards`: the version of the dataset that was read last.
    """

    def __init__(
        self, shards: ShardSet, config: Data, gate: Gate, accelerator: Any, caches: Caches | None = None
    ) -> None:
        self.shards, self._config, self._gate = shards, config, gate
        self._accelerator, self._caches = accelerator, caches
        self._batches: Batches | None = None

    def open(self, cursor: dict[str, Any] | None) -> Iterator[Batch]:
        """Yield batches from the cursor on, without end. Raises what the loader raises."""
        folder, place = self._gate.folder, (self._accelerator.process_index, self._accelerator.num_processes)
        at = read_cursor(cursor, str(folder)) if cursor else None
        with Batches(self.shards, self._config, *place, at, folder, self._caches) as batches:
            batches.remove(removed(folder))
            self._batches = batches
            try:
                yield from batches
            finally:
                self.shards, self._batches = batches.agreed, None

    def cursor(self, batch: Batch) -> dict[str, Any]:
        """Return the loader's state after this batch."""
        return batch.cursor.state()

    def view(self) -> View:
        """Return the view that the newest batch names."""
        assert self._batches is not None
        return self._batches.view

    def recheck(self, step: int) -> int:
        """Ask the gate; return how many samples left. Raises `GateRefused` on all processes alike."""
        batches = self._batches
        if batches is None:
            return 0
        found = on_first(self._accelerator, lambda: self._gate.recheck(batches, step))
        if found is not None and not self._accelerator.is_main_process:
            follow(batches, found)
        return len(found.uids) if found is not None else 0


def removed(folder: Path) -> list[str]:
    """Return all samples that have left a training, in whichever stage; they never come back into it."""
    return [uid for record in removals(folder) for uid in record["removed"]]
