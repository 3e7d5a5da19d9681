"""Folders and parquet files give the same records as tars would."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from making import picture, sample

from filters.errors import BadInput
from filters.reasons import Reason
from pipelines.sources.base import ReadLimits
from pipelines.sources.folder import FolderSource
from pipelines.sources.parquet import ParquetSource

LIMITS = ReadLimits(1 << 20, 1 << 10, 1 << 10)


def records(source):
    return [record for shard in source.shards() for record in source.records(shard, LIMITS)]


def fill(folder, *samples):
    for members in samples:
        for name, data in members.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def test_a_folder_is_cut_into_parts_and_read_in_order(tmp_path):
    fill(tmp_path, *(sample(i, key=f"sub/{i}") for i in range(5)))
    source = FolderSource(str(tmp_path), files_per_part=2)
    assert len(source.shards()) == 3
    assert [(r.key, r.image) for r in records(source)] == [(f"sub/{i}", picture(i)) for i in range(5)]


def test_a_caption_without_picture_and_two_pictures_of_one_name_all_show(tmp_path):
    fill(tmp_path, {"a.txt": b"alone"}, sample(1, key="b"), {"b.jpg": picture(2, form="JPEG")})
    found = records(FolderSource(str(tmp_path), 10))
    assert [(r.key, r.image is None) for r in found] == [("a", True), ("b", False), ("b", False)]


def test_parquet_with_bytes_or_structs_of_bytes(tmp_path):
    plain = pa.table(
        {"image": [picture(1), None], "caption": ["one", "two"], "key": ["k1", "k2"], "licence": ["CC0", None]}
    )
    pq.write_table(plain, tmp_path / "a.parquet")
    nested = pa.table({"image": [{"bytes": picture(3), "path": "x.png"}], "caption": ["three"]})
    pq.write_table(nested, tmp_path / "b.parquet")
    found = records(ParquetSource(str(tmp_path), "image", "caption", "key"))
    assert [(r.key, r.caption) for r in found] == [("k1", "one"), ("k2", "two"), ("row-00000000", "three")]
    assert [r.image for r in found] == [picture(1), None, picture(3)]
    assert found[0].metadata == {"licence": "CC0"}


def test_a_column_of_another_type_is_a_reason_not_a_crash(tmp_path):
    pq.write_table(pa.table({"image": ["text"], "caption": [3]}), tmp_path / "a.parquet")
    assert [r.failure for r in records(ParquetSource(str(tmp_path), "image", "caption", "key"))] == [
        Reason.MISSING_IMAGE
    ]


@pytest.mark.parametrize(
    "damage", [lambda d: d[:100], lambda d: d[:-20], lambda d: b"", lambda d: d[:200] + b"\0" * 400 + d[600:]]
)
def test_damaged_parquet_is_an_unreadable_row(tmp_path, damage):
    pq.write_table(pa.table({"image": [picture(i) for i in range(50)], "caption": ["x"] * 50}), tmp_path / "a.parquet")
    data = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(damage(data))
    found = records(ParquetSource(str(tmp_path), "image", "caption", "key"))
    assert found[-1].failure is Reason.UNREADABLE_SHARD or len(found) == 50


def odd_cells():
    """Columns of 100 rows, one cell of which Arrow takes and Python has no form of."""
    far = pa.array([0] * 99 + [1 << 62], pa.timestamp("us"))
    text = pa.Array.from_buffers(pa.string(), 100, pa.array([b"x"] * 99 + [b"\xff"], pa.binary()).buffers())
    return {"far": far, "text": text}


@pytest.mark.parametrize("name", ["far", "text"])
def test_a_cell_that_python_has_no_form_of_costs_its_row_alone(tmp_path, name):
    order = pa.array([*range(50), 99, *range(50, 99)])
    table = pa.table({"image": [picture(1)] * 100, "caption": ["x"] * 100, name: odd_cells()[name].take(order)})
    pq.write_table(table, tmp_path / "a.parquet")
    found = records(ParquetSource(str(tmp_path), "image", "caption", "key"))
    assert [row for row, record in enumerate(found) if record.failure] == [50]
    assert found[50].failure is Reason.BAD_METADATA
    assert len(found) == 100


def test_a_time_zone_that_nobody_knows_is_a_reason_not_a_crash(tmp_path):
    when = pa.array([0, None], pa.timestamp("us", tz="Nowhere/City"))
    pq.write_table(pa.table({"image": [picture(1)] * 2, "caption": ["x"] * 2, "when": when}), tmp_path / "a.parquet")
    found = records(ParquetSource(str(tmp_path), "image", "caption", "key"))
    assert found[0].failure is Reason.BAD_METADATA
    assert len(found) == 2


def test_a_great_value_stored_once_for_many_rows_is_not_held_for_all(tmp_path):
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": [bytes(8 << 20)] * 64, "caption": ["x"] * 64}), file, compression="zstd")
    assert file.stat().st_size < 10_000
    before = pa.total_allocated_bytes()
    ((shard),) = ParquetSource(str(file), "image", "caption", "key").shards()
    most = 0
    for record in ParquetSource(str(file), "image", "caption", "key").records(shard, LIMITS):
        assert len(record.image) == LIMITS.image + 1
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 160 << 20


def test_a_pipe_among_the_pictures_is_told_and_not_waited_for(tmp_path):
    fill(tmp_path, sample(1, key="b"), {"a.txt": b"a"}, {"c.jpg": picture(2, form="JPEG")})
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "d.jpg").symlink_to(tmp_path / "c.jpg")
    found = records(FolderSource(str(tmp_path), 10))
    assert [(r.key, r.failure) for r in found] == [
        ("a", Reason.UNREADABLE_SHARD),
        *((key, None) for key in "bcd"),
    ]
    assert "no plain file" in found[0].detail


def test_an_empty_folder_is_one_line(tmp_path):
    with pytest.raises(BadInput, match="empty"):
        FolderSource(str(tmp_path), 10).shards()
