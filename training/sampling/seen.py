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
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from filters.optout.look_alike import MIN_QUALITY
from filters.scorers.pdq import pdq_hash
from pipelines.run.directory import Run
from pipelines.run.storage import Store
from training.config import parse_config
from training.config_data import Data
from training.contents import CONFIG
from training.data.loader import Batches
from training.data.samples import ShardSet
from training.sampling.model import Model

#: Where the hashes lie in a folder of pictures, so that the next call need not decode the dataset again.
CACHE = "seen.json"

_BATCH = 64


@dataclass(frozen=True)
class Seen:
    """The dataset's pictures as the model saw them: uids (n,) and their PDQ hashes, empty for those too plain."""

    uids: list[str]
    codes: list[bytes]


def seen_by(model: Model, run: Run, folder: Path, say: Callable[[str], None], cache: str = CACHE) -> Seen:
    """Return the hashes, read from `folder` where they are of this dataset and these settings, else computed.

    One pass over the shards with the checkpoint's own settings, crops in the middle (random ones cannot be known).
    Raises `BadInput` where the shards or the configuration cannot be read.
    """
    path = model.path / CONFIG
    config = parse_config(path.read_text(encoding="utf-8"), str(path), []).data
    fixed = {
        "batch": _BATCH,
        "weighting": "loss",
        "crop": "centre",
        "flip": 0.0,
        "caption_dropout": 0.0,
        "held_out": 0.0,
    }
    data = config.model_copy(update=fixed)
    shards = ShardSet.open(run)
    buckets = data.buckets.model_dump_json()
    key = hashlib.sha256(f"1 {shards.content} {buckets}".encode()).hexdigest()
    store = Store(str(folder))
    body = _read(store, cache, key)
    if body is None:
        say(f"looking at {len(shards)} training pictures as the model saw them")
        body = {"key": key, "codes": _codes(shards, data)}
        store.write(cache, json.dumps(body, sort_keys=True).encode())
    uids = sorted(body["codes"])
    return Seen(uids, [bytes.fromhex(body["codes"][uid]) for uid in uids])


def _codes(shards: ShardSet, data: Data) -> dict[str, str]:
    """Return each readable picture's PDQ in hex by uid; empty where it is too plain to compare."""
    found: dict[str, str] = {}
    # what does not fill an epoch's last batch comes first in the next epoch; a bound where pictures are unreadable
    most = 2 * (len(shards) // data.batch + 2)
    with Batches(shards, data) as batches:
        for batch in islice(batches, most):
            for uid, pixels in zip(batch.uids, batch.images, strict=True):
                code, quality = pdq_hash(Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())))
                found[uid] = code.hex() if quality >= MIN_QUALITY else ""
            found |= {one.uid: "" for one in batch.unreadable}
            if len(found) >= len(shards):
                break
    return found


def _read(store: Store, cache: str, key: str) -> dict[str, Any] | None:
    """Return the kept hashes, None where there are none, or of something else."""
    if not store.exists(cache):
        return None
    try:
        body = json.loads(store.read(cache))
        good = body["key"] == key and all(
            len(uid) == 32 and len(bytes.fromhex(code)) in (0, 32) for uid, code in body["codes"].items()
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return body if good else None
