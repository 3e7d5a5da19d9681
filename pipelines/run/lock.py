"""One job at a time on a run directory.

On a local disk the lock is the operating system's own (flock on `.lock`), so a killed job leaves none
behind. The file's text names the owner for the message. Object stores have no such lock: there the
part markers keep two jobs from harm, at the price of double work, and a change of many files that is not committed
yet is left alone (`pipelines.run.staged`).
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from filters.errors import BadInput
from pipelines.run.staged import committed, settle
from pipelines.run.storage import Store

_NAME = ".lock"

#: Errors of a path at which no folder can be. All others (no space, no permission) are of the disk and told as such.
_NO_PLACE = {
    *(errno.ENOTDIR, errno.ENOENT, errno.EEXIST, errno.EISDIR, errno.ELOOP),
    *(errno.ENAMETOOLONG, errno.EINVAL, errno.ENXIO, errno.EOPNOTSUPP),
}


@contextmanager
def locked(store: Store) -> Iterator[None]:
    """Hold the run's lock for the block, with what a killed job left put in order first.

    That is: temporary files are deleted, an interrupted retraction is finished. Raises `BadInput` naming the owner and
    the lock's age, or a path at which no folder can be.
    """
    if not store.local:
        settle(store)  # others may be at work: it touches nothing of theirs
        yield
        return
    path = Path(store.root) / _NAME
    with _opened(store, path) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy(store) from None
        except OSError as error:
            raise BadInput(
                f"{store.url}: this file system cannot lock a file ({error.strerror}); mount it with locks "
                "(Lustre: -o flock), or name another folder"
            ) from None
        died = bool(os.fstat(stream.fileno()).st_size)  # who ends well leaves nothing
        _write(stream, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}))
        if died:
            store.sweep()
        settle(store)
        try:
            yield
        finally:
            _write(stream, "")


@contextmanager
def held_still(store: Store) -> Iterator[None]:
    """Keep jobs that change a run away for the block; several may read it so at once.

    Where there is no such lock (an object store, a file system without locks, a folder that may not be written and
    has no lock file) the block runs all the same: whoever must know looks whether the run has changed. Raises
    `BadInput` where a job is at work there, or a killed one's change is not in place yet.
    """
    with ExitStack() as stack:
        if store.local:
            with suppress(OSError):
                # no write to the file: a run that is read may be another's. No link and no pipe, as below
                flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                number = os.open(Path(store.root) / _NAME, flags, 0o666)
                stack.callback(os.close, number)
                try:
                    fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise _busy(store) from None
        if committed(store):
            raise BadInput(f"{store.url}: another job changes it at this moment; run the same command again")
        yield


def _busy(store: Store) -> BadInput:
    owner = _owner(Path(store.root) / _NAME)
    return BadInput(f"{store.url}: another job works here ({owner}); wait for it or stop it")


def _opened(store: Store, path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # no link, no pipe: the file is read and emptied, and a run may come from strangers
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        if not stat.S_ISREG(os.fstat(number).st_mode):
            os.close(number)
            raise BadInput(f"{path}: is no plain file; remove it, or use another path")
        return os.fdopen(number, "r+")
    except OSError as error:
        if error.errno not in _NO_PLACE:
            raise
        raise BadInput(f"{store.url}: cannot be a run's folder ({error.strerror}); use another path") from None


def _write(stream: IO[str], text: str) -> None:
    stream.seek(0)
    stream.truncate()
    stream.write(text)
    stream.flush()


def _owner(path: Path) -> str:
    try:
        with path.open() as stream:
            body = json.loads(stream.read(1000))
        host = "".join(character for character in str(body["host"]) if character.isprintable())
        # a clock that was set back since makes no negative age
        return f"process {int(body['pid'])} on {host}, for {max(0.0, time.time() - body['since']):.0f} s"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "owner unknown"
