"""Parquet from Python streams, read without Arrow's threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

#: Bytes of a batch above which its rows become Python's one by one: a value may be stored once for many rows.
_AT_ONCE = 32 << 20

#: Raised for a value that has no form in Python: a year 300,000, text that is no UTF-8, an unknown time zone.
_NO_FORM = (pa.ArrowException, ValueError, OverflowError, LookupError)


def parquet_of(stream: IO[bytes], checksums: bool = False) -> pq.ParquetFile:
    """Open a parquet file for reads with `use_threads=False`. Raises what Arrow raises for a broken one.

    No thread of Arrow's must read from a Python stream, neither one of those that decode nor, unless told otherwise,
    one that reads ahead: it may still hold a buffer of the stream when the interpreter ends, and aborts the process
    (SIGABRT) by freeing it then. With Arrow 25 that ended 1 in 40 commands on a busy machine. `checksums`: of pages,
    where they have them.
    """
    return pq.ParquetFile(stream, pre_buffer=False, page_checksum_verification=checksums)


def rows_of(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | Exception]:
    """Yield each row of a batch; in place of one that holds a value without a form in Python, the error."""
    if batch.nbytes <= _AT_ONCE:
        try:
            rows = batch.to_pylist()
        except _NO_FORM:
            pass
        else:
            yield from rows
            return
    for row in range(batch.num_rows):
        try:
            (values,) = batch.slice(row, 1).to_pylist()
        except _NO_FORM as error:
            yield error
        else:
            yield values
