"""A file system that is asked again where a call, or a read in mid-stream, fails for no lasting reason."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import http.client
import io
import sys
import time
from collections.abc import Callable
from typing import IO, Any

from filters.errors import AssayError, first_line

#: Seconds before the second, third and fourth try. A store that fails one call in ten then fails one in 10,000.
PAUSES = (0.1, 0.5, 2.0)

#: Answers, not failures: asking again changes nothing.
_ANSWERS = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
_LASTING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
#: Answers too: the name, the offset or the kind of file is impossible.
_LASTING |= {errno.EINVAL, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.ENODEV, errno.EOVERFLOW}

#: What a run calls; each may be done twice with the result of once.
_CALLS = {"cat_file", "copy", "find", "info", "ls", "makedirs", "put_file", "rm", "rm_file"}

#: Failures that are no OSError, of libraries that may not be there.
_FOREIGN = (("botocore.exceptions", "BotoCoreError"), ("aiohttp", "ClientError"))

#: Bytes read at a time; the stores' own streams read ahead by more.
_BUFFER = 1 << 16


class StoreFailed(AssayError):
    """A store that gives no answer however often it is asked."""


class StoreRefused(StoreFailed):
    """A store that answers that this is not allowed, as where keys are wrong or have run out."""


def protocols_of(fs: Any) -> set[str]:
    """Return fsspec's names of a file system, e.g. `{"s3", "s3a"}`."""
    return {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)


class Steady:
    """The file system `fs` with each call of a run, and each read, tried up to four times; all else is its own.

    What goes on failing is `StoreFailed`, and a refusal `StoreRefused`; on a local disk that stays `PermissionError`,
    for there it is mostly about one file.
    """

    def __init__(self, fs: Any) -> None:
        self._fs = fs
        self._remote = not protocols_of(fs) & {"file", "local"}

    def __getattr__(self, name: str) -> Any:
        """Return the file system's attribute, a call of a run made steady."""
        found = getattr(self._fs, name)
        return functools.partial(self._steadily, found) if name in _CALLS else found

    def exists(self, path: str) -> bool:
        """Tell whether a file or folder is there. fsspec's own answer to a failure would be that it is not."""
        try:
            self._steadily(self._fs.info, path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def open(self, path: str, mode: str = "rb", **settings: Any) -> IO[bytes]:
        """Open a file; one for reading outlives its connection: a read that fails is done again on a new one."""
        again = functools.partial(self._steadily, self._fs.open, path, mode, **settings)
        if mode != "rb":
            stream: IO[bytes] = again()
            return stream
        return io.BufferedReader(_Reopening(path, again, functools.partial(self._again, path)), _BUFFER)

    def head(self, path: str, limit: int) -> bytes:
        """Return a file's first `limit` bytes, or all of a shorter one."""

        def read() -> bytes:
            with self._fs.open(path, "rb") as stream:
                data: bytes = stream.read(limit)
            return data

        if not self._remote:  # the stream that goes on where it failed costs more than a small file on a disk
            data: bytes = self._again(path, read)
            return data
        with self.open(path) as stream:
            return stream.read(limit)

    def _steadily(self, call: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
        place = next((str(found) for found in arguments if isinstance(found, str)), "the store")
        return self._again(place, functools.partial(call, *arguments, **settings))

    def _again(self, place: str, call: Callable[[], Any]) -> Any:
        """Return what `call` returns. Raises its answers as they are, and `StoreFailed` where it goes on failing."""
        kind = "store" if self._remote else "disk"
        for pause in (*PAUSES, None):
            try:
                return _told(call)
            except _ANSWERS as error:
                if self._remote and isinstance(error, PermissionError):
                    words = f"{place}: the store refuses this ({first_line(error)}); check keys and permissions"
                    raise StoreRefused(f"{words}, then run the same command again, it resumes") from error
                raise
            except _failures() as error:
                if getattr(error, "errno", None) in _LASTING:
                    raise
                if pause is None:
                    words = f"{place}: the {kind} fails ({first_line(error)}), {len(PAUSES) + 1} times in a row"
                    raise StoreFailed(f"{words}; what is done stays done: run the same command again") from error
                time.sleep(pause)
        raise AssertionError("unreachable: the last try returns or raises")


class _Reopening(io.RawIOBase):
    """A stream for reading: where a read fails, it is opened anew and goes on from the same byte."""

    def __init__(self, place: str, opened: Callable[[], IO[bytes]], again: Callable[[Callable[[], Any]], Any]) -> None:
        super().__init__()
        self._place = place
        self._opened = opened
        self._again = again
        self._at = 0
        self._stream: IO[bytes] | None = opened()
        self._version = _version(self._stream)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at}.get(whence)
        place = (self._again(self._end) if start is None else start) + offset
        if place < 0:
            raise ValueError(f"cannot seek to byte {place}")
        self._at = place
        return place

    def readinto(self, buffer: Any) -> int:
        data: bytes = self._again(functools.partial(self._read, len(buffer)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def readall(self) -> bytes:
        data: bytes = self._again(functools.partial(self._read, -1))
        self._at += len(data)
        return data

    def close(self) -> None:
        self._drop()
        super().close()

    def _read(self, size: int) -> bytes:
        with self._dropped_on_failure():
            stream = self._current()
            _move(stream, self._at)
            data = stream.read(size)
            end, length = self._at + len(data), getattr(stream, "size", None)
            if size and (size < 0 or not data) and isinstance(length, int) and end < length:
                raise OSError(errno.EIO, f"the answer ends at byte {end} of {length}")
            return data

    def _end(self) -> int:
        with self._dropped_on_failure():
            return self._current().seek(0, io.SEEK_END)

    def _current(self) -> IO[bytes]:
        if self._stream is None:
            self._stream = self._opened()
            if _version(self._stream) != self._version:
                raise StoreFailed(f"{self._place}: replaced while it was read; run the same command again")
        return self._stream

    @contextlib.contextmanager
    def _dropped_on_failure(self) -> Any:
        try:
            yield
        except _failures():
            self._drop()
            raise

    def _drop(self) -> None:
        stream, self._stream = getattr(self, "_stream", None), None
        if stream is not None:
            with contextlib.suppress(*_failures()):
                stream.close()


def _move(stream: IO[bytes], place: int) -> None:
    """Go to byte `place`, by reading where the stream cannot seek."""
    at = stream.tell()
    if at == place:
        return
    try:
        stream.seek(place)
    except ValueError:  # the stream of a server that knows no ranges
        if at > place:
            raise
        while at < place and (skipped := stream.read(min(place - at, _BUFFER))):
            at += len(skipped)


def _version(stream: IO[bytes]) -> list[object]:
    """Return what tells that the file was replaced, as far as the store has said it."""
    details = getattr(stream, "details", None)
    known = details if isinstance(details, dict) else {}
    return [known.get(name) for name in ("ETag", "etag", "mtime", "LastModified", "size")]


def _told(call: Callable[[], Any]) -> Any:
    """Return what `call` returns. fsspec says of every failure of a web server that the file is not there: undone."""
    try:
        return call()
    except FileNotFoundError as error:
        cause = error.__cause__
        status = getattr(cause, "status", None)
        if isinstance(cause, _foreign()) and (status is None or status >= 500 or status in (408, 429)):
            raise OSError(first_line(cause)) from cause
        raise


def _failures() -> tuple[type[BaseException], ...]:
    """Return the errors of a call that failed: OSError, and those of libraries, which are none.

    They tell of a server that is not there, an answer that breaks off, or of keys that nobody has given.
    """
    return (OSError, *_foreign())


def _foreign() -> tuple[type[BaseException], ...]:
    found = [getattr(sys.modules.get(module), name, None) for module, name in _FOREIGN]
    return (asyncio.TimeoutError, http.client.HTTPException, *(error for error in found if error))
