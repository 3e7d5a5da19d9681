"""What was downloaded for a URL list, as shards: every row of the list is a record, fetched or not."""

from __future__ import annotations

import json
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from filters.errors import BadInput, first_line
from filters.optout.base import Signal, Verdict
from filters.reasons import BY_CODE, Reason
from pipelines.run.parquet_stream import parquet_of
from pipelines.run.parts import part_indices, part_name, read_marker
from pipelines.run.schema import check_version
from pipelines.run.storage import Store
from pipelines.sources.base import ReadLimits, Record, ShardRef
from pipelines.sources.listing import opened

#: Artefact of the run that holds the downloads.
DOWNLOADS = "downloads"

_COLUMNS = ["row", "key", "url", "columns", "reason", "detail", "sha256", "fetched_at", "signals"]
_ROWS = 256
_BROKEN = (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, OverflowError, pa.ArrowException)


@dataclass(frozen=True)
class UrlSource:
    """The downloads of one run. `store` is needed to list them only; a shard can be read by its address."""

    store: Store | None

    def shards(self) -> list[ShardRef]:
        """Return one shard a finished part. Raises `BadInput` where parts are missing."""
        if self.store is None:
            raise BadInput("a URL list can be read in a run only, after its download")
        indices = part_indices(self.store, DOWNLOADS)
        if not indices or indices != list(range(len(indices))):
            raise BadInput(f"{self.store.url}: the list is not downloaded yet; run assay ingest")
        shards = []
        for index in indices:
            marker = read_marker(self.store, part_name(DOWNLOADS, index, ""))
            state = {name: record.sha256 for name, record in sorted(marker.files.items())} if marker else {}
            name = part_name(DOWNLOADS, index)
            url = str(self.store.fs.unstrip_protocol(self.store.path(name)))
            shards.append(ShardRef(f"part-{index:05d}", url, json.dumps(state)))
        return shards

    def records(self, shard: ShardRef, limits: ReadLimits) -> Iterator[Record]:
        """Read the part's rows in order, each fetched one with its picture."""
        row = 0
        try:
            with (
                opened(shard.url) as table,
                opened(shard.url.removesuffix(".parquet") + ".tar") as pictures,
                tarfile.open(fileobj=pictures, mode="r:") as archive,
            ):
                file = parquet_of(table)
                check_version(file.schema_arrow, shard.url)
                for batch in file.iter_batches(batch_size=_ROWS, columns=_COLUMNS, use_threads=False):
                    for values in batch.to_pylist():
                        yield _record(values, archive, limits)
                        row += 1
        except _BROKEN as error:
            yield Record("", failure=Reason.UNREADABLE_SHARD, detail=f"after {row} rows: {first_line(error)}")


def member_name(row: int) -> str:
    """Return the name of a row's picture in the part's tar."""
    return f"{row:012d}"


def _record(values: dict[str, Any], archive: tarfile.TarFile, limits: ReadLimits) -> Record:
    facts = {"fetched_at": values["fetched_at"], "signals": signals_of(values)}
    metadata = json.loads(values["columns"]) if values["columns"] else {}
    if values["reason"] is not None:
        return Record(values["key"], None, None, metadata, BY_CODE[values["reason"]], values["detail"], facts)
    member = archive.next()
    # tarfile remembers every member
    archive.members = []  # type: ignore[attr-defined]
    if member is None or member.name != member_name(values["row"]):
        raise ValueError(f"the picture of row {values['row']} is not in its place")
    content = archive.extractfile(member)
    image = content.read(limits.image + 1) if content else b""
    return Record(values["key"], image, None, metadata, None, None, facts)


def signals_of(row: dict[str, Any]) -> list[Signal]:
    """Return the rights statements that a downloads row holds."""
    return [Signal(**{**found, "verdict": Verdict(found["verdict"])}) for found in row["signals"] or []]
