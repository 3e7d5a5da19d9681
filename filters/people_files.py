"""Text files that people write, read whole: bounded, UTF-8, each fault one clear line."""

from __future__ import annotations

from pathlib import Path

from filters.errors import BadInput


def read_text_file(path: Path, most_bytes: int) -> str:
    """Return the text of a file, without a byte order mark.

    Raises `BadInput` naming the file: it cannot be read, is larger than `most_bytes`, or is not UTF-8.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(most_bytes + 1)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > most_bytes:
        raise BadInput(f"{path}: larger than {_size(most_bytes)}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"{path}: is not UTF-8 text") from None


def _size(count: int) -> str:
    """Return a number of bytes in the largest unit that it is a whole number of."""
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count and count % (1 << shift) == 0:
            return f"{count >> shift} {unit}"
    return f"{count} bytes"
