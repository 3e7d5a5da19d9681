"""The run's lock for the short writes of a training, which wait for other jobs instead of failing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from filters.errors import BadInput
from pipelines.run.lock import locked
from pipelines.run.storage import Store

#: Seconds for which another job may hold the lock; a retraction of many shards takes minutes.
PATIENCE_S = 900.0


@contextmanager
def soon_locked(store: Store, seconds: float = PATIENCE_S) -> Iterator[None]:
    """Hold the run's lock for the block. Raises `BadInput` where another job has it for longer than `seconds`."""
    until = time.monotonic() + seconds
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(store))
                break
            except BadInput:
                if time.monotonic() > until:
                    raise
            time.sleep(0.5)
        yield
