"""Where each picture lies in its shard's tar, so that any sample is one read away.

Built once a shard and kept in the run's `offsets/`, with the SHA-256 of the tar that it belongs to; it can always be
made again.
"""

from __future__ import annotations

import os
import tarfile
from collections import OrderedDict
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from filters.errors import BadInput, first_line
from pipelines.run.parts import read_table
from pipelines.run.schema import SCHEMA_VERSION
from pipelines.run.storage import Store, sha256_stream

FOLDER = "offsets"

#: Members of a sample that are not its picture.
_TEXTS = frozenset({"txt", "json"})
#: Shards that a reader holds open.
_OPEN = 128

OFFSETS = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False, metadata={"doc": "key in the output shard"}),
        pa.field("offset", pa.int64(), nullable=False, metadata={"doc": "first byte of the picture in the tar"}),
        pa.field("size", pa.int64(), nullable=False, metadata={"doc": "bytes of the picture"}),
    ],
    metadata={"artefact": FOLDER, "schema_version": SCHEMA_VERSION},
)


def offsets_of(store: Store, tar: str, sha256: str) -> pa.Table:
    """Return key, offset and size of each picture of a tar that has the hash which the manifest states.

    The hash is computed when the index is built, and again whenever the file's size or time is not as it was then.
    Raises `BadInput` where the tar is missing, is not the one, or is no tar.
    """
    name = f"{FOLDER}/{PurePosixPath(tar).stem}.parquet"
    if not store.exists(tar):
        raise BadInput(f"{store.url}/{tar}: no such shard, and the manifest names it; run assay check")
    state = str(store.fs.ukey(store.path(tar)))
    kept = _kept(store, name, sha256, state)
    if kept is not None:
        return kept
    with store.open(tar) as stream:
        found = sha256_stream(stream)
    if found != sha256:
        raise BadInput(f"{store.url}/{tar}: not the shard that the manifest names (SHA-256 differs); run assay check")
    table = _scan(store, tar).replace_schema_metadata({**OFFSETS.metadata, "sha256": sha256, "state": state})
    try:
        with store.create(name) as path:
            pq.write_table(table, path, compression="zstd")
    except OSError:
        pass  # a run that cannot be written to is indexed anew each time
    return table


def _kept(store: Store, name: str, sha256: str, state: str) -> pa.Table | None:
    if not store.exists(name):
        return None
    try:
        table = read_table(store, name)
    except BadInput:
        return None
    stated = table.schema.metadata or {}
    same = stated.get(b"sha256") == sha256.encode() and stated.get(b"state") == state.encode()
    return table if same and table.schema.equals(OFFSETS) else None


def _scan(store: Store, tar: str) -> pa.Table:
    keys: list[str] = []
    offsets: list[int] = []
    sizes: list[int] = []
    try:
        with store.open(tar) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                key, _, suffix = member.name.partition(".")
                if member.isfile() and suffix not in _TEXTS:
                    keys.append(key)
                    offsets.append(member.offset_data)
                    sizes.append(member.size)
    except tarfile.TarError as error:
        raise BadInput(f"{store.url}/{tar}: not a readable tar ({first_line(error)})") from None
    if len(set(keys)) != len(keys):
        raise BadInput(f"{store.url}/{tar}: two pictures of one sample; run assay balance again")
    return pa.table([pa.array(keys, pa.string()), pa.array(offsets, pa.int64()), pa.array(sizes, pa.int64())], OFFSETS)


class Reader:
    """Reads ranges of a run's files; on a local disk each file is opened once. Not for several threads at once."""

    def __init__(self, url: str) -> None:
        self._store = Store(url)
        self._open: OrderedDict[str, int] = OrderedDict()

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`, fewer where the file ends before. Raises `OSError`."""
        if not self._store.local:
            data: bytes = self._store.fs.cat_file(self._store.path(name), start=offset, end=offset + size)
            return data
        if name not in self._open:
            self._open[name] = os.open(self._store.path(name), os.O_RDONLY)
            if len(self._open) > _OPEN:
                os.close(self._open.popitem(last=False)[1])
        self._open.move_to_end(name)
        return os.pread(self._open[name], size, offset)

    def close(self) -> None:
        """Close what is open."""
        while self._open:
            os.close(self._open.popitem()[1])
