"""Downloads as a source: every row a record, and damage shown as a row."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fetch"))

from behaviours import PICTURE

from filters.errors import BadInput
from filters.reasons import Reason
from pipelines.jobs.fetch import DOWNLOADS, SCHEMA
from pipelines.run.storage import Store
from pipelines.sources.base import ReadLimits
from pipelines.sources.url import UrlSource

LIMITS = ReadLimits(1 << 20, 1 << 20, 1 << 20)


def test_a_run_that_is_not_downloaded_yet_is_refused(tmp_path):
    with pytest.raises(BadInput, match="not downloaded yet"):
        UrlSource(Store(str(tmp_path))).shards()
    with pytest.raises(BadInput, match="in a run only"):
        UrlSource(None).shards()


def test_a_broken_tar_gives_one_row_that_says_so(tmp_path):
    import io
    import tarfile

    import pyarrow as pa

    from pipelines.run.parts import PartWriter

    store = Store(str(tmp_path))
    writer = PartWriter(store, f"{DOWNLOADS}/part-00000", "x")
    row = dict.fromkeys(SCHEMA.names)
    rows = [{**row, "row": n, "key": f"k{n}", "status": "ok", "attempts": 1, "columns": "{}"} for n in range(3)]
    writer.add_table(f"{DOWNLOADS}/part-00000.parquet", pa.Table.from_pylist(rows, schema=SCHEMA))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for n in (0, 2):
            member = tarfile.TarInfo(f"{n:012d}")
            member.size = len(PICTURE)
            archive.addfile(member, io.BytesIO(PICTURE))
    store.write(f"{DOWNLOADS}/part-00000.tar", buffer.getvalue())
    writer.commit(3)
    source = UrlSource(store)
    records = list(source.records(source.shards()[0], LIMITS))
    assert [record.failure for record in records] == [None, Reason.UNREADABLE_SHARD]
    assert records[0].image == PICTURE
