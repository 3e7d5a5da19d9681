"""`assay evaluate dedup` measures known groups, and says in one line what is wrong with its input."""

import json
import sys

import pytest
from making import picture
from PIL import Image, ImageOps

from pipelines.commands.main import invoke


@pytest.fixture
def folder(tmp_path):
    """Three pictures: the first also as JPEG, flipped, and packed anew; one file is broken."""
    images = tmp_path / "images"
    images.mkdir()
    for seed in range(3):
        (images / f"{seed}.png").write_bytes(picture(seed + 4, (256, 200)))
    first = Image.open(images / "0.png")
    first.save(images / "0.jpg", quality=80)
    first.save(images / "0-again.png", compress_level=0)
    ImageOps.mirror(first).save(images / "0-flip.png")
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no more")
    names = {"0.png": "a", "0.jpg": "a", "0-again.png": "a", "0-flip.png": "a", "1.png": "b", "2.png": "c"}
    (tmp_path / "truth.csv").write_text(
        "file,group\n" + "".join(f"{n},{g}\n" for n, g in names.items()) + "broken.png,d\n"
    )
    return tmp_path


def evaluate(folder, *more):
    return invoke(
        ["evaluate", "dedup", "--images", str(folder / "images"), "--truth", str(folder / "truth.csv"), *more]
    )


def test_figures_by_method_and_together(folder, capsys):
    assert evaluate(folder, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["pictures"], result["groups"], result["pairs"], result["failed"]) == (6, 3, 6, 1)
    by_method = result["by_method"]
    assert by_method["pixels"]["found"] == 1
    assert by_method["sha256"]["precision"] is None
    assert by_method["phash"]["recall"] == 0.5
    assert by_method["pdq_dihedral"]["recall"] == 1.0
    assert (result["recall"], result["precision"]) == (1.0, 1.0)


def test_a_recipe_gives_bounds_and_model(folder, capsys):
    recipe = folder / "recipe.yaml"
    body = "{name: r, input: {kind: folder, path: x}, duplicates: {pdq_distance: null, cosine: 0.9}}"
    recipe.write_text(body)
    assert evaluate(folder, "--recipe", str(recipe), "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result["by_method"]) == {"sha256", "pixels", "phash", "embedding"}
    assert result["model"] == "builtin:mini"
    recipe.write_text("{name: r, input: {kind: folder, path: x}, duplicates: null}")
    assert evaluate(folder, "--recipe", str(recipe)) == 2


def test_the_plain_answer_names_every_method(folder, capsys):
    assert evaluate(folder) == 0
    out = capsys.readouterr().out
    assert "6 pictures in 3 groups, 6 true pairs; failed: 1" in out
    assert "together  recall 1.000  precision 1.000" in out


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (b"", "must name the columns"),
        (b"file,label\n0.png,1\n", "must name the columns"),
        (b"file,group\n", "names no picture"),
        (b"file,group\n0.png\n", "line 2: no group"),
        (b"file,group\n0.png,a\n0.png,b\n", "stands twice"),
        (b"file,group\nnone.png,a\n", "are not in"),
        (b"file,group\n../truth.csv,a\n", "lies outside"),
        (b"file,group\n\x00.png,a\n", "no file name" if sys.version_info >= (3, 11) else "line contains NUL"),
        (b"file,group\n\xff.png,a\n", "is not CSV in UTF-8"),
        (b"file,group\nbroken.png,a\n", "none of the 1 pictures could be decoded"),
        (b'file,group\n"0.png,a\n', "is not CSV"),
    ],
)
def test_bad_truth_is_one_line_and_exit_code_2(folder, capsys, truth, message):
    (folder / "truth.csv").write_bytes(truth)
    assert evaluate(folder) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1


def test_a_missing_folder_is_one_line(folder, capsys):
    assert invoke(["evaluate", "dedup", "--images", "nowhere", "--truth", str(folder / "truth.csv")]) == 2
    assert "no folder at nowhere" in capsys.readouterr().err
