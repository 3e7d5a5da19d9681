"""Signs of life: how the driver of a job learns that a worker on another machine has died.

Beam's Python job service does not notice a worker that is gone, and its job waits for ever. So a worker writes a small
file beside the run every few seconds, in a thread of its own, for as long as it has a part in hand. A slow model in a
live process goes on giving signs; a dead process does not. Runners that bring up lost work themselves (Flink, Spark,
Dataflow) need none.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from filters.errors import AssayError
from pipelines.progress import FOLDER, every, note_down
from pipelines.run.directory import Run
from pipelines.run.storage import Store

#: Seconds between two signs, and between two looks at them.
INTERVAL = 5.0

#: Looks in a row at one and the same sign after which its worker counts as dead. With the last sign's age, the
#: interval of looking and the grace of `workers.watched` the job ends within 60 s of the death.
LOOKS = 8

_SUFFIX = ".alive.json"


@runtime_checkable
class OfRun(Protocol):
    """Work on a run directory, beside which signs can be left."""

    @property
    def run_dir(self) -> Run:
        """The run."""
        ...


@contextmanager
def given(store: Store, stage: str, part: str) -> Iterator[None]:
    """Give signs of life for the block, as the worker that has `part` of `stage` in hand."""
    name = f"{FOLDER}/{stage}-{part}{_SUFFIX}"
    count = itertools.count()

    def sign() -> None:
        note_down(store, name, {"host": platform.node(), "process": os.getpid(), "part": part, "sign": next(count)})

    sign()
    try:
        with every(INTERVAL, sign):
            yield
    finally:
        store.delete(name)


class Signs:
    """What a driver sees of the workers of one stage. Forgets, when made, what an earlier job's dead workers left.

    What counts are looks, not seconds: while the driver sleeps or the store gives no answer, nobody is taken for dead.
    """

    def __init__(self, store: Store, stage: str, interval: float = INTERVAL) -> None:
        self.store = store
        self._prefix = f"{FOLDER}/{stage}-"
        self._interval = interval
        self._next = time.monotonic()
        self._seen: dict[str, tuple[bytes, int]] = {}
        for name in self._names():
            store.delete(name)

    def cause_of_death(self, crashes_only: bool = False) -> str | None:
        """Return who has given no new sign at so many looks, None where nobody is missed.

        `crashes_only` asks for workers known to have crashed: of another machine's nobody knows.
        """
        if crashes_only or time.monotonic() < self._next:
            return None
        try:
            now = {name: data for name in self._names() if (data := self.store.find(name)) is not None}
        except (AssayError, OSError):
            return None
        finally:
            self._next = time.monotonic() + self._interval
        self._seen = {name: (data, self._looks(name, data)) for name, data in now.items()}
        lost = [data for data, looks in self._seen.values() if looks >= LOOKS]
        return self._words(lost[0]) if lost else None

    def _names(self) -> list[str]:
        return [name for name in self.store.list(FOLDER) if name.startswith(self._prefix) and name.endswith(_SUFFIX)]

    def _looks(self, name: str, data: bytes) -> int:
        before, looks = self._seen.get(name, (b"", 0))
        return looks + 1 if before == data else 0

    def _words(self, data: bytes) -> str:
        sign = json.loads(data)
        silent = f"gives no sign of life for {LOOKS * self._interval:.0f} s (dead, stuck or cut off from the store)"
        return f"process {sign['process']} on {sign['host']!r} {silent} with part {sign['part']} in hand"
