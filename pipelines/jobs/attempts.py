"""Whether an earlier attempt at a part ended its process in the middle, as a decoder's crash does.

A note stands beside the run while a part is worked on. Errors that Python sees take it away again, so that it stays
behind only where the process was ended from outside or by native code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from filters.decoding_guard import Guard
from filters.errors import BadInput
from pipelines.run.storage import Store

FOLDER = ".trying"


@contextmanager
def guarded(store: Store, stage: str, index: int) -> Iterator[Guard]:
    """Give the guard for the pictures of one part: a careful one where an earlier attempt at it died."""
    note = f"{FOLDER}/{stage}-{index:05d}"
    what = f"{stage} part {index}"
    died = store.exists(note)
    if died:
        words = "its process was ended in the middle of it; each picture is tried in a process of its own first"
        print(f"{what}: {words}", file=sys.stderr)
    else:
        store.write(note, b"")
    try:
        with Guard(what, careful=died) as guard:
            yield guard
    finally:
        # a note that stays costs time, never a result
        with suppress(OSError, BadInput):
            store.delete(note)
