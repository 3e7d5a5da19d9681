"""`assay generate` with a student: its teacher's pictures are guarded as its own are."""

import json

import pytest
from method_runs import METHOD
from training_runs import drawing

from pipelines.commands.main import invoke
from training.sampling.refusals import LOG


@pytest.fixture(scope="module")
def student(pixel_training, subject, tmp_path_factory):
    """A student of the pixel checkpoint, trained by the command on that other run."""
    folder = tmp_path_factory.mktemp("student")
    (folder / "student.yaml").write_text(METHOD.format(kind="consistency", base=pixel_training))
    arguments = ["train", str(folder / "student.yaml"), "--data", str(subject / "run"), "--out", str(folder / "model")]
    assert invoke([*arguments, "--set", "data.buckets.resolution=64", "--set", "loop.steps=2"]) == 0
    return folder / "model"


@pytest.fixture
def asked(student, subject, keys, tmp_path):
    """Arguments of a picture that keeps a starting picture as it is; more may be added."""

    def of(picture, *more):
        (tmp_path / "start.png").write_bytes(picture)
        start = ["--image", str(tmp_path / "start.png"), "--strength", "0", "--prompt", "a drawing"]
        named = ["generate", str(student), *start, "--out", str(tmp_path / "out"), "--run", str(subject / "run")]
        return [*named, "--keys", str(keys), "--device", "cpu", *map(str, more)]

    return of


def test_the_teachers_dataset_is_asked_for_unless_guards_are_waived(asked, subject, tmp_path, capsys):
    assert invoke(asked(drawing(27))) == 2
    assert "--base-run" in capsys.readouterr().err
    assert invoke(asked(drawing(27), "--base-run", subject / "run")) == 2
    assert "no dataset that a base of the checkpoint was trained on" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.png"))


def test_a_copy_of_a_picture_that_only_the_teacher_saw_is_not_written(asked, looks_dataset, tmp_path):
    assert invoke(asked(drawing(27), "--base-run", looks_dataset / "run")) == 3
    (line,) = [json.loads(line) for line in (tmp_path / "out" / LOG).read_text().splitlines()]
    assert line["code"] == "LOOKS_LIKE_TRAINING"
    assert len(json.loads((tmp_path / "out" / "seen-base-1.json").read_text())["codes"]) == 60


@pytest.mark.parametrize(("waived", "said"), [(False, b"compared"), (True, b"not compared")])
def test_a_credential_says_whether_the_teachers_pictures_were_compared(
    asked, looks_dataset, photo_file, tmp_path, waived, said
):
    more = ["--fewer-guards"] if waived else ["--base-run", str(looks_dataset / "run")]
    assert invoke([*asked(photo_file.read_bytes(), *more), "--size", "128x128"]) == 0
    data = (tmp_path / "out" / "p00000-s0.png").read_bytes()
    assert b"base_looks" + bytes([0x60 + len(said)]) + said in data
