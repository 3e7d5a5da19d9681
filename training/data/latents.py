"""Cached latents: one parquet a shard, under a key that names all that made them.

The files stand in the run's `latents/`, each row with its uid, so that a retraction deletes rows there as
everywhere else (`pipelines.retraction.rewrite.purge_latents`). The key is in the name and in the file; what does not
have the key that is asked for is never read.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import torch

from filters.errors import BadInput
from pipelines.run.directory import Run
from pipelines.run.manifest import read_manifest
from pipelines.run.parts import PartWriter, read_table
from pipelines.run.schema import SCHEMA_VERSION
from pipelines.run.storage import Store
from training.data.locking import soon_locked
from training.data.mixing import find_words, uid_words
from training.data.samples import ShardSet, patient

FOLDER = "latents"

_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class Key:
    """All that a cached tensor depends on, beside the sample.

    `model`: the autoencoder's id, by the hash of its weights; `sizes`: (width, height) of the buckets; `crop`: which
    part of the picture; `dtype` of the numbers; `scale`, `shift`: what the latents were multiplied by and moved by.
    """

    kind: Literal["latents"]
    model: str
    sizes: tuple[tuple[int, int], ...] = ()
    crop: str = "centre"
    dtype: str = "float16"
    scale: float = 1.0
    shift: float = 0.0

    @property
    def ident(self) -> str:
        """Return 32 hex digits over the key."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Entry:
    """One cached tensor, and the picture's height, width, and its crop's top and left."""

    tensor: torch.Tensor
    geometry: tuple[int, int, int, int] = (0, 0, 0, 0)


LATENTS = pa.schema(
    [
        pa.field("uid", pa.string(), nullable=False, metadata={"doc": "as in samples"}),
        pa.field("shape", pa.list_(pa.int32()), nullable=False, metadata={"doc": "shape of the tensor"}),
        pa.field("tensor", pa.large_binary(), nullable=False, metadata={"doc": "its numbers, in C order"}),
        pa.field("geometry", pa.list_(pa.int32(), 4), nullable=False, metadata={"doc": "height, width, top, left"}),
    ]
)


@dataclass(frozen=True)
class _Loaded:
    words: np.ndarray
    table: pa.Table


class LatentCache:
    """The cached tensors of one key of one run; holds the files of the last `held` shards in memory."""

    def __init__(self, url: str, key: Key, held: int = 64) -> None:
        if key.dtype not in _DTYPES:
            raise BadInput(f"cached tensors are {', '.join(_DTYPES)}, not {key.dtype}")
        self.key, self._store, self._held = key, Store(url), held
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()

    def file(self, shard: str) -> str:
        """Return the file of a shard's tensors (`shard`: `shards/shard-00007`), relative to the run."""
        return f"{FOLDER}/{self.key.kind}-{self.key.ident}-{shard.rpartition('-')[2]}.parquet"

    def forget(self) -> None:
        """Forget what is held in memory: the files may have changed."""
        self._loaded.clear()

    def lookup(self, shards: ShardSet, rows: np.ndarray) -> list[Entry | None]:
        """Return the rows' tensors, None where a file has none of a row. Raises `BadInput` where there is no file."""
        numbers = shards.shard_of(rows)
        found: list[Entry | None] = [None] * len(rows)
        for number in np.unique(numbers):
            name = self.file(shards.shards[number])
            if name not in self._loaded and not self._store.exists(name):
                raise BadInput(f"{self._store.url}/{name}: nothing is cached under this key; fill the cache first")
            loaded = self._load(shards.shards[number])
            mine = np.flatnonzero(numbers == number)
            for at, place in zip(mine, find_words(loaded.words, shards.words[rows[mine]]), strict=True):
                found[at] = self._entry(loaded.table, int(place)) if place >= 0 else None
        return found

    def missing(self, shards: ShardSet, shard: int) -> np.ndarray:
        """Return int64: the rows of a shard that nothing is cached for."""
        rows = np.arange(shards.starts[shard], shards.starts[shard + 1])
        return rows[find_words(self._load(shards.shards[shard]).words, shards.words[rows]) < 0]

    def add(self, shards: ShardSet, shard: int, rows: np.ndarray, entries: Sequence[Entry]) -> None:
        """Add tensors of rows of one shard to its file. Under the run's lock, so that no retraction runs meanwhile.

        A sample that a retraction has taken out since `shards` was opened is left out. Raises `BadInput` where another
        job works on the run for too long.
        """
        run = patient(self._store.url, lambda run: run)
        with soon_locked(run.store):
            there = self._still_there(run, shards, rows)
            name = self.file(shards.shards[shard])
            self._loaded.pop(name, None)
            old = self._load(shards.shards[shard]).table
            chosen = np.flatnonzero(there)
            words = uid_words(old.column("uid").to_pylist(), name)
            stays = old.filter(pa.array(find_words(shards.words[rows[chosen]], words) < 0))
            new = self._table(shards.uids(rows[chosen]), [entries[int(at)] for at in chosen])
            table = pa.concat_tables([stays, new]).replace_schema_metadata(new.schema.metadata)
            writer = PartWriter(run.store, name.removesuffix(".parquet"), self.key.ident)
            writer.add_table(name, table)
            writer.commit(table.num_rows, {"key": asdict(self.key)})
        self._loaded.pop(name, None)

    def _still_there(self, run: Run, shards: ShardSet, rows: np.ndarray) -> np.ndarray:
        """Return bool: which rows the dataset has now."""
        if read_manifest(run)["content_hash"] == shards.content:
            return np.ones(len(rows), dtype=bool)
        return ShardSet.open(run).find(shards.words[rows]) >= 0

    def _load(self, shard: str) -> _Loaded:
        name = self.file(shard)
        if name in self._loaded:
            self._loaded.move_to_end(name)
            return self._loaded[name]
        if not self._store.exists(name):
            return _Loaded(np.empty((0, 2), dtype=np.uint64), self._table([], []))
        table = read_table(self._store, name)
        key = (table.schema.metadata or {}).get(b"key")
        if key != self.key.ident.encode() or not table.schema.equals(LATENTS):
            raise BadInput(f"{self._store.url}/{name}: not of the key in its name; delete the file")
        loaded = _Loaded(uid_words(table.column("uid").to_pylist(), f"{self._store.url}/{name}"), table)
        self._loaded[name] = loaded
        if len(self._loaded) > self._held:
            self._loaded.popitem(last=False)
        return loaded

    def _entry(self, table: pa.Table, place: int) -> Entry:
        dtype = _DTYPES[self.key.dtype]
        shape = table.column("shape")[place].as_py()
        data = bytearray(table.column("tensor")[place].as_buffer())
        if len(data) != int(np.prod(shape)) * dtype.itemsize or min(shape, default=0) < 1:
            raise BadInput(f"{self._store.url}/{FOLDER}: a cached tensor is not of the shape that it states")
        return Entry(
            torch.frombuffer(data, dtype=dtype).reshape(shape), tuple(table.column("geometry")[place].as_py())
        )

    def _table(self, uids: list[str], entries: Sequence[Entry]) -> pa.Table:
        tensors = [entry.tensor.detach().to("cpu", _DTYPES[self.key.dtype]).contiguous() for entry in entries]
        columns = [
            pa.array(uids, pa.string()),
            pa.array([list(tensor.shape) for tensor in tensors], pa.list_(pa.int32())),
            pa.array([tensor.view(torch.uint8).numpy().tobytes() for tensor in tensors], pa.large_binary()),
            pa.array([entry.geometry for entry in entries], pa.list_(pa.int32(), 4)),
        ]
        metadata = {"artefact": FOLDER, "schema_version": SCHEMA_VERSION, "key": self.key.ident}
        return pa.Table.from_arrays(columns, schema=LATENTS.with_metadata(metadata))


def stacked(entries: list[Entry]) -> torch.Tensor:
    """Return the tensors as one (b, ...). Raises `BadInput` where they differ in shape."""
    if len({entry.tensor.shape for entry in entries}) > 1:
        raise BadInput(
            "cached tensors of one size of picture differ in shape; delete the run's latents/ and fill it anew"
        )
    return torch.stack([entry.tensor for entry in entries]) if entries else torch.empty(0)
