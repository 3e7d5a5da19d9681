"""Parquet from Python streams, read without Arrow's threads."""

from __future__ import annotations

from typing import IO

import pyarrow.parquet as pq


def parquet_of(stream: IO[bytes], checksums: bool = False) -> pq.ParquetFile:
    """Open a parquet file for reads with `use_threads=False`. Raises what Arrow raises for a broken one.

    No thread of Arrow's must read from a Python stream, neither one of those that decode nor, unless told otherwise,
    one that reads ahead: it may still hold a buffer of the stream when the interpreter ends, and aborts the process
    (SIGABRT) by freeing it then. With Arrow 25 that ended 1 in 40 commands on a busy machine. `checksums`: of pages,
    where they have them.
    """
    return pq.ParquetFile(stream, pre_buffer=False, page_checksum_verification=checksums)
