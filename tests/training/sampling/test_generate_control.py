"""`assay generate --control`: steered pictures are marked and guarded like all others, and name what steered them."""

import json
import shutil
from datetime import datetime, timezone

import pytest
from method_runs import METHOD
from PIL import Image
from restating import identified
from training_runs import copy_run, drawing

from filters.optout.entries import Draft, Kind
from filters.scorers.pdq import pdq_hash
from pipelines.commands.main import invoke
from pipelines.registry.store import open_registry
from training.checkpoints import read_facts
from training.hallmark.claim import ClaimConfig, DatasetFacts, Facts, Fingerprint, ModelFacts, Part, definition
from training.hallmark.registry import open_register
from training.hallmark.verify import Verifier


@pytest.fixture(scope="module")
def control(pixel_training, looks_dataset, tmp_path_factory):
    """A control network of two steps, trained by the command on the same dataset."""
    folder = tmp_path_factory.mktemp("control")
    (folder / "control.yaml").write_text(METHOD.format(kind="controlnet", base=pixel_training))
    arguments = ["train", str(folder / "control.yaml"), "--data", str(looks_dataset / "run")]
    settings = ["data.buckets.resolution=64", "loop.steps=2", "data.flip=0.5"]
    more = [part for one in settings for part in ("--set", one)]
    assert invoke([*arguments, "--out", str(folder / "model"), *more]) == 0
    return folder / "model"


@pytest.fixture
def picture(tmp_path):
    """A drawing that the dataset does not hold."""
    (tmp_path / "steer.png").write_bytes(drawing(4001))
    return tmp_path / "steer.png"


@pytest.fixture
def asked(pixel_training, looks_dataset, keys, control, picture, tmp_path):
    """Arguments of a small steered generation; more may be added."""

    def of(*more, run=looks_dataset / "run", steers=control, by=picture):
        arguments = ["generate", str(pixel_training), "--prompt", "a drawing", "--out", str(tmp_path / "out")]
        arguments += ["--run", str(run), "--keys", str(keys), "--steps", "2", "--device", "cpu", "--mark", "noise"]
        return [*arguments, "--control", str(steers), "--control-image", str(by), *map(str, more)]

    return of


def test_a_steered_picture_leaves_as_ours_and_names_the_control_network(asked, keys, control, tmp_path, capsys):
    assert invoke(asked("--json", "--control-scale", 0.5)) == 0
    (body,) = json.loads(capsys.readouterr().out)["written"]
    path = tmp_path / "out" / "p00000-s0.png"
    assert body["file"] == str(path)
    register = open_register(str(tmp_path / "out" / "hallmarks.sqlite"))
    try:
        found = Verifier((keys / "root.pem").read_text(), registry=register).verify(str(path), path.read_bytes())
    finally:
        register.close()
    assert found.ok, found.problems
    facts = json.loads((control / "step-00000002" / "assay.json").read_text())
    assert f"model checkpoint sha256:{facts['checkpoint']}".encode() in path.read_bytes()
    # the folder belongs to this scale
    assert invoke(asked("--control-scale", 0.25)) == 2
    assert "use another --out" in capsys.readouterr().err


def test_control_on_another_checkpoint_is_refused_in_one_line(asked, control, pixel_training, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(control, other)
    path = max(other.glob("step-*"))
    facts = read_facts(path)
    facts["base"]["checkpoint"] = "0" * 64
    identified(path, facts)
    assert invoke(asked(steers=other)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "trained on the base 0000000000000000" in error
    assert not list((tmp_path / "out").glob("*.png"))


def test_nothing_is_steered_by_a_registered_picture(asked, looks_dataset, photo_file, tmp_path, capsys):
    copy = copy_run(looks_dataset, tmp_path / "own")
    with Image.open(photo_file) as image:
        code, _ = pdq_hash(image)
    with open_registry(str(copy / "registry.sqlite")) as registry:
        registry.append([Draft(kind=Kind.PDQ, value=code.hex())])
    assert invoke(asked(run=copy / "run", by=photo_file)) == 3
    assert "LOOKS_LIKE_OPT_OUT" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.png"))


def test_a_control_network_s_own_dataset_is_an_ingredient():
    base = ModelFacts("base", "step 1", "a" * 64), DatasetFacts("one", "b" * 64)
    same = Part(ModelFacts("control", "step 2", "c" * 64), base[1])
    other = Part(ModelFacts("control", "step 2", "d" * 64), DatasetFacts("two", "e" * 64))

    def made(*parts):
        now = datetime.now(timezone.utc)
        facts = Facts(*base, "a prompt", "somebody", now, {}, parts)
        return definition("f" * 32, facts, (), Fingerprint("0" * 64, 100), ClaimConfig())

    plain, full = made(), made(same, other)
    assert [one["label"] for one in plain["ingredients"]] == ["dataset", "model"]
    assert "parts" not in plain["assertions"][1]["data"]
    labels = [one["label"] for one in full["ingredients"]]
    assert labels == ["dataset", "model", "model-2", "dataset-3", "model-3"]
    assert full["ingredients"][3]["instance_id"] == f"sha256:{'e' * 64}"
    action = full["assertions"][0]["data"]["actions"][0]
    assert action["parameters"]["ingredientIds"] == labels
    assert [one["dataset"]["hash"] for one in full["assertions"][1]["data"]["parts"]] == ["b" * 64, "e" * 64]
