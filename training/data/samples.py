"""The samples of a dataset's shards as columns, and their pictures by place.

Everything here is checked against the manifest: a sidecar or tar that is not the one which the manifest names is
refused, and each picture is compared with the SHA-256 in its sidecar when it is read (`training.data.decode`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.errors import BadInput
from pipelines.run.directory import Run, open_run
from pipelines.run.manifest import read_manifest
from pipelines.run.parts import read_table
from pipelines.run.staged import committed
from pipelines.run.storage import Store, sha256_stream
from training.data.mixing import find_words, uid_texts, uid_words
from training.data.offsets import offsets_of

T = TypeVar("T")

#: Seconds within which a retraction moves its files into place.
_SETTLE_S = 120.0

_COLUMNS = ["uid", "key", "weight", "sha256", "caption", "width_upright", "height_upright"]


@dataclass(frozen=True)
class Sample:
    """One sample: its uid, shard (`shards/shard-00007`), key there, weight, caption, and size in pixels."""

    uid: str
    shard: str
    key: str
    weight: float
    caption: str
    width: int
    height: int


@dataclass(frozen=True)
class ShardSet:
    """The n samples of one version of a dataset, in the order of its shards.

    `url`: the run; `content`: the version's content hash; `shards`: names without suffix; `starts` (s + 1,): first
    row of each shard. Columns of n rows: `words` uint64 (n, 2), the uids; `weight` float32 > = 0; `width`, `height`
    int32 in pixels; `offset`, `size` int64, place in the tar; `sha256` uint8 (n, 32); `key`, `caption` text.
    """

    url: str
    content: str
    shards: tuple[str, ...]
    starts: np.ndarray
    words: np.ndarray
    weight: np.ndarray
    width: np.ndarray
    height: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    sha256: np.ndarray
    key: pa.ChunkedArray
    caption: pa.ChunkedArray

    @classmethod
    def open(cls, run: Run) -> ShardSet:
        """Read sidecars and tar indexes of a finished run. Raises `BadInput` for what the manifest does not name."""
        body = read_manifest(run)
        named = {entry["shard"]: entry["sha256"] for entry in body["content"]["shards"]}
        tables = [_shard(run, name, sha256, body["files"]) for name, sha256 in sorted(named.items())]
        if not sum(table.num_rows for table in tables):
            raise BadInput(f"{run.store.url}: its shards hold no sample; nothing can be trained on it")
        table = pa.concat_tables(tables)
        words = uid_words(table.column("uid").to_pylist(), f"{run.store.url}/shards")
        weight = table.column("weight").to_numpy()
        if not (np.isfinite(weight) & (weight >= 0)).all() or not weight.any():
            raise BadInput(
                f"{run.store.url}/shards: weights are finite, not negative and not all 0; run assay balance"
            )
        width, height = _sizes(run, table, words)
        return cls(
            url=run.store.url,
            content=body["content_hash"],
            shards=tuple(sorted(named)),
            starts=np.concatenate([[0], np.cumsum([part.num_rows for part in tables], dtype=np.int64)]),
            words=words,
            weight=weight,
            width=width,
            height=height,
            offset=table.column("offset").to_numpy(),
            size=table.column("size").to_numpy(),
            sha256=_digests(table.column("sha256").to_pylist(), run.store.url),
            key=table.column("key"),
            caption=table.column("caption"),
        )

    def __len__(self) -> int:
        return len(self.words)

    def shard_of(self, rows: np.ndarray) -> np.ndarray:
        """Return int64: the number (place in `shards`) of each row's shard."""
        found: np.ndarray = np.searchsorted(self.starts, rows, side="right") - 1
        return found

    def uids(self, rows: np.ndarray) -> list[str]:
        """Return the uids of some rows."""
        return uid_texts(self.words[rows])

    def captions(self, rows: np.ndarray) -> list[str]:
        """Return the captions of some rows."""
        found: list[str] = self.caption.take(pa.array(rows)).to_pylist()
        return found

    def find(self, words: np.ndarray) -> np.ndarray:
        """Return int64 (m,): rows of the uids `words` (m, 2); -1 where this version has them not."""
        return find_words(self.words, words)

    def sample(self, row: int) -> Sample:
        """Return one row."""
        at = np.array([row])
        shard = self.shards[int(self.shard_of(at)[0])]
        key, caption = self.key[row].as_py(), self.caption[row].as_py()
        size = (int(self.width[row]), int(self.height[row]))
        return Sample(self.uids(at)[0], shard, key, float(self.weight[row]), caption, *size)


def _shard(run: Run, name: str, sha256: str, files: dict[str, Any]) -> pa.Table:
    """Return one shard's sidecar columns (those there are) with place and size of each picture."""
    sidecar, tar = f"{name}.parquet", f"{name}.tar"
    with run.store.open(sidecar) as stream:
        if sha256_stream(stream) != files.get(sidecar, {}).get("sha256"):
            raise BadInput(f"{run.store.url}/{sidecar}: not the sidecar that the manifest names; run assay check")
    table = read_table(run.store, sidecar, _COLUMNS)
    offsets = offsets_of(run.store, tar, sha256)
    at = pc.index_in(table.column("key"), value_set=offsets.column("key").combine_chunks())
    if at.null_count:
        raise BadInput(f"{run.store.url}/{tar}: {at.null_count} samples of its sidecar have no picture there")
    for column in ("offset", "size"):
        table = table.append_column(column, offsets.column(column).take(at))
    return table.cast(pa.schema([_large(field) for field in table.schema]))


def _large(field: pa.Field) -> pa.Field:
    """Return text columns with 64-bit places: all captions together may be longer than 2 GB."""
    return pa.field(field.name, pa.large_string()) if pa.types.is_string(field.type) else pa.field(*_plain(field))


def _plain(field: pa.Field) -> tuple[str, pa.DataType]:
    return field.name, field.type


def _sizes(run: Run, table: pa.Table, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return width and height: upright ones of the sidecar, else those that the samples state."""
    if {"width_upright", "height_upright"} <= set(table.column_names):
        found = [table.column(name).fill_null(0).to_numpy() for name in ("width_upright", "height_upright")]
    else:
        found = [np.zeros(len(words), np.int32), np.zeros(len(words), np.int32)]
        for samples in run.tables("samples", ["uid", "width", "height"]):
            rows = find_words(words, uid_words(samples.column("uid").to_pylist(), f"{run.store.url}/samples"))
            for column, name in zip(found, ("width", "height"), strict=True):
                column[rows[rows >= 0]] = samples.column(name).fill_null(0).to_numpy()[rows >= 0]
    # an unknown size costs the right bucket, not the sample
    return np.maximum(found[0], 1), np.maximum(found[1], 1)


def _digests(texts: list[str], url: str) -> np.ndarray:
    try:
        return np.frombuffer(bytes.fromhex("".join(texts)), dtype=np.uint8).reshape(len(texts), 32)
    except ValueError:
        raise BadInput(f"{url}/shards: a sidecar's sha256 is not 64 hex digits; run assay balance again") from None


def present(url: str) -> ShardSet:
    """Return the samples of a dataset as it is now; waits where a retraction is replacing files. Raises `BadInput`."""
    return patient(url, ShardSet.open)


def content_now(url: str) -> str:
    """Return the content hash of a dataset as it is now. Raises `BadInput`."""
    return patient(url, lambda run: str(read_manifest(run)["content_hash"]))


def patient(url: str, read: Callable[[Run], T]) -> T:
    """Return what `read` makes of a run; again where a retraction replaced files meanwhile. Raises `BadInput`."""
    until = time.monotonic() + _SETTLE_S
    while True:
        before = None
        try:
            run = open_run(url)
            before = read_manifest(run)["content_hash"]
            return read(run)
        except BadInput:
            if time.monotonic() > until or not _moving(url, before):
                raise
        time.sleep(0.5)


def _moving(url: str, before: str | None) -> bool:
    """Tell whether a retraction is replacing files, or has while the dataset with the hash `before` was read."""
    if committed(Store(url)):
        return True
    return before is not None and read_manifest(open_run(url))["content_hash"] != before
