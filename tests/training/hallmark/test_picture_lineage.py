"""`assay lineage` of a picture and of a checkpoint: the way back to shards, rules and later opt-outs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hallmarking import encode, pixels_of
from training_runs import copy_run

from filters.optout.entries import Draft, Kind
from pipelines.commands.main import invoke
from pipelines.registry.store import open_registry
from pipelines.run.directory import open_run
from pipelines.run.manifest import read_manifest


@pytest.fixture
def ask(generation, tmp_path, capsys, monkeypatch):
    """Ask for the lineage of something; return exit code and answer."""
    for name in ("ASSAY_TRUST", "ASSAY_WATERMARK_KEY", "ASSAY_HALLMARKS"):
        monkeypatch.delenv(name, raising=False)

    def run(what, *more, data=generation / "data", marks=True):
        command = ["lineage", str(what), "--run", str(data / "run"), "--json", *map(str, more)]
        if marks:
            command += ["--trust", str(generation / "keys" / "root.pem")]
            command += ["--registry", str(generation / "out" / "hallmarks.sqlite")]
            command += ["--watermark-key", str(generation / "keys" / "watermark.key")]
        capsys.readouterr()
        code = invoke(command)
        out = capsys.readouterr()
        return code, json.loads(out.out) if out.out.strip() else out.err

    return run


def test_a_picture_leads_to_checkpoint_shards_recipe_rules_and_registry(ask, generation):
    code, found = ask(generation / "out" / "p00000-s0.png")
    assert code == 0
    run = open_run(str(generation / "data" / "run"))
    body = read_manifest(run)
    facts = json.loads((generation / "model" / "step-00000002" / "assay.json").read_text())
    assert (found["found"], found["missing"], found["picture"]["led_by"]) == (True, [], "credential")
    assert found["checkpoint"]["sha256"] == facts["checkpoint"]
    assert found["checkpoint"]["path"].endswith("step-00000002")
    assert found["checkpoint"]["exposures"] == facts["samples"]
    dataset = found["dataset"]
    assert (dataset["sha256"], dataset["current"]) == (body["content_hash"], True)
    for name in ("shards", "rules", "recipe", "registry", "counts"):
        assert dataset[name] == body["content"][name]
    assert dataset["shards"]
    assert found["opt_outs_since"] == []


def test_a_stripped_picture_goes_through_recovery_first(ask, generation, tmp_path):
    stripped = tmp_path / "x.jpg"
    pixels = pixels_of((generation / "out" / "p00000-s1.png").read_bytes())
    stripped.write_bytes(encode(pixels, "JPEG", quality=90))
    code, found = ask(stripped, "--model", generation / "model")
    assert (code, found["picture"]["led_by"]) == (0, "recovered, content altered")
    assert (found["picture"]["credential"], found["found"]) == ("none", True)
    assert found["dataset"]["shards"]
    # Without the checkpoint its likeness leads there.
    code, found = ask(stripped)
    assert (code, found["picture"]["led_by"]) == (0, "recovered by likeness")


def test_later_opt_outs_are_listed_with_what_the_checkpoint_saw(ask, generation, tmp_path):
    copy = copy_run(generation / "data", tmp_path / "own")
    with open_registry(str(copy / "registry.sqlite")) as registry:
        registry.append([Draft(kind=Kind.CREATOR, value="Artist 1")])
    before = read_manifest(open_run(str(copy / "run")))["content_hash"]
    assert invoke(["optout", "apply", str(copy / "run")]) == 0
    code, found = ask(generation / "out" / "p00000-s0.png", data=copy)
    assert (code, found["found"]) == (0, True)
    assert (found["dataset"]["sha256"], found["dataset"]["current"]) == (before, False)
    assert found["dataset"]["shards"]
    (since,) = found["opt_outs_since"]
    assert since["entries"] == [1]
    assert since["taken_out"] > 0
    assert 0 <= since["seen_by_checkpoint"] <= since["taken_out"]
    assert since["after"] == read_manifest(open_run(str(copy / "run")))["content_hash"]
    shutil.rmtree(copy / "run" / "history")
    assert ask(generation / "out" / "p00000-s0.png", data=copy)[0] == 2


def test_a_picture_of_unknown_origin_leads_nowhere(ask, generation, photo, tmp_path):
    (tmp_path / "photo.png").write_bytes(encode(photo))
    code, found = ask(tmp_path / "photo.png")
    assert (code, found["found"], found["checkpoint"], found["dataset"]) == (3, False, None, None)
    # A credential that no given anchor vouches for is no way either.
    code, found = ask(generation / "out" / "p00000-s0.png", marks=False)
    assert (code, found["found"], found["picture"]["credential"]) == (3, False, "other")


def test_another_dataset_or_a_lost_record_is_told(ask, generation, dataset, tmp_path):
    code, found = ask(generation / "out" / "p00000-s0.png", data=dataset)
    assert code == 3
    assert any("is no version of" in one for one in found["missing"])
    copy = copy_run(generation / "data", tmp_path / "own")
    shutil.rmtree(copy / "run" / "trainings")
    code, found = ask(generation / "out" / "p00000-s0.png", data=copy)
    assert code == 3
    assert any("has no record" in one for one in found["missing"])
    assert found["dataset"]["shards"]


def test_a_checkpoint_leads_to_its_data_and_a_changed_one_is_refused(ask, generation, tmp_path):
    code, found = ask(generation / "model" / "step-00000002")
    assert (code, found["found"]) == (0, True)
    assert found["dataset"]["current"]
    copy = shutil.copytree(generation / "model" / "step-00000002", tmp_path / "copy")
    (copy / "README.md").write_text("changed")
    code, told = ask(copy)
    assert code == 2
    assert "was changed" in told


def test_a_mistyped_file_name_is_told_as_one_and_not_taken_for_a_uid(ask, generation):
    code, told = ask(generation / "out" / "p00000-s9.png", marks=False)
    assert code == 2
    assert told.strip().endswith("p00000-s9.png: no such file or folder, and no uid (32 hex digits)")
    code, told = ask("0" * 32, marks=False)
    assert code == 2
    assert "no sample 000" in told


def test_the_text_names_all_of_it(generation, capsys):
    command = ["lineage", str(generation / "out" / "p00000-s0.png"), "--run", str(generation / "data" / "run")]
    assert invoke([*command, "--trust", str(generation / "keys" / "root.pem")]) == 0
    text = capsys.readouterr().out
    for word in ("checkpoint", "dataset", "shard", "registry", "recipe", "no opt-out was applied"):
        assert word in text


def test_a_picture_needs_no_torch(generation):
    script = (
        "import sys\n"
        "for name in ('torch', 'diffusers', 'accelerate', 'apache_beam'): sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from training.command_lineage import lineage\n"
        "lineage(sys.argv[1], run=sys.argv[2], trust=Path(sys.argv[3]))\n"
    )
    arguments = [generation / "out" / "p00000-s0.png", generation / "data" / "run", generation / "keys" / "root.pem"]
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "shard" in done.stdout
