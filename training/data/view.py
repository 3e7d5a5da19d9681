"""A view: what the order of an epoch is made from, kept beside the checkpoints.

A retraction takes samples out of the dataset while a training is under way. The order of what is left must not
change by that, and a checkpoint's exposure log must go on naming what it names; so both refer to a view, which is
written once for each version of the dataset that the training has begun an epoch with. It holds uids and numbers only.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from filters.errors import BadInput
from pipelines.run.parquet_stream import parquet_of
from pipelines.run.schema import SCHEMA_VERSION, check_version
from pipelines.run.storage import Store
from training.config_data import Data
from training.data.buckets import assign, bucket_sizes
from training.data.held_out import held_out
from training.data.mixing import find_words
from training.data.samples import ShardSet

FOLDER = "views"

VIEWS = pa.schema(
    [
        pa.field("uid", pa.binary(16), nullable=False, metadata={"doc": "the 32 hex digits as bytes"}),
        pa.field("shard", pa.int32(), nullable=False, metadata={"doc": "place in the list of shards, from 0"}),
        pa.field("weight", pa.float32(), nullable=False, metadata={"doc": "sampling weight, as in the sidecar"}),
        pa.field("bucket", pa.int16(), nullable=False, metadata={"doc": "place in the list of sizes, from 0"}),
    ]
)


@dataclass(frozen=True)
class View:
    """The n samples of one version of a dataset, less those held out, as they were when an epoch began with it.

    `words`, `weight` as in `ShardSet`; `shard` int32: place in `shards`; `bucket` int16: place in `sizes`, (width,
    height) pairs. `start`: the first epoch with this view; `carried` int64: rows left over from the epoch before.
    `order`: digest of the configuration that the order depends on.
    """

    url: str
    content: str
    order: str
    start: int
    shards: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    words: np.ndarray
    shard: np.ndarray
    weight: np.ndarray
    bucket: np.ndarray
    carried: np.ndarray

    @classmethod
    def of(cls, shards: ShardSet, config: Data, start: int, carried: np.ndarray) -> View:
        """Return the view of a dataset's samples from epoch `start` on, but those that the configuration holds out.

        `carried`: uids (m, 2) left over. Raises `BadInput` where nothing is left to train on.
        """
        sizes = bucket_sizes(config.buckets)
        used = np.flatnonzero(~held_out(shards.words, config.held_out))
        if not len(used) or not shards.weight[used].any():
            raise BadInput(f"{shards.url}: data.held_out {config.held_out:g} leaves no sample to train on; lower it")
        words = shards.words[used]
        rows = find_words(words, carried)
        numbers = shards.shard_of(used).astype(np.int32)
        bucket = assign(shards.width[used], shards.height[used], sizes)
        head = (shards.url, shards.content, order_digest(config), start, shards.shards, tuple(sizes))
        return cls(*head, words, numbers, shards.weight[used], bucket, rows[rows >= 0])

    @property
    def name(self) -> str:
        """Return the view's name: its first epoch, the dataset's content hash, the order's digest."""
        return f"{self.start:06d}-{self.content[:24]}-{self.order}"

    def __len__(self) -> int:
        return len(self.words)

    def dump(self) -> bytes:
        """Return the view as a parquet file."""
        uids = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(16), len(self), [None, pa.py_buffer(self.words.astype(">u8").tobytes())]
        )
        facts = {
            "url": self.url,
            "content": self.content,
            "order": self.order,
            "start": self.start,
            "shards": self.shards,
        }
        facts |= {"sizes": self.sizes, "carried": self.carried.tolist()}
        metadata = {"artefact": FOLDER, "schema_version": SCHEMA_VERSION, "view": json.dumps(facts)}
        columns = [uids, pa.array(self.shard), pa.array(self.weight, pa.float32()), pa.array(self.bucket)]
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_arrays(columns, schema=VIEWS.with_metadata(metadata)), buffer, compression="zstd")
        return buffer.getvalue()

    def save(self, store: Store) -> None:
        """Write the view to `views/` of a training's folder, unless it is there."""
        name = view_file(self.name)
        if not store.exists(name):
            store.write(name, self.dump())


def order_digest(config: Data) -> str:
    """Return 8 hex digits over all settings that decide which sample comes when, and at which size."""
    decisive = config.model_dump(mode="json", include={"batch", "seed", "weighting", "shuffle_shards", "buckets"})
    if config.held_out:  # not where there is none: trainings from before the key keep their order's digest
        decisive["held_out"] = config.held_out
    return hashlib.blake2b(json.dumps(decisive, sort_keys=True).encode(), digest_size=4).hexdigest()


def view_file(name: str) -> str:
    """Return the file of a view, relative to the folder that holds `views/`."""
    return f"{FOLDER}/{name}.parquet"


def load_view(data: bytes, where: str) -> View:
    """Return the view of a file's bytes; `where` names it in messages. Raises `BadInput` for anything else."""
    try:
        file = parquet_of(io.BytesIO(data))
        check_version(file.schema_arrow, where)
        table = file.read(use_threads=False)
        facts = json.loads(table.schema.metadata[b"view"])
        words = np.frombuffer(b"".join(table.column("uid").to_pylist()), dtype=">u8").reshape(-1, 2).astype(np.uint64)
        shards, sizes = tuple(map(str, facts["shards"])), tuple((int(w), int(h)) for w, h in facts["sizes"])
        shard, weight, bucket = (table.column(name).to_numpy() for name in ("shard", "weight", "bucket"))
        carried = np.array(facts["carried"], dtype=np.int64)
        whole = len(words) > 0 and shard.max() < len(shards) and bucket.max() < len(sizes)
        if not whole or min(shard.min(), bucket.min()) < 0 or ((carried < 0) | (carried >= len(words))).any():
            raise ValueError("out of range")
        named = (str(facts["url"]), str(facts["content"]), str(facts["order"]), int(facts["start"]))
        head = (*named, shards, sizes)
        return View(*head, words, shard, weight, bucket, carried)
    except (pa.ArrowInvalid, OSError, KeyError, ValueError, TypeError) as error:
        raise BadInput(f"{where}: not the view of a training ({str(error).splitlines()[0][:100]})") from None
