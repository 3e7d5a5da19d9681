"""`assay evaluate retrieval` on pictures and captions in files."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from filters.errors import BadInput
from pipelines.commands.evaluate import app


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    captions = {}
    for name, colour in (("a.png", "red"), ("b.jpg", "blue"), ("c.png", "white")):
        Image.new("RGB", (64, 48), colour).save(folder / name)
        captions[name] = [f"a {colour} wall", colour]
    (folder / "ignored.txt").write_text("not captioned")
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    return tmp_path


def run(data, *more):
    options = ["retrieval", "--images", str(data / "images"), "--captions", str(data / "captions.json")]
    return CliRunner().invoke(app, [*options, *more])


def refused(data):
    result = run(data)
    assert isinstance(result.exception, BadInput), result
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_json_has_the_documented_keys(data):
    result = run(data, "--json", "--model", "builtin:mini")
    assert result.exit_code == 0, result.exception
    found = json.loads(result.stdout)
    assert found["images"] == 3
    assert found["captions"] == 6
    assert {"r@1", "r@5", "r@10", "auc", "ms_per_image"} <= set(found)
    assert found["r@5"] == 1.0
    assert "auc" in run(data).stdout


def test_bad_input(data):
    captions, folder = data / "captions.json", data / "images"
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    assert "a.png" in refused(data)
    (folder / "a.png").unlink()
    assert "a.png" in refused(data)
    for text in ("{", "[]", '{"b.jpg": "text"}', '{"b.jpg": []}', '{"b.jpg": [1]}', "{}"):
        captions.write_text(text)
        refused(data)
    captions.write_bytes(b"\xff\xfe")
    assert "not JSON" in refused(data)
    captions.write_text(json.dumps({"../captions.json": ["outside"], "b.jpg": ["blue"]}))
    assert "outside" in refused(data)
    captions.unlink()
    assert "cannot read" in refused(data)
    captions.write_text('{"b.jpg": ["blue"]}')
    folder.rename(data / "moved")
    assert "no folder" in refused(data)


def test_bad_model(data):
    assert isinstance(run(data, "--model", "open-clip:ViT-B-32").exception, BadInput)
