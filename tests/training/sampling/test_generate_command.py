"""`assay generate` from the outside: what it writes is ours, and what it must not write is not there."""

import json
import os
import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from making import assay_command
from PIL import Image
from training_runs import copy_run, drawing

from filters.optout.entries import Draft, Kind
from filters.scorers.pdq import pdq_hash
from pipelines.commands.main import invoke
from pipelines.registry.store import open_registry
from pipelines.run.directory import open_run
from training.hallmark.registry import open_register
from training.hallmark.verify import Verifier
from training.sampling.generate import RECORD
from training.sampling.refusals import LOG

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def asked(pixel_training, looks_dataset, keys, tmp_path):
    """Arguments of a small generation into `out` under the test's folder; more may be added."""

    def of(*more, run=looks_dataset / "run", prompts=("a drawing",)):
        texts = [part for prompt in prompts for part in ("--prompt", prompt)]
        named = ["--run", str(run)] if run else []
        arguments = ["generate", str(pixel_training), *texts, "--out", str(tmp_path / "out"), *named]
        return [*arguments, "--keys", str(keys), "--steps", "2", "--device", "cpu", *map(str, more)]

    return of


def report(path, keys, run=None, register=None):
    """What `assay verify` says of a file."""
    anchors = (keys / "root.pem").read_text()
    found = open_register(str(register)) if register else None
    try:
        return Verifier(anchors, registry=found, run=run).verify(str(path), path.read_bytes())
    finally:
        if found:
            found.close()


def pictures(folder):
    return sorted(path.name for path in folder.glob("*.png") if not path.name.startswith(".tmp-"))


def refused(folder):
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def test_a_picture_leaves_as_ours_and_leads_back_to_data_and_checkpoint(
    asked, keys, looks_dataset, pixel_training, tmp_path, capsys
):
    assert invoke(asked("--mark", "noise", "--count", 2, "--json", "--provider", "Example Lab")) == 0
    told = json.loads(capsys.readouterr().out)
    out = tmp_path / "out"
    assert pictures(out) == ["p00000-s0.png", "p00000-s1.png"]
    run = open_run(str(looks_dataset / "run"))
    for body in told["written"]:
        found = report(Path(body["file"]), keys, run, out / "hallmarks.sqlite")
        assert found.credential.verdict == "ours"
        assert found.ok, found.problems
        assert found.claim is not None
        assert found.claim.id == body["id"]
        facts = json.loads((pixel_training / "step-00000002" / "assay.json").read_text())
        assert (found.claim.checkpoint, found.claim.dataset) == (facts["checkpoint"], facts["datasets"][-1])
        assert [one.algorithm for one in found.claim.bindings] == ["org.assay-data.gaussian-shading.1"]
    assert str(looks_dataset) not in (out / "p00000-s0.png").read_bytes().decode("latin-1")


def test_a_picture_that_takes_the_mark_in_its_pixels_has_it(asked, keys, photo_file, tmp_path, capsys):
    more = ("--image", photo_file, "--strength", 0, "--size", "128x128", "--format", "png")
    assert invoke(asked(*more)) == 0
    arguments = ["verify", str(tmp_path / "out" / "p00000-s0.png"), "--trust", str(keys / "root.pem"), "--json"]
    capsys.readouterr()
    assert invoke([*arguments, "--watermark-key", str(keys / "watermark.key")]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["watermark"]["found"]
    data = (tmp_path / "out" / "p00000-s0.png").read_bytes()
    assert b"compositeWithTrainedAlgorithmicMedia" in data


def test_a_picture_that_takes_no_mark_is_not_written(asked, tmp_path, capsys):
    # two steps of training: what comes out is loud noise, in which no mark can be read back
    assert invoke(asked()) == 4
    assert pictures(tmp_path / "out") == []
    assert "MARKING_FAILED" in capsys.readouterr().err
    with open_register(str(tmp_path / "out" / "hallmarks.sqlite")) as register:
        assert register.count() == 0


def test_the_same_command_again_makes_only_what_is_missing(asked, tmp_path, capsys):
    command = asked("--mark", "noise", "--count", 2, "--json")
    assert invoke(command) == 0
    out = tmp_path / "out"
    before = (out / "p00000-s0.png").read_bytes()
    (out / "p00000-s1.png").unlink()
    capsys.readouterr()
    assert invoke(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["before"], len(told["written"])) == (1, 1)
    assert (out / "p00000-s0.png").read_bytes() == before
    assert invoke(asked("--mark", "noise", "--count", 2, "--guidance", 2)) == 2
    assert "use another --out" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["nothing", "folder", "another picture"])
def test_what_is_no_picture_of_ours_does_not_count_as_made(asked, tmp_path, capsys, what):
    command = asked("--mark", "noise")
    assert invoke(command) == 0
    path = tmp_path / "out" / "p00000-s0.png"
    made = path.read_bytes()
    path.unlink()
    if what == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"" if what == "nothing" else drawing(7))
    capsys.readouterr()
    assert invoke(command) == 2
    words = "not a file" if what == "folder" else "not a picture that the register"
    assert f"{path}: {words}" in capsys.readouterr().err.splitlines()[-1]
    path.rmdir() if what == "folder" else path.unlink()
    path.write_bytes(made)
    assert invoke(command) == 0
    assert path.read_bytes() == made


def test_a_prompt_with_a_denied_creator_is_sampled_by_nobody(asked, looks_dataset, tmp_path, capsys):
    copy = copy_run(looks_dataset, tmp_path / "own")
    with open_registry(str(copy / "registry.sqlite")) as registry:
        registry.append([Draft(kind=Kind.CREATOR, value="Jane Doe")])
    command = asked("--mark", "noise", run=copy / "run", prompts=("a drawing, Jane Doe", "a tree"))
    assert invoke(command) == 3
    out = tmp_path / "out"
    assert pictures(out) == ["p00001-s0.png"]
    (line,) = refused(out)
    assert (line["code"], line["file"], line["final"]) == ("NAMED_CREATOR", "p00000-s0.png", True)
    assert "jane doe" in line["detail"]
    assert b"a drawing" not in (out / LOG).read_bytes()
    assert invoke(command) == 3  # it stays refused
    assert len(refused(out)) == 1


def test_a_copy_of_a_training_sample_is_not_written(asked, tmp_path, capsys):
    (tmp_path / "copy.png").write_bytes(drawing(19))
    assert invoke(asked("--image", tmp_path / "copy.png", "--strength", 0)) == 3
    out = tmp_path / "out"
    assert pictures(out) == []
    (line,) = refused(out)
    assert line["code"] == "LOOKS_LIKE_TRAINING"
    assert "LOOKS_LIKE_TRAINING" in capsys.readouterr().err


def test_all_candidates_are_judged_and_the_best_is_kept(asked, keys, tmp_path, capsys):
    more = ("--mark", "noise", "--candidates", 3, "--select", "technical", "--json", "--batch", 2)
    assert invoke(asked(*more)) == 0
    (body,) = json.loads(capsys.readouterr().out)["written"]
    assert 0 <= body["candidate"] < 3
    assert set(body["scores"]) == {"technical"}
    assert report(tmp_path / "out" / "p00000-s0.png", keys).ok
    with open_register(str(tmp_path / "out" / "hallmarks.sqlite")) as register:
        assert register.count() == 1


def test_when_all_candidates_are_unsafe_each_refusal_is_logged(asked, tmp_path):
    more = ("--mark", "noise", "--candidates", 2, "--select", "technical", "--nsfw", 1e-6)
    assert invoke(asked(*more)) == 3
    assert [(line["code"], line["candidate"]) for line in refused(tmp_path / "out")] == [("NSFW", 0), ("NSFW", 1)]
    assert pictures(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--scheduler", "flow-euler"], "take ddpm"),
        (["--size", "63x64"], "multiples of"),
        (["--size", "big"], "write WIDTHxHEIGHT"),
        (["--steps", "0"], "1 to 1000"),
        (["--seed", "-1"], "0 to 2**53"),
        (["--count", "0"], "--count 0"),
        (["--candidates", "2"], "belong together"),
        (["--candidates", "2", "--select", "beauty"], "no such criterion"),
        (["--mask", "absent.png"], "needs a picture"),
        (["--image", "absent.png"], "cannot be read"),
        (["--precision", "fp16"], "needs a GPU"),
        (["--mark", "noise", "--scheduler", "ddpm"], "draws more noise"),
        (["--prompts", "absent.txt"], "cannot be read"),
        (["--registry", "absent.sqlite"], "absent.sqlite"),
        (["--nsfw", "0"], "above 0"),
        (["--batch", "0"], "1 to 4096"),
        (["--guidance", "nan"], "0 to 100"),
        (["--prompt", "half \ud800 a character"], "lone surrogate"),
        (["--negative", "x" * 10_001], "at most 10000"),
        (["--negative", "a dog", "--guidance", "1"], "--negative has no effect with guidance 1"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(asked, tmp_path, capsys, more, words):
    assert invoke(asked(*more)) == 2
    error = capsys.readouterr().err.splitlines()
    assert words in error[-1]
    assert not [path for path in tmp_path.glob("out/*") if path.suffix == ".png"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--candidates", "2", "--select", "technical,nope"], "--select nope: no such criterion"),
        (["--fair-axis", "nope"], "--fair-axis nope: no such direction"),
        (["--fair-axis", "brightness", "--fair-scale", "0"], "--fair-scale 0"),
        (["--image", "{page}"], "is no picture that can be read"),
        (["--image", "{picture}", "--mask", "{page}"], "is no picture that can be read"),
        (["--scheduler", "nope"], "nope"),
    ],
)
def test_wrong_names_and_files_are_told_alone_and_before_any_work(asked, tmp_path, capsys, more, words):
    (tmp_path / "page.yaml").write_bytes(b"\xff\xfe no picture")
    (tmp_path / "picture.png").write_bytes(drawing(3))
    places = {"page": tmp_path / "page.yaml", "picture": tmp_path / "picture.png"}
    assert invoke(asked(*(word.format(**places) for word in more))) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not (tmp_path / "out").exists()


def test_a_development_chain_is_told_with_the_pictures(asked, capsys):
    assert invoke(asked("--mark", "noise")) == 0
    assert "signed with a DEVELOPMENT chain" in capsys.readouterr().err


def test_a_compiled_denoiser_makes_the_same_pictures(asked, model, trained, tmp_path, monkeypatch):
    from torch._dynamo.utils import counters

    from training.sampling.model import Running, load_model
    from training.sampling.sample import Request, Sampler, Settings

    torch._dynamo.reset()
    # torch's tracer in front of plain operators: all of `torch.compile` but the minutes of generating code
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    before = counters["stats"]["unique_graphs"]
    assert invoke(asked("--mark", "noise", "--compile")) == 0
    assert counters["stats"]["unique_graphs"] > before
    assert pictures(tmp_path / "out") == ["p00000-s0.png"]
    settings, request = Settings("ddim", 2, 2.0, 16, 16), Request(["a cat"], [""], [7])
    compiled = load_model(trained("latent"), Running(device="cpu", compile=True))
    before = counters["stats"]["unique_graphs"]
    made = Sampler(compiled, settings).sample(request)
    assert counters["stats"]["unique_graphs"] > before
    assert (made == Sampler(model("latent"), settings).sample(request)).all()


def test_a_folder_that_cannot_be_made_is_one_line(asked, tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    assert invoke(asked()) == 2
    assert "cannot be made" in capsys.readouterr().err


def test_a_registered_starting_picture_is_refused_whatever_the_strength(asked, looks_dataset, photo_file, tmp_path):
    copy = copy_run(looks_dataset, tmp_path / "own")
    code, _ = pdq_hash(Image.open(photo_file))
    with open_registry(str(copy / "registry.sqlite")) as registry:
        registry.append([Draft(kind=Kind.PDQ, value=code.hex())])
    assert invoke(asked("--image", photo_file, "--strength", 1, run=copy / "run")) == 3
    (line,) = refused(tmp_path / "out")
    assert line["code"] == "LOOKS_LIKE_OPT_OUT"
    assert line["detail"].startswith("the starting picture")


def test_without_keys_one_line_says_how_to_make_them(asked, tmp_path, capsys, monkeypatch):
    for name in ("ASSAY_SIGNING_KEY", "ASSAY_SIGNING_CHAIN", "ASSAY_WATERMARK_KEY"):
        monkeypatch.delenv(name, raising=False)
    command = asked()
    at = command.index("--keys")
    assert invoke(command[:at] + command[at + 2 :]) == 2
    error = capsys.readouterr().err
    assert "assay keys init" in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_there_is_no_way_around_the_hallmark(asked):
    assert invoke(asked("--no-hallmark")) == 2


def test_guards_without_data_must_be_waived_in_so_many_words(asked, keys, tmp_path, capsys):
    assert invoke(asked("--mark", "noise", run=None)) == 2
    assert "--fewer-guards" in capsys.readouterr().err
    assert invoke(asked("--mark", "noise", "--fewer-guards", run=None)) == 0
    assert b"guards" in (tmp_path / "out" / "p00000-s0.png").read_bytes()
    assert report(tmp_path / "out" / "p00000-s0.png", keys).ok


def test_another_dataset_is_not_the_checkpoints(asked, dataset, capsys):
    assert invoke(asked(run=dataset / "run")) == 2
    assert "was not trained on this dataset" in capsys.readouterr().err


def test_a_register_that_refuses_stops_the_picture(asked, tmp_path, capsys):
    (tmp_path / "other.sqlite").write_bytes(b"this is no database, and long enough to be looked at" * 40)
    assert invoke(asked("--mark", "noise", "--hallmarks", tmp_path / "other.sqlite")) == 2
    assert pictures(tmp_path / "out") == []


@pytest.mark.timeout(300)
def test_a_killed_batch_leaves_only_finished_signed_files(asked, keys, tmp_path):
    command = asked("--mark", "noise", "--count", 16, "--batch", 2)
    out = tmp_path / "out"
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(assay_command(*command), cwd=ROOT, stdout=said, stderr=said)
    until = time.monotonic() + 200
    while len(pictures(out) if out.exists() else []) < 3:
        assert process.poll() is None, (tmp_path / "said").read_text()
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    left = pictures(out)
    assert 3 <= len(left) < 16
    for name in left:
        assert report(out / name, keys, register=out / "hallmarks.sqlite").ok
    assert (out / RECORD).is_file()
    shutil.copytree(out, tmp_path / "kept")
    assert invoke([*command]) == 0
    assert len(pictures(out)) == 16
    assert not list(out.glob(".tmp-*"))
    assert all((out / name).read_bytes() == (tmp_path / "kept" / name).read_bytes() for name in left)
