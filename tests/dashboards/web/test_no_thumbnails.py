"""A run whose recipe keeps no thumbnails is the same dataset, and its pages and report do without them."""

import io
import json
import tarfile

import pytest
from web_clients import client_for
from web_real_run import drawing, encoded

from pipelines.commands.main import invoke
from pipelines.run.directory import open_run
from pipelines.run.manifest import read_manifest, verify


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs over the same twelve drawings, one of them without thumbnails."""
    folder = tmp_path_factory.mktemp("bare")
    with tarfile.open(folder / "in.tar", "w") as archive:
        for number in range(12):
            for suffix, data in (("png", encoded(drawing(number))), ("txt", b"a drawing of %d things" % number)):
                member = tarfile.TarInfo(f"{number:03d}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    recipe = {"name": "bare", "input": {"kind": "webdataset", "path": "in.tar"}, "scorers": ["size", "hashes"]}
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    for name, wanted in (("with", "true"), ("without", "false")):
        command = ["run", str(folder / "recipe.yaml"), "--out", str(folder / "runs" / name), "--runner", "plain"]
        assert invoke([*command, "--set", f"thumbnails={wanted}"]) == 0
    return folder


def thumbnails(run):
    with run.store.open("thumbnails/part-00000.tar") as stream, tarfile.open(fileobj=stream) as archive:
        return archive.getnames()


def test_the_dataset_is_the_same(folder):
    pictured, bare = (open_run(str(folder / "runs" / name)) for name in ("with", "without"))
    assert len(thumbnails(pictured)) == 12
    assert thumbnails(bare) == []
    assert verify(bare) == []
    assert read_manifest(bare)["content_hash"] == read_manifest(pictured)["content_hash"]


def test_pages_name_no_picture_that_is_not_there(folder, tmp_path):
    with client_for(folder / "runs", tmp_path) as client:
        assert client.get("/runs/with/samples").text.count("/thumbs/") == 12
        page = client.get("/runs/without/samples").text
        assert "/thumbs/" not in page
        assert page.count("No picture") == 12
        uid = client.get("/api/runs/without/samples").json()["samples"][0]["uid"]
        assert "/thumbs/" not in client.get(f"/runs/without/samples/{uid}").text
