"""A tar is read record by record, and whatever is lost of it is shown."""

import io
import tarfile

import pytest
from making import picture, sample, write_tar

from filters.errors import BadInput
from filters.reasons import Reason
from pipelines.sources.base import ReadLimits
from pipelines.sources.webdataset import WebDatasetSource, split_name

LIMITS = ReadLimits(1 << 20, 1 << 10, 1 << 10)


def read(path):
    source = WebDatasetSource(str(path))
    return [record for shard in source.shards() for record in source.records(shard, LIMITS)]


def test_records_come_in_order_with_their_bytes(tmp_path):
    write_tar(tmp_path / "b.tar", sample(2))
    write_tar(tmp_path / "a.tar", sample(0), sample(1))
    records = read(tmp_path)
    assert [r.key for r in records] == ["s00000", "s00001", "s00002"]
    assert [r.image for r in records] == [picture(i) for i in range(3)]
    assert records[1].caption == b"drawing number 1 of a thing"


def test_compressed_tars_and_globs_are_read(tmp_path):
    write_tar(tmp_path / "a.tar", sample(0))
    import gzip

    (tmp_path / "b.tar.gz").write_bytes(gzip.compress((tmp_path / "a.tar").read_bytes()))
    assert [r.image for r in read(f"{tmp_path}/*.tar*")] == [picture(0)] * 2


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_a_truncated_tar_gives_its_whole_records_and_one_unreadable_row(tmp_path, keep):
    path = write_tar(tmp_path / "a.tar", *(sample(i) for i in range(8)))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data.rstrip(b"\0")) * keep)])
    records = read(path)
    assert records[-1].failure is Reason.UNREADABLE_SHARD
    assert [r.image for r in records[:-1]] == [picture(i) for i in range(len(records) - 1)]


def test_a_cut_at_a_block_boundary_shows_too(tmp_path):
    path = write_tar(tmp_path / "a.tar", sample(0), sample(1))
    with tarfile.open(path) as archive:
        second = archive.getmember("s00001.png")
    path.write_bytes(path.read_bytes()[: second.offset])
    assert [r.failure for r in read(path)] == [None, Reason.UNREADABLE_SHARD]


def test_a_broken_header_in_the_middle_is_not_taken_for_the_end(tmp_path):
    path = write_tar(tmp_path / "a.tar", *(sample(i) for i in range(3)))
    with tarfile.open(path) as archive:
        offset = archive.getmember("s00001.png").offset
    data = bytearray(path.read_bytes())
    data[offset : offset + 512] = b"\xff" * 512
    path.write_bytes(bytes(data))
    records = read(path)
    assert [r.failure for r in records] == [None, Reason.UNREADABLE_SHARD]
    assert "broken header" in (records[-1].detail or "")


def test_data_after_the_end_marker_is_not_lost_silently(tmp_path):
    a, b = write_tar(tmp_path / "a.tar", sample(0)), write_tar(tmp_path / "b.tar", sample(1))
    a.write_bytes(a.read_bytes() + b.read_bytes())
    b.unlink()
    records = read(tmp_path)
    assert [r.failure for r in records] == [None, Reason.UNREADABLE_SHARD]
    assert "after the end" in (records[-1].detail or "")


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100, b"\x1f\x8bnot gzip"])
def test_what_is_no_tar_is_one_unreadable_row(tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    assert [r.failure for r in read(tmp_path)] == [Reason.UNREADABLE_SHARD]


@pytest.mark.parametrize("name", ["../evil.png", "/etc/evil.png", "a/../../evil.png"])
def test_paths_that_leave_the_archive_are_refused_unread(tmp_path, name):
    write_tar(tmp_path / "a.tar", {name: picture(1)}, sample(2))
    records = read(tmp_path)
    assert [(r.failure, r.image is None) for r in records] == [(Reason.UNSAFE_PATH, True), (None, False)]


def test_links_are_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert [r.failure for r in read(tmp_path)] == [Reason.UNSAFE_PATH]


def test_a_member_twice_becomes_a_record_of_its_own(tmp_path):
    write_tar(tmp_path / "a.tar", sample(1, key="same"), sample(2, key="same"))
    assert [(r.key, r.image) for r in read(tmp_path)] == [("same", picture(1)), ("same", picture(2))]


def test_fields_beyond_their_limit_are_cut_one_byte_behind_it(tmp_path):
    write_tar(tmp_path / "a.tar", sample(1, caption=b"x" * (10 << 20)), sample(2))
    records = read(tmp_path)
    assert len(records[0].caption or b"") == LIMITS.caption + 1
    assert records[1].image == picture(2)


def test_names_split_at_the_first_dot_of_the_last_part():
    assert split_name("a.b/c.seg.PNG") == ("a.b/c", "seg.png")
    assert split_name("README") == ("README", "")


@pytest.mark.parametrize("missing", ["nowhere", "nowhere/*.tar", ""])
def test_missing_or_empty_input_is_one_line(tmp_path, missing):
    with pytest.raises(BadInput) as error:
        read(f"{tmp_path}/{missing}")
    assert "\n" not in str(error.value)


def test_pax_names_with_any_bytes_do_not_stop_the_reader(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        member = tarfile.TarInfo("caf\xe9\xff.png")
        member.size = len(picture(1))
        archive.addfile(member, io.BytesIO(picture(1)))
    assert [r.image for r in read(tmp_path)] == [picture(1)]
