"""What commands print: no control character from a file of others, and no complaint where nobody reads any more.

An escape sequence in the name of a file, a creator or a gate could clear the screen, rename the window or paint a
verdict over ours.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, TextIO, cast


def printable(line: str) -> str:
    """Return a text as one line without control characters: white space of any kind becomes a blank, the rest U+FFFD.

    Marks that turn the direction of text count as control characters, as do halves of characters.
    """
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in line)


def tell(*lines: str, stream: TextIO | None = None) -> None:
    """Print lines to `stream` (standard output), each made `printable`: a line end within one makes no new line."""
    print("\n".join(printable(line) for line in lines), file=stream or sys.stdout)


def json_shown(text: str) -> str:
    """Return a JSON text that says the same without a control character in it: each stands as its escape.

    JSON asks for that below U+0020 only; terminals heed those from U+007F on as well.
    """
    return "\n".join(line if line.isprintable() else _escaped(line) for line in text.split("\n"))


def _escaped(line: str) -> str:
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


def all_printable(value: Any, depth: int = 50) -> Any:
    """Return a JSON value whose texts are all made `printable`, keys included; what lies deeper becomes None."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [all_printable(item, depth - 1) for item in value] if depth else None
    if isinstance(value, dict):
        return {printable(key): all_printable(item, depth - 1) for key, item in value.items()} if depth else None
    return value


def quiet_when_closed(stream: TextIO) -> TextIO:
    """Return a stream that writes to `stream`, and drops all text once its reader has gone.

    The command goes on and ends with its own exit code: one that refuses must not end with 0 because the reader of
    its reasons left early.
    """
    return stream if stream is None else cast(TextIO, _Quiet(stream))  # None: the process has no such stream


class _Quiet:
    """A stream, of text or of bytes, without the error for a reader that has gone; all else is the stream's own."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    @property
    def buffer(self) -> Any:
        """The stream of bytes below a stream of text."""
        return _Quiet(self._stream.buffer)

    def write(self, data: Any) -> int:
        """Write text or bytes; return the length."""
        try:
            return int(self._stream.write(data))
        except BrokenPipeError:
            self._drop()
            return len(data)

    def flush(self) -> None:
        """Hand on what is held back."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        """Let the file go nowhere, what is still held back too."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __iter__(self) -> Any:
        return iter(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
