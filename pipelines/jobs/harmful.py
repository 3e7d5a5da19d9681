"""Known harmful pictures: matched while ingest has the bytes in hand, before anything else is done with them.

Of such a record only its place in the count is kept. No byte, hash, name, caption or address of it is written.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from filters.identity import sample_uid
from filters.optout.hash_lists import HarmfulHashes, load_hash_lists
from filters.reasons import Reason
from pipelines.run.schema import SAMPLES
from pipelines.run.storage import sha256_file
from pipelines.sources.base import Record


@lru_cache(maxsize=1)
def harmful_hashes(paths: tuple[str, ...]) -> HarmfulHashes | None:
    """Load the recipe's lists, once a process; None without any. Raises `BadInput`."""
    return load_hash_lists(paths) if paths else None


@lru_cache(maxsize=1)
def harmful_state(paths: tuple[str, ...]) -> list[str]:
    """Return the SHA-256 of the lists' files, for fingerprints. Raises `BadInput` where one cannot be read."""
    harmful_hashes(paths)
    files = [file for path in map(Path, paths) for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    return [sha256_file(file) for file in files if file.is_file()]


def is_harmful(record: Record, harmful: HarmfulHashes | None, pixels: bool = True) -> bool:
    """Tell whether the record's picture is on a list, or was found to be when it was downloaded.

    Without `pixels` by its bytes alone: for a picture that must not be decoded.
    """
    if record.failure is Reason.KNOWN_HARMFUL:
        return True
    return harmful is not None and bool(record.image) and harmful.matches(record.image or b"", pixels)


def withheld_row(shard: str, number: int) -> dict[str, Any]:
    """Return the row of `samples` for a withheld record: its place in the input, and nothing else."""
    place = hashlib.sha256(f"{shard}\n{number}".encode("utf-8", "backslashreplace")).digest()
    row: dict[str, Any] = dict.fromkeys(SAMPLES.names)
    row.update(
        uid=sample_uid(place, "", None),
        key=f"withheld-{number:08d}",
        shard=shard.encode("utf-8", "backslashreplace").decode(),
        failure=Reason.KNOWN_HARMFUL.value,
        failure_detail="on a list of known harmful pictures; nothing of it is kept",
    )
    return row
