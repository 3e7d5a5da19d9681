"""Parquet files are read without threads that could outlive the interpreter."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.run.parts import PartWriter
from pipelines.run.schema import CAPTION_COUNTS
from pipelines.run.storage import Store

ROOT = Path(__file__).resolve().parents[3]

READ = """
import os, sys
import pyarrow.parquet
from pipelines.run.parts import read_table
from pipelines.run.parquet_stream import parquet_of
from pipelines.run.storage import Store

store, name = Store(sys.argv[1]), "counts/part-00000.parquet"
before = len(os.listdir("/proc/self/task"))
read_table(store, name)
read_table(store, name, ["count"])
with store.open(name) as stream:
    list(parquet_of(stream).iter_batches(use_threads=False))
with store.open(name) as stream:
    parquet_of(stream).read_row_group(0, use_threads=False)
ours = len(os.listdir("/proc/self/task"))
with open(store.path(name), "rb") as stream:
    pyarrow.parquet.ParquetFile(stream).read(use_threads=False)
print(before, ours, len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_reading_a_part_starts_no_thread_and_arrow_s_own_way_does(tmp_path):
    """A thread that reads from a Python stream aborts the process where it frees a buffer after Python has ended."""
    rows = {"hash": list(range(1000)), "count": [1] * 1000}
    store = Store(str(tmp_path))
    writer = PartWriter(store, "counts/part-00000", "x")
    writer.add_table("counts/part-00000.parquet", CAPTION_COUNTS.empty_table().from_pydict(rows, CAPTION_COUNTS))
    writer.commit(1000)
    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    before, ours, arrows = map(int, done.stdout.split())
    assert ours == before
    ahead = int(pa.__version__.partition(".")[0]) >= 25
    assert (arrows > before) is ahead, "Arrow reads ahead no more, or earlier: see whether pre_buffer=False can go"
