"""The look-up index: hashes of all keys, sorted, in a file that is mapped and not loaded.

It is derived from the entries and may be deleted at any time; hits are confirmed by the entries themselves, and a
file that is not the one that was written is built again. 16 bytes a key: 160 MB for 10 million.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from filters import environment
from pipelines.registry.store import Registry, Snapshot
from pipelines.run.storage import sha256_stream

_FORMAT = 1
_HEADER = 4096
#: Parts by which keys are sorted; each fits into memory (10 million keys: 2.5 MB each).
_BUCKETS = 64
#: Rows behind the end of an index that are not worth a new one.
_TAIL = 100_000

_PAIR = np.dtype([("hash", "<u8"), ("seq", "<i8")])


def key_hashes(keys: Sequence[str]) -> np.ndarray:
    """Return uint64 (n,): the first eight bytes of BLAKE2b of each key."""
    digest = hashlib.blake2b
    joined = b"".join([digest(key.encode("utf-8", "surrogatepass"), digest_size=8).digest() for key in keys])
    return np.frombuffer(joined, dtype="<u8")


@dataclass(frozen=True)
class KeyIndex:
    """Sorted hashes uint64 (n,) and the numbers of their entries int64 (n,), for entries up to `seq`.

    `kinds` counts the keys of each kind.
    """

    hashes: np.ndarray
    numbers: np.ndarray
    seq: int
    kinds: dict[str, int]

    def search(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (position in `hashes`, number of an entry) for all entries that may have these keys."""
        if len(self.hashes) == 0 or len(hashes) == 0:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        # Sorted look-ups walk the file from front to back.
        distinct, inverse = np.unique(hashes, return_inverse=True)
        left = np.searchsorted(self.hashes, distinct, "left")
        there = (left < len(self.hashes)) & (self.hashes[np.minimum(left, len(self.hashes) - 1)] == distinct)
        counts = np.zeros(len(distinct), dtype=np.int64)
        counts[there] = np.searchsorted(self.hashes, distinct[there], "right") - left[there]
        each = counts[inverse]
        positions = np.repeat(np.arange(len(hashes)), each)
        within = np.arange(len(positions)) - np.repeat(np.cumsum(each) - each, each)
        return positions, np.asarray(self.numbers[np.repeat(left[inverse], each) + within])


def open_index(registry: Registry, snapshot: Snapshot, folder: Path | None = None) -> list[KeyIndex]:
    """Return the indexes that together cover the snapshot: that of the file, and one of what came after it.

    The file stands beside a SQLite registry, else in `folder` or the user's cache. Where it cannot be written, a
    temporary one is used.
    """
    path = index_path(registry, folder)
    base = _read(path, registry)
    if base is None or snapshot.seq - base.seq > max(_TAIL, base.seq // 10):
        base = _build(path, registry, snapshot)
    if base.seq >= snapshot.seq:
        return [base]
    return [base, _in_memory(registry, base.seq, snapshot.seq)]


def index_path(registry: Registry, folder: Path | None = None) -> Path:
    """Return where the registry's index stands."""
    beside = getattr(registry.database, "path", None)
    if folder is None and isinstance(beside, Path):
        return beside.with_name(beside.name + ".index")
    if folder is None:
        cache = os.environ.get(environment.XDG_CACHE) or str(Path.home() / ".cache")
        folder = Path(cache) / "assay" / "registries"
    return folder / f"{registry.id}.index"


def _build(path: Path, registry: Registry, snapshot: Snapshot) -> KeyIndex:
    """Sort all keys up to the snapshot by buckets on disk, so that the memory does not grow with the registry."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _write(path, path.parent, registry, snapshot)
    except OSError:
        with tempfile.TemporaryDirectory(prefix="assay-index-") as folder:
            # The map outlives the file's name.
            return _write(Path(folder) / path.name, Path(folder), registry, snapshot)


def _write(path: Path, folder: Path, registry: Registry, snapshot: Snapshot) -> KeyIndex:
    kinds: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix=".assay-index-", dir=folder) as scratch:
        counts = _fill_buckets(Path(scratch), registry, snapshot.seq, kinds)
        total = sum(counts)
        finished = Path(scratch) / "index"
        with finished.open("wb+") as stream:
            stream.truncate(_HEADER + total * _PAIR.itemsize)
            at = 0
            for bucket, count in enumerate(counts):
                pairs = np.fromfile(Path(scratch) / str(bucket), dtype=_PAIR) if count else np.empty(0, _PAIR)
                pairs.sort(order=["hash", "seq"])
                stream.seek(_HEADER + at * 8)
                stream.write(pairs["hash"].tobytes())
                stream.seek(_HEADER + total * 8 + at * 8)
                stream.write(pairs["seq"].tobytes())
                at += count
            _write_header(stream, registry, snapshot, dict(kinds), total)
        os.replace(finished, path)
    index = _read(path, registry)
    if index is None:
        raise OSError(f"{path}: the index cannot be read back")
    return index


def _fill_buckets(scratch: Path, registry: Registry, until: int, kinds: Counter[str]) -> list[int]:
    counts = [0] * _BUCKETS
    streams = [(scratch / str(bucket)).open("wb") for bucket in range(_BUCKETS)]
    try:
        for page in registry.keys(0, until):
            pairs = _pairs(page, kinds)
            pairs.sort(order="hash")
            bounds = np.searchsorted(pairs["hash"] >> np.uint64(58), np.arange(_BUCKETS + 1, dtype=np.uint64))
            for bucket, stream in enumerate(streams):
                some = pairs[bounds[bucket] : bounds[bucket + 1]]
                stream.write(some.tobytes())
                counts[bucket] += len(some)
    finally:
        for stream in streams:
            stream.close()
    return counts


def _pairs(page: list[tuple[int, list[str]]], kinds: Counter[str]) -> np.ndarray:
    keys = [key for _, some in page for key in some]
    kinds.update(key.partition(":")[0] for key in keys)
    pairs = np.empty(len(keys), dtype=_PAIR)
    pairs["hash"] = key_hashes(keys)
    pairs["seq"] = np.repeat([seq for seq, _ in page], [len(some) for _, some in page])
    return pairs


def _in_memory(registry: Registry, since: int, until: int) -> KeyIndex:
    kinds: Counter[str] = Counter()
    pages = [_pairs(page, kinds) for page in registry.keys(since, until)]
    pairs = np.sort(np.concatenate(pages), order=["hash", "seq"]) if pages else np.empty(0, _PAIR)
    return KeyIndex(pairs["hash"].copy(), pairs["seq"].copy(), until, dict(kinds))


def _write_header(stream: BinaryIO, registry: Registry, snapshot: Snapshot, kinds: dict[str, int], total: int) -> None:
    stream.seek(_HEADER)
    body = {
        "format": _FORMAT,
        "registry": registry.id,
        "seq": snapshot.seq,
        "hash": snapshot.hash,
        "kinds": kinds,
        "keys": total,
        "sha256": sha256_stream(stream),
    }
    text = json.dumps(body).encode()
    stream.seek(0)
    stream.write(text.ljust(_HEADER))
    stream.flush()
    os.fsync(stream.fileno())


def _read(path: Path, registry: Registry) -> KeyIndex | None:
    """Map the file; None where there is none, it is damaged, or it belongs to another state of the registry."""
    with suppress(OSError, ValueError, KeyError, TypeError), path.open("rb") as stream:
        body = json.loads(stream.read(_HEADER))
        total, seq = int(body["keys"]), int(body["seq"])
        if body["format"] != _FORMAT or body["registry"] != registry.id:
            return None
        if os.fstat(stream.fileno()).st_size != _HEADER + total * _PAIR.itemsize:
            return None
        if registry.hash_of(seq) != body["hash"] or sha256_stream(stream) != body["sha256"]:
            return None
        if total == 0:
            return KeyIndex(np.empty(0, np.uint64), np.empty(0, np.int64), seq, body["kinds"])
        hashes = np.memmap(stream, dtype="<u8", mode="r", offset=_HEADER, shape=(total,))
        numbers = np.memmap(stream, dtype="<i8", mode="r", offset=_HEADER + 8 * total, shape=(total,))
        return KeyIndex(hashes, numbers, seq, {str(kind): int(count) for kind, count in body["kinds"].items()})
    return None
