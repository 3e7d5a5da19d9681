"""Batches for the loop: opened at a cursor, and the gate asked again while they are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from training.config_data import Data
from training.data.batch import Batch
from training.data.loader import Batches, Caches
from training.data.order import read_cursor
from training.data.samples import ShardSet
from training.data.view import View
from training.gate import Gate, follow, removed
from training.together import on_first


class ShardFeed:
    """Batches of a dataset's shards, for one process of a training; its gate is asked by the first one."""

    def __init__(
        self, shards: ShardSet, config: Data, gate: Gate, accelerator: Any, caches: Caches | None = None
    ) -> None:
        self._shards, self._config, self._gate = shards, config, gate
        self._accelerator, self._caches = accelerator, caches
        self._batches: Batches | None = None
        self._filled = shards.content

    @property
    def shards(self) -> ShardSet:
        """Return the version of the dataset that all processes go on with."""
        return self._batches.agreed if self._batches is not None else self._shards

    def open(self, cursor: dict[str, Any] | None) -> Iterator[Batch]:
        """Yield batches from the cursor on, without end. Raises what the loader raises."""
        folder, place = self._gate.folder, (self._accelerator.process_index, self._accelerator.num_processes)
        at = read_cursor(cursor, str(folder)) if cursor else None
        with Batches(self._shards, self._config, *place, at, folder, self._caches) as batches:
            batches.remove(removed(folder))
            self._batches = batches
            try:
                yield from batches
            finally:
                self._shards, self._batches = batches.agreed, None

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
        if found is not None:
            self._fill(batches.agreed)
        return len(found.uids) if found is not None else 0

    def _fill(self, shards: ShardSet) -> None:
        """Have cached what a new version lets in, before the epoch begins that brings it."""
        content = on_first(self._accelerator, lambda: shards.content)
        if content != self._filled and self._caches is not None and self._caches.fill is not None:
            self._caches.fill(shards)
        self._filled = content
