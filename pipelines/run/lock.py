"""One job at a time on a run directory.

On a local disk the lock is the operating system's own (flock on `.lock`), so a killed job leaves none
behind. The file's text names the owner for the message. Object stores have no such lock: there the
part markers keep two jobs from harm, at the price of double work.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from filters.errors import BadInput
from pipelines.run.staged import settle
from pipelines.run.storage import Store

_NAME = ".lock"


@contextmanager
def locked(store: Store) -> Iterator[None]:
    """Hold the run's lock for the block, with what a killed job left put in order first.

    That is: temporary files are deleted, an interrupted retraction is finished. Raises `BadInput` naming the owner and
    the lock's age.
    """
    if not store.local:
        settle(store)
        yield
        return
    path = Path(store.root) / _NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(f"{store.url}: another job works here ({_owner(path)}); wait for it or stop it") from None
        stream.seek(0)
        died = bool(stream.read())  # who ends well leaves nothing
        _write(stream, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}))
        if died:
            store.sweep()
        settle(store)
        try:
            yield
        finally:
            _write(stream, "")


def _write(stream: IO[str], text: str) -> None:
    stream.seek(0)
    stream.truncate()
    stream.write(text)
    stream.flush()


def _owner(path: Path) -> str:
    try:
        body = json.loads(path.read_text())
        return f"process {body['pid']} on {body['host']}, for {time.time() - body['since']:.0f} s"
    except (OSError, ValueError, KeyError):
        return "owner unknown"
