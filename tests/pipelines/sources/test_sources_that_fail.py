"""What fails in the store is no property of the input; what is wrong with a file stays a row."""

import gzip
import os
import random
import shutil

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from making import sample, write_tar

from filters.errors import BadInput
from filters.reasons import Reason
from pipelines.run import steady
from pipelines.run.recipe import FieldNames
from pipelines.sources.base import ReadLimits
from pipelines.sources.folder import FolderSource
from pipelines.sources.listing import find_files
from pipelines.sources.urllist import read_list
from pipelines.sources.webdataset import WebDatasetSource

LIMITS = ReadLimits(1 << 20, 1 << 10, 1 << 10)


class Unsteady(LocalFileSystem):
    """A local folder as `unsteady://`, of whose calls and reads `share` fails."""

    protocol = "unsteady"
    share = 0.3
    cachable = False
    draw = random.Random(5)

    @classmethod
    def _strip_protocol(cls, path):
        return LocalFileSystem._strip_protocol(str(path).removeprefix("unsteady://"))

    def unstrip_protocol(self, name):
        return f"unsteady://{name}"

    def maybe(self):
        if self.draw.random() < self.share:
            raise TimeoutError("no answer")

    def info(self, path, **settings):
        self.maybe()
        return super().info(path, **settings)

    def ls(self, path, detail=False, **settings):
        self.maybe()
        return LocalFileSystem().ls(path, detail=detail, **settings)

    def open(self, path, mode="rb", **settings):
        self.maybe()
        stream = open(path, mode)  # noqa: SIM115
        whole = stream.read

        class Read:
            """The file with failing reads."""

            tell, seek, close = stream.tell, stream.seek, stream.close

            def read(_, size=-1):
                self.maybe()
                return whole(size)

        return Read()


@pytest.fixture
def unsteady(monkeypatch):
    monkeypatch.setattr(steady, "PAUSES", (0.0,) * 9)
    fsspec.register_implementation("unsteady", Unsteady, clobber=True)
    monkeypatch.setattr(Unsteady, "share", 0.3)
    return Unsteady


def records(source):
    return [record for shard in source.shards() for record in source.records(shard, LIMITS)]


def inputs(folder):
    for number in range(12):
        for name, data in sample(number).items():
            (folder / "in" / f"f{number % 2}").mkdir(parents=True, exist_ok=True)
            (folder / "in" / f"f{number % 2}" / name).write_bytes(data)
    write_tar(folder / "tars" / "a.tar", *(sample(number) for number in range(12)))
    packed = gzip.compress((folder / "tars" / "a.tar").read_bytes())
    (folder / "tars" / "b.tar.gz").write_bytes(packed)


def test_failures_that_pass_cost_no_sample(tmp_path, unsteady):
    inputs(tmp_path)
    for source in (lambda place: FolderSource(f"{place}/in", 5), lambda place: WebDatasetSource(f"{place}/t*/*.tar*")):
        sound = records(source(tmp_path))
        assert {record.failure for record in sound} == {None}
        assert records(source(f"unsteady://{tmp_path}")) == sound


def test_a_store_that_is_gone_is_an_error_and_no_row(tmp_path, unsteady):
    inputs(tmp_path)
    (tmp_path / "list.csv").write_text("url\nhttp://a.test/1.png\n")
    for source in (FolderSource(f"unsteady://{tmp_path}/in", 5), WebDatasetSource(f"unsteady://{tmp_path}/tars")):
        unsteady.share = 0.0
        (shard, *_), unsteady.share = source.shards(), 1.0
        with pytest.raises(steady.StoreFailed, match="no answer"):
            list(source.records(shard, LIMITS))
        with pytest.raises(steady.StoreFailed, match="no answer"):
            source.shards()
    with pytest.raises(steady.StoreFailed, match="no answer"):
        list(read_list(f"unsteady://{tmp_path}/list.csv", FieldNames(), 1000))


def test_a_folder_that_fails_in_a_listing_is_never_left_out(tmp_path, unsteady, monkeypatch):
    inputs(tmp_path)
    found = [find_files(f"unsteady://{tmp_path}/in{more}", (".png",))[2] for more in ("", "/*/*.png", "/**/*.png")]
    assert [len(paths) for paths in found] == [12, 12, 12]

    def broken(self, path, **settings):
        raise TimeoutError("no answer")

    unsteady.share = 0.0
    monkeypatch.setattr(Unsteady, "ls", broken)
    with pytest.raises(steady.StoreFailed):
        find_files(f"unsteady://{tmp_path}/in", (".png",))


def test_a_file_that_is_gone_or_broken_stays_a_row(tmp_path):
    inputs(tmp_path)
    (tmp_path / "tars" / "b.tar.gz").write_bytes((tmp_path / "tars" / "b.tar.gz").read_bytes()[:-5000])
    source = WebDatasetSource(str(tmp_path / "tars"))
    shards = source.shards()
    (tmp_path / "tars" / "a.tar").unlink()
    found = [[record.failure for record in source.records(shard, LIMITS)] for shard in shards]
    assert found[0] == [Reason.UNREADABLE_SHARD]
    assert found[1][-1] is Reason.UNREADABLE_SHARD
    assert found[1][0] is None
    (tmp_path / "in" / "f0" / "s00000.png").unlink()
    (tmp_path / "in" / "f0" / "s00000.png").symlink_to("nowhere")
    failed = [record.key for record in records(FolderSource(str(tmp_path / "in"), 5)) if record.failure]
    assert failed == ["f0/s00000"]


@pytest.mark.parametrize("emptied", [True, False])
def test_an_input_that_is_gone_as_a_whole_is_an_error_and_no_row(tmp_path, emptied):
    inputs(tmp_path)
    sources = {"in/f0": FolderSource(str(tmp_path / "in" / "f0"), 5), "tars": WebDatasetSource(str(tmp_path / "tars"))}
    for name, source in sources.items():
        shards = source.shards()
        shutil.rmtree(tmp_path / name)
        if emptied:  # as the place of a disk that was unmounted
            (tmp_path / name).mkdir()
        with pytest.raises(steady.StoreFailed, match="gone, with all of its folder; bring the input back"):
            list(source.records(shards[0], LIMITS))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
def test_a_folder_that_may_not_be_listed_is_told(tmp_path):
    inputs(tmp_path)
    (tmp_path / "in" / "f0").chmod(0)
    with pytest.raises(BadInput, match=r"cannot read the input .*Permission denied"):
        FolderSource(str(tmp_path / "in"), 5).shards()
