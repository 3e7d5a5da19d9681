"""The mark in the noise from the outside: `assay verify --model` with the checkpoint that made the picture."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hallmarking import encode, pixels_of
from PIL import Image

from pipelines.commands.main import invoke
from training.hallmark.gaussian_shading import ALGORITHM
from training.hallmark.noise_mark import ladder, recovered, sizes
from training.hallmark.registry import open_register
from training.sampling.model import Running, load_model, newest


@pytest.fixture(scope="session")
def checkpoint(generation):
    """The loaded checkpoint that made the pictures."""
    return load_model(newest(generation / "model"), Running(device="cpu"))


@pytest.fixture
def look(generation, tmp_path, capsys):
    """Verify some bytes, with the checkpoint unless told otherwise; return exit code and report."""

    def run(data, name="x.png", model=True, key=None, register=None):
        (tmp_path / name).write_bytes(data)
        capsys.readouterr()
        command = ["verify", str(tmp_path / name), "--json", "--trust", str(generation / "keys" / "root.pem")]
        command += ["--registry", str(register or generation / "out" / "hallmarks.sqlite")]
        command += ["--watermark-key", str(key or generation / "keys" / "watermark.key")]
        code = invoke([*command, *(["--model", str(generation / "model")] if model else [])])
        (report,) = json.loads(capsys.readouterr().out)
        return code, report

    return run


@pytest.fixture
def picture(generation):
    """One generated file."""
    return (generation / "out" / "p00000-s0.png").read_bytes()


def in_noise(report):
    return next(one for one in report["watermarks"] if one["algorithm"] == ALGORITHM)


def test_the_mark_is_found_with_the_checkpoint_and_names_the_picture(look, picture):
    code, report = look(picture)
    assert (code, report["problems"]) == (0, [])
    found = in_noise(report)
    assert found["found"]
    assert found["id"] == report["id"]
    assert 0 < found["fpr"] <= 1e-6
    assert not any("not looked for" in note for note in report["notes"])


def test_without_the_checkpoint_it_is_said_that_nobody_looked(look, picture):
    code, report = look(picture, model=False)
    assert code == 0
    assert not report["watermark"]["found"]
    assert any("mark in the noise was not looked for" in note and "--model" in note for note in report["notes"])


def test_a_stripped_file_is_recovered_through_its_noise(look, picture):
    code, report = look(encode(pixels_of(picture), "JPEG", quality=90), "x.jpg")
    assert (code, report["credential"]) == (3, "none")
    assert in_noise(report)["found"]
    assert report["recovery"]["state"] == "recovered, content altered"
    assert report["id"] == in_noise(report)["id"]


def test_mirrored_and_resized_pictures_are_found_too(look, picture):
    pixels = pixels_of(picture)
    _, report = look(encode(np.ascontiguousarray(pixels[:, ::-1])))
    assert in_noise(report)["flipped"]
    larger = Image.fromarray(pixels).resize((100, 100), Image.Resampling.BICUBIC)
    _, report = look(encode(np.asarray(larger)))
    assert in_noise(report)["found"]


def test_a_mark_transplanted_onto_another_picture_is_told(look, picture, checkpoint, photo):
    # This checkpoint works on pixels, so a forger can simply add the noise to another picture.
    noise = recovered(checkpoint, pixels_of(picture)).transpose(1, 2, 0)
    forged = np.clip(photo[100:164, 100:164] + 25 * noise, 0, 255).astype(np.uint8)
    code, report = look(encode(forged))
    assert (code, report["credential"], report["dataset"]) == (3, "none", None)
    assert in_noise(report)["found"]
    assert report["recovery"]["state"] == "transplanted mark"


def test_unmarked_pictures_and_other_owners_find_nothing(look, picture, photo, tmp_path):
    code, report = look(encode(np.ascontiguousarray(photo[:64, :64])))
    assert code == 3
    assert in_noise(report)["found"] is False
    assert in_noise(report)["fpr"] > 1e-6
    (tmp_path / "other.key").write_text("ab" * 32)
    _, report = look(encode(pixels_of(picture)), key=tmp_path / "other.key")
    assert in_noise(report)["found"] is False
    with open_register(str(tmp_path / "empty"), create=True):
        pass
    _, report = look(encode(pixels_of(picture)), register=tmp_path / "empty")
    assert in_noise(report) == {"found": False, "id": None, "fpr": 1.0, "algorithm": ALGORITHM, "flipped": False}


def test_only_pictures_of_that_checkpoint_are_candidates(generation, checkpoint):
    with open_register(str(generation / "out" / "hallmarks.sqlite")) as register:
        assert len(list(register.nonces(checkpoint.identity))) == 2
        assert list(register.nonces("0" * 64)) == []


@pytest.mark.parametrize(
    ("leave_out", "words"), [("--watermark-key", "takes their secret"), ("--registry", "name their register")]
)
def test_a_search_without_secret_or_register_is_refused(generation, leave_out, words, capsys, monkeypatch):
    for name in ("ASSAY_WATERMARK_KEY", "ASSAY_HALLMARKS"):
        monkeypatch.delenv(name, raising=False)
    options = {
        "--watermark-key": str(generation / "keys" / "watermark.key"),
        "--registry": str(generation / "out" / "hallmarks.sqlite"),
        "--model": str(generation / "model"),
    }
    del options[leave_out]
    more = [part for pair in options.items() for part in pair]
    assert invoke(["verify", str(generation / "out" / "p00000-s0.png"), *more]) == 2
    assert words in capsys.readouterr().err


def test_without_the_training_packages_one_line_says_so(generation):
    script = (
        "import importlib.util, sys\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'diffusers' else real(name, *more)\n"
        "from pipelines.commands.main import invoke\n"
        "sys.exit(invoke(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", script, "verify", str(generation / "out" / "p00000-s0.png")]
    command += ["--watermark-key", str(generation / "keys" / "watermark.key"), "--model", str(generation / "model")]
    command += ["--registry", str(generation / "out" / "hallmarks.sqlite")]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True)
    assert done.returncode == 2
    assert "assay-data[train]" in done.stderr
    assert "Traceback" not in done.stderr


def test_sizes_are_those_that_the_checkpoint_can_do(checkpoint):
    assert sizes(checkpoint, 64, 64) == [(64, 64)]
    assert sizes(checkpoint, 128, 128) == [(128, 128), (64, 64)]
    assert all(w % checkpoint.multiple == h % checkpoint.multiple == 0 for w, h in sizes(checkpoint, 333, 77))
    # A huge picture is only looked at in the training's size.
    assert sizes(checkpoint, 30_000, 30_000) == [(64, 64)]
    assert sizes(checkpoint, 60_000, 1) == [] or all(w * h < 2**24 for w, h in sizes(checkpoint, 60_000, 1))


def test_levels_run_from_clean_to_noise(checkpoint):
    levels = ladder(checkpoint, 5)
    assert len(levels.signal) == len(levels.noise) == len(levels.names) == 6
    assert (levels.signal[0], levels.noise[0]) == (1.0, 0.0)
    assert list(levels.noise) == sorted(levels.noise)


def test_rectified_flow_has_levels_and_noise_too(tmp_path):
    from tiny import run, tiny

    run(tiny("loop.steps=2", "objective.prediction=flow"), tmp_path)
    model = load_model(newest(tmp_path), Running(device="cpu"))
    levels = ladder(model, 5)
    assert np.allclose(np.add(levels.signal, levels.noise), 1)
    assert np.allclose(levels.names, np.multiply(levels.noise, 1000), atol=1e-3)
    assert (levels.noise[0], levels.prediction) == (0.0, "flow")
    assert levels.noise[-1] == pytest.approx(1.0)
    noise = recovered(model, np.full((16, 16, 3), 90, np.uint8))
    assert noise.shape == (4, 8, 8)
    assert np.isfinite(noise).all()
