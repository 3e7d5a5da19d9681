"""PDQ hashes of training pictures as the model saw them: cropped and scaled to its size.

The hashes that a run keeps are of whole pictures at full size. A model that repeats one repeats what it was shown: a
crop of some dozen pixels. Measured on 192 clip-art pictures at 64 px: 20 % of them are within 31 bits of their own
whole picture's hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from filters.errors import TooManyFailures
from filters.json_text import read_json
from filters.optout.look_alike import MIN_QUALITY
from filters.scorers.pdq import pdq_hash
from pipelines.run.directory import Run
from pipelines.run.storage import Store
from training.config import parse_config
from training.config_data import Data
from training.contents import CONFIG
from training.data.buckets import assign, bucket_sizes
from training.data.jobs import jobs_of, make_decoder
from training.data.samples import ShardSet
from training.sampling.model import Model

#: Where the hashes lie in a folder of pictures, so that the next call need not decode the dataset again.
CACHE = "seen.json"

#: Raised where the same dataset and settings give other hashes.
_VERSION = 2

_BATCH = 64


@dataclass(frozen=True)
class Seen:
    """The dataset's pictures as the model saw them: uids (n,) and their PDQ hashes, empty for those too plain."""

    uids: list[str]
    codes: list[bytes]


def seen_by(model: Model, run: Run, folder: Path, say: Callable[[str], None], cache: str = CACHE) -> Seen:
    """Return the hashes, read from `folder` where they are of this dataset and these settings, else computed.

    One pass over the shards with the checkpoint's own settings, crops in the middle (random ones cannot be known).
    What cannot be read is told, and read again by the next call. Raises `BadInput` where the shards or the
    configuration cannot be read, `TooManyFailures` where more pictures are unreadable than the training allows.
    """
    path = model.path / CONFIG
    data = parse_config(path.read_text(encoding="utf-8"), str(path), []).data
    shards = ShardSet.open(run)
    buckets = data.buckets.model_dump_json()
    key = hashlib.sha256(f"{_VERSION} {shards.content} {buckets}".encode()).hexdigest()
    store = Store(str(folder))
    known = _read(store, cache, key)
    rows = np.array([row for row, uid in enumerate(shards.uids(np.arange(len(shards)))) if uid not in known], np.int64)
    if len(rows):
        say(f"looking at {len(rows)} training pictures as the model saw them")
        new = _codes(shards, data, rows)
        known |= new
        if len(new):
            store.write(cache, json.dumps({"key": key, "codes": known}, sort_keys=True).encode())
        _require_most(run, len(shards) - len(known), len(shards), data, say)
    uids = sorted(known)
    return Seen(uids, [bytes.fromhex(known[uid]) for uid in uids])


def _require_most(run: Run, unreadable: int, samples: int, data: Data, say: Callable[[str], None]) -> None:
    """Tell how many pictures have no look, and refuse where they are too many: the guard would know too little."""
    if unreadable > data.max_unreadable * samples:
        raise TooManyFailures(
            f"{run.store.url}: {unreadable} of {samples} training pictures cannot be read, more than the training's "
            f"data.max_unreadable ({data.max_unreadable:g}); repair the dataset"
        )
    if unreadable:
        say(f"{unreadable} training pictures cannot be read: nothing is compared with what the model saw of them")


def _codes(shards: ShardSet, data: Data, rows: np.ndarray) -> dict[str, str]:
    """Return PDQ in hex by uid of each of the rows that can be read; empty where it is too plain to compare."""
    sizes = bucket_sizes(data.buckets)
    buckets = assign(shards.width[rows], shards.height[rows], sizes)
    decoder = make_decoder(shards.url, data, _BATCH, sizes)
    found: dict[str, str] = {}
    try:
        for bucket in np.unique(buckets):
            mine = rows[buckets == bucket]
            for start in range(0, len(mine), _BATCH):
                some = mine[start : start + _BATCH]
                middle = np.full(len(some), 0.5)
                jobs = jobs_of(shards, some, middle, middle, np.zeros(len(some), dtype=bool))
                pictures, outcomes = decoder.result(decoder.submit(jobs, *sizes[int(bucket)]))
                for uid, pixels, outcome in zip(shards.uids(some), pictures, outcomes, strict=True):
                    if not outcome.reason:
                        found[uid] = _code(pixels)
    finally:
        decoder.close()
    return found


def _code(pixels: np.ndarray) -> str:
    """Return the PDQ of uint8 (3, h, w) in hex; empty where it is too plain."""
    code, quality = pdq_hash(Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))))
    return code.hex() if quality >= MIN_QUALITY else ""


def _read(store: Store, cache: str, key: str) -> dict[str, Any]:
    """Return the kept hashes; nothing where there are none, or of something else."""
    if not store.exists(cache):
        return {}
    try:
        body = read_json(store.read(cache))
        codes: dict[str, Any] = body["codes"]
        good = body["key"] == key and all(
            len(uid) == 32 and len(bytes.fromhex(code)) in (0, 32) for uid, code in codes.items()
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return codes if good else {}
