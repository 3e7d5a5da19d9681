"""A remote file system that is asked again where a call fails for no lasting reason."""

from __future__ import annotations

import errno
import functools
import sys
import time
from collections.abc import Callable
from typing import Any

from filters.errors import AssayError, first_line

#: Seconds before the second, third and fourth try. A store that fails one call in ten then fails one in 10,000.
PAUSES = (0.1, 0.5, 2.0)

#: Answers, not failures: asking again changes nothing.
_ANSWERS = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
_LASTING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}

#: What a run calls; each may be done twice with the result of once.
_CALLS = {"cat_file", "copy", "exists", "info", "ls", "makedirs", "open", "put_file", "rm", "rm_file"}


class StoreFailed(AssayError):
    """A store that gives no answer however often it is asked."""


class Steady:
    """The file system `fs` with each call of a run tried up to four times; all else is its own."""

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def __getattr__(self, name: str) -> Any:
        """Return the file system's attribute, a call of a run made steady."""
        found = getattr(self._fs, name)
        return functools.partial(_steadily, found) if name in _CALLS else found


def _failures() -> tuple[type[BaseException], ...]:
    """Return the errors of a call that failed: OSError, and those of S3's own library, which are none.

    They tell of a server that is not there, or of keys that nobody has given.
    """
    library = sys.modules.get("botocore.exceptions")
    return (OSError,) if library is None else (OSError, library.BotoCoreError)


def _steadily(call: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
    """Return what `call` returns. Raises its answers as they are, and `StoreFailed` where it goes on failing."""
    for pause in (*PAUSES, None):
        try:
            return call(*arguments, **settings)
        except _ANSWERS:
            raise
        except _failures() as error:
            if getattr(error, "errno", None) in _LASTING:
                raise
            if pause is None:
                place = next((str(found) for found in arguments if isinstance(found, str)), "the store")
                words = f"{place}: the store fails ({first_line(error)}), {len(PAUSES) + 1} times in a row"
                raise StoreFailed(f"{words}; what is done stays done: run the same command again") from error
            time.sleep(pause)
