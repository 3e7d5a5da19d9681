"""Parquet files whose rows hold the picture's bytes, a caption and any other columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from filters.errors import first_line
from filters.reasons import Reason
from pipelines.run.parquet_stream import parquet_of, rows_of
from pipelines.sources.base import ReadLimits, Record, ShardRef
from pipelines.sources.listing import find_files, full_url, opened, relative, state_of

#: Rows read at a time; bounds memory: a hostile file of some hundred bytes may hold a value of many MB for all rows.
_ROWS = 8


@dataclass(frozen=True)
class ParquetSource:
    """All parquet files behind `path`; `image`, `caption` and `key` name columns."""

    path: str
    image: str
    caption: str
    key: str

    def shards(self) -> list[ShardRef]:
        """Return one shard a file, sorted by path."""
        fs, root, paths = find_files(self.path, (".parquet",))
        return [ShardRef(relative(p, root), full_url(fs, p), state_of(fs, [p])) for p in paths]

    def records(self, shard: ShardRef, limits: ReadLimits) -> Iterator[Record]:
        """Read the file's rows in order; an unreadable file or row group gives one `UNREADABLE_SHARD` row.

        Raises `StoreFailed`.
        """
        row = 0
        try:
            with opened(shard.url) as stream:
                file = parquet_of(stream)
                for batch in file.iter_batches(batch_size=_ROWS, use_threads=False):
                    for values in rows_of(batch):
                        yield self._record(values, row, limits)
                        row += 1
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            yield Record("", failure=Reason.UNREADABLE_SHARD, detail=f"after {row} rows: {first_line(error)[:500]}")

    def _record(self, values: dict[str, Any] | Exception, row: int, limits: ReadLimits) -> Record:
        if isinstance(values, Exception):
            return Record(f"row-{row:08d}", failure=Reason.BAD_METADATA, detail=first_line(values)[:500])
        image = values.pop(self.image, None)
        if isinstance(image, dict):
            image = image.get("bytes")
        caption = values.pop(self.caption, None)
        key = str(values.pop(self.key, None) or f"row-{row:08d}")
        if image is not None and not isinstance(image, bytes):
            detail = f"column {self.image!r} holds {type(image).__name__}, not bytes"
            return Record(key, failure=Reason.MISSING_IMAGE, detail=detail)
        text = caption if caption is None or isinstance(caption, str | bytes) else str(caption)
        return Record(key, image[: limits.image + 1] if image is not None else None, text, values)
