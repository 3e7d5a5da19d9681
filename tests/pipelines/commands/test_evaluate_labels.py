"""`assay evaluate watermark` and `assay evaluate nsfw` on labelled pictures in files."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from typer.testing import CliRunner

from filters.errors import BadInput
from filters.evaluation_labels import separation
from pipelines.commands.evaluate import app


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    lines = ["file,label"]
    for at, colour in enumerate(("navy", "darkgreen", "maroon", "indigo")):
        image = Image.new("RGB", (320, 240), colour)
        if at % 2:
            ImageDraw.Draw(image).text((40, 100), "shutterstock", (150, 150, 150), ImageFont.load_default(40))
        image.save(folder / f"{at}.png")
        lines.append(f"{at}.png,{at % 2}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def run(data, command="watermark", *more):
    options = [command, "--images", str(data / "images"), "--labels", str(data / "labels.csv")]
    return CliRunner().invoke(app, [*options, *more])


def refused(data, *more):
    result = run(data, *more)
    assert isinstance(result.exception, BadInput), result
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_watermark_has_the_documented_keys(data):
    (data / "images" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (data / "images" / "note.txt").write_text("no picture")
    with (data / "labels.csv").open("a") as stream:
        stream.write("broken.png,1\nnote.txt,0\n")
    result = run(data, "watermark", "--json")
    assert result.exit_code == 0, result.exception
    found = json.loads(result.stdout)
    assert (found["images"], found["positives"], found["negatives"]) == (4, 2, 2)
    assert (found["auc"], found["tpr@fpr=0.01"], found["tpr"], found["fpr"]) == (1.0, 1.0, 1.0, 0.0)
    assert 0 <= found["threshold"] < found["bound"] < 1
    assert found["failures"] == {"DECODE_ERROR": 1, "UNSUPPORTED_FORMAT": 1}
    assert found["model"].startswith("pp-ocrv6")
    assert "auc 1.000" in run(data).stdout


def test_a_caption_column_is_used(data):
    rows = (data / "labels.csv").read_text().splitlines()
    captions = [f'{row},"the word shutterstock, printed"' for row in rows[1:]]
    (data / "labels.csv").write_text("\n".join([rows[0] + ",caption", *captions]))
    assert json.loads(run(data, "watermark", "--json").stdout)["tpr"] == 0.0


def test_nsfw_has_the_documented_keys(data):
    found = json.loads(run(data, "nsfw", "--json").stdout)
    assert {"auc", "tpr@fpr=0.01", "threshold", "fpr", "tpr", "bound", "column"} <= set(found)
    assert (found["column"], found["bound"], found["fpr"]) == ("nsfw", 0.8, 0.0)
    assert "column" in refused(data, "nsfw", "--column", "other")


@pytest.mark.skipif(importlib.util.find_spec("nudenet") is None, reason="the optional package nudenet is absent")
def test_nsfw_with_the_second_detector(data):
    found = json.loads(run(data, "nsfw", "--json", "--column", "nsfw_combined", "--bound", "0.5").stdout)
    assert (found["column"], found["bound"]) == ("nsfw_combined", 0.5)
    assert found["model"].startswith("nudenet")


def test_bad_input(data):
    labels = data / "labels.csv"
    for text, said in (
        ("", "file,label"),
        ("name,label\na,1\n", "file,label"),
        ("file,label\n", "labels no picture"),
        ("file,label\n0.png,yes\n", "line 2"),
        ("file,label\n0.png\n", "line 2"),
        ("file,label\n,1\n", "no file"),
        ("file,label\n0.png,1\n0.png,0\n", "twice"),
        ("file,label\n0.png,1\nabsent.png,0\n", "absent.png"),
        ("file,label\n../labels.csv,1\n", "outside"),
        ("file,label\n0.png,1\n1.png,1\n", "both labels"),
        ("file,label\n" + "a" * 5000 + ",1\n", "file name"),
    ):
        labels.write_text(text)
        assert said in refused(data), text[:60]
    labels.write_bytes(b"file,label\n\xff\xfe,1\n")
    assert "UTF-8" in refused(data)
    labels.unlink()
    assert "cannot read" in refused(data)
    labels.write_text("file,label\n0.png,1\n")
    (data / "images").rename(data / "moved")
    assert "no folder" in refused(data)


def test_separation_counts_ties_half_and_keeps_what_equals_the_threshold():
    found = separation(np.array([0.5, 0.9]), np.array([0.5, 0.1]))
    assert found == {"auc": 0.875, "tpr@fpr=0.01": 0.5, "threshold": 0.5}
    # 200 negatives: two may lie above.
    negative = np.arange(200) / 200
    found = separation(np.array([0.985, 0.9851, 0.2]), negative)
    assert found["threshold"] == pytest.approx(197 / 200)
    assert (negative > found["threshold"]).mean() == pytest.approx(0.01)
    assert found["tpr@fpr=0.01"] == pytest.approx(1 / 3)
