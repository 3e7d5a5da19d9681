"""Files appear whole or not at all; a part is done only when its marker fits."""

import pyarrow as pa
import pytest

from filters.errors import BadInput
from pipelines.run.parts import PartWriter, fingerprint, finished, part_indices, part_name, read_table
from pipelines.run.schema import CAPTION_COUNTS
from pipelines.run.storage import Store

TABLE = pa.table({"hash": pa.array([1], pa.uint64()), "count": pa.array([2])}, schema=CAPTION_COUNTS)


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    return Store(str(tmp_path / "run") if request.param == "local" else f"memory://{tmp_path.name}")


def test_a_failed_write_leaves_nothing(store):
    def write_and_fail():
        with store.create("a/b.txt") as path:
            path.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert not store.exists("a/b.txt")
    assert store.list("a") == []


def test_written_files_are_listed_and_read_back(store):
    store.write("a/b.txt", b"one")
    store.write("a/b.txt", b"two")
    assert (store.list("a"), store.read("a/b.txt"), store.size("a/b.txt")) == (["a/b.txt"], b"two", 3)
    store.delete("a/b.txt")
    store.delete("a/b.txt")
    assert not store.exists("a/b.txt")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x"])
def test_names_cannot_leave_the_store(store, name):
    with pytest.raises(ValueError, match="leaves the store"):
        store.path(name)


def test_a_part_counts_as_done_only_with_its_fingerprint_and_its_files(store):
    name = part_name("samples", 3, "")
    writer = PartWriter(store, name, fingerprint("a"))
    writer.add_table(part_name("samples", 3), TABLE)
    assert finished(store, name, fingerprint("a")) is None
    writer.commit(1, {"note": "x"})
    assert finished(store, name, fingerprint("a")).facts == {"note": "x"}
    assert finished(store, name, fingerprint("b")) is None
    assert part_indices(store, "samples") == [3]
    store.write(part_name("samples", 3), b"cut")
    assert finished(store, name, fingerprint("a")) is None


def test_a_damaged_marker_is_no_marker(store):
    store.write("samples/part-00000.done.json", b'{"rows": 1')
    assert finished(store, "samples/part-00000", "x") is None


def test_a_name_that_is_no_marker_of_ours_is_no_part(store):
    PartWriter(store, part_name("counts", 3, ""), "x").commit(1)
    for name in ("part-00000 (1)", "part-", "part-x", "part-00003.bak", "shard-00001"):
        store.write(f"counts/{name}.done.json", b"{}")
    store.write(f"{part_name('counts', 4, '')}.done.json", b"[" * 100_000)
    assert part_indices(store, "counts") == [3, 4]
    assert finished(store, part_name("counts", 4, ""), "x") is None


def test_starting_a_part_again_withdraws_its_marker(store):
    PartWriter(store, "samples/part-00000", "x").commit(0)
    PartWriter(store, "samples/part-00000", "x")
    assert finished(store, "samples/part-00000", "x") is None


def test_another_major_version_and_damaged_parquet_are_refused(store):
    with store.create("old.parquet") as path:
        pa.parquet.write_table(TABLE.replace_schema_metadata({"schema_version": "9.0"}), path)
    with pytest.raises(BadInput, match=r"schema version 9\.0"):
        read_table(store, "old.parquet")
    store.write("bad.parquet", b"PAR1 not really")
    with pytest.raises(BadInput, match="unreadable parquet"):
        read_table(store, "bad.parquet")
    with pytest.raises(BadInput, match="no such file"):
        read_table(store, "none.parquet")
