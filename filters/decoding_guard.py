"""What stands between a part's pictures and their decoders: a watch on every picture, and a trial where one died.

A decoder runs in the job's own process, which costs nothing and cannot be undone: native code that crashes takes the
process with it, and what never ends cannot be stopped. So a stalled decoder ends the process too, with a line that
names the picture. The next attempt at the part is `careful`: each picture is first tried in a process of its own.
"""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from filters.decoding import Undecodable, decode
from filters.decoding_apart import Apart, Step
from filters.scoring import Picture

#: Seconds of real time after which a decoder counts as stalled. No verdict on the picture, just an end of waiting:
#: the careful attempt measures CPU time.
STALL_SECONDS = 120.0

_LOOK = 1.0
#: How many times as long native code may go on that lets no other thread run.
_LAST_RESORT = 10
_STANDARD_ERROR = 2


class Guard:
    """Guards the pictures of one part while the block runs; `what` names the part in words."""

    def __init__(self, what: str, careful: bool = False, seconds: float | None = None) -> None:
        self._what = what
        self._apart = Apart() if careful else None
        self._seconds = STALL_SECONDS if seconds is None else seconds
        #: What each thread decodes, and at which look it began.
        self._busy: dict[int, tuple[int, str]] = {}
        #: Looks rather than a clock: a job that is stopped and goes on later has not stalled.
        self._looks = 0
        self._armed: float | None = None
        self._ended = threading.Event()

    def __enter__(self) -> Guard:
        """Begin to watch."""
        threading.Thread(target=self._watch, name="assay-decoding-watch", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Watch no longer."""
        self._ended.set()
        faulthandler.cancel_dump_traceback_later()
        if self._apart is not None:
            self._apart.close()

    def decode(self, data: bytes, max_pixels: int, draft_side: int | None, name: str) -> Picture:
        """Decode under watch, as `filters.decoding.decode` does. Raises `Undecodable`, for a crash as well."""
        trouble = self._apart and self._apart.trouble(Step.PIXELS, data, max_pixels, draft_side)
        if trouble:
            raise trouble
        with self.watched(name):
            return decode(data, max_pixels, draft_side)

    def trouble(self, data: bytes | None, max_pixels: int, pixels: bool = False) -> Undecodable | None:
        """Return what reading header and rights of a picture (and `pixels`) does to a process; None unless careful."""
        if self._apart is None or not data:
            return None
        found = self._apart.trouble(Step.HEADER, data, max_pixels)
        return found or (self._apart.trouble(Step.PIXELS, data, max_pixels) if pixels else None)

    @contextmanager
    def watched(self, name: str) -> Iterator[None]:
        """End this process if the block takes longer than a decoder may; `name` tells the picture."""
        thread, now = threading.get_ident(), time.monotonic()
        self._busy[thread] = (self._looks, name)
        if self._armed is None or now - self._armed > self._seconds:
            # for native code that never lets another thread run, the watch included
            faulthandler.dump_traceback_later(_LAST_RESORT * self._seconds, exit=True, file=_STANDARD_ERROR)
            self._armed = now
        try:
            yield
        finally:
            del self._busy[thread]

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK):
            self._looks += 1
            for start, name in list(self._busy.values()):
                if (self._looks - start) * _LOOK > self._seconds:
                    self._give_up(name)
            if not self._busy:
                faulthandler.cancel_dump_traceback_later()
                self._armed = None

    def _give_up(self, name: str) -> None:
        words = f"{self._what}: picture {name!r} is not decoded after {self._seconds:g} s"
        advice = "run the same command again: it resumes, and tries each picture of this part in a process of its own"
        os.write(_STANDARD_ERROR, f"assay: {words}; {advice}\n".encode(errors="backslashreplace"))
        os._exit(2)  # no other way to end a thread in native code; locks and temporary files are made for it
