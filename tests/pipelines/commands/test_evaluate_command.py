"""`assay evaluate retrieval` on pictures and captions in files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from filters.encoders.uri import load_encoder
from filters.errors import BadInput
from pipelines.commands.evaluate import PictureFolder, app


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


def test_large_jpegs_are_decoded_at_half_their_size_and_the_figures_say_so(data, monkeypatch):
    """builtin:mini wants 672 pixels of the shorter side: half of 1400 is enough, half of 1300 is not."""
    colours = {"large.jpg": "green", "medium.jpg": "yellow", "large.png": "purple"}
    for name, colour in colours.items():
        side = 1300 if name == "medium.jpg" else 1400
        Image.new("RGB", (2000, side), colour).save(data / "images" / name)
    captions = json.loads((data / "captions.json").read_text())
    captions |= {name: [f"a {colour} wall", colour] for name, colour in colours.items()}
    (data / "captions.json").write_text(json.dumps(captions))
    sizes, decoded = {}, PictureFolder.__getitem__

    def watched(folder, name):
        picture = decoded(folder, name)
        sizes[name] = picture.size
        return picture

    monkeypatch.setattr(PictureFolder, "__getitem__", watched)
    found = json.loads(run(data, "--json").stdout)
    assert found["images"] == 6
    assert found["jpeg_side"] == 672
    assert {name: sizes[name] for name in colours} == {
        "large.jpg": (1000, 700),
        "medium.jpg": (2000, 1300),
        "large.png": (2000, 1400),
    }
    assert sizes["b.jpg"] == (64, 48)


def test_half_size_jpegs_give_the_vectors_of_whole_ones(data):
    noise = np.random.default_rng(3).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((2000, 1500), Image.Resampling.BICUBIC).save(data / "images" / "b.jpg", quality=90)
    folder, encoder = PictureFolder(data / "images", ["b.jpg"]), load_encoder("builtin:mini", threads=1)
    whole = folder["b.jpg"]
    folder.draft_side = encoder.draft_side()
    half = folder["b.jpg"]
    assert (whole.size, half.size) == ((2000, 1500), (1000, 750))
    first, second = encoder.encode_images([whole, half])
    assert first @ second > 0.995


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
