"""Replay: another recipe over the same scores, and never over a dataset that has later versions."""

import json

import pytest
from making import sample, write_recipe, write_tar

from pipelines.commands.main import invoke
from pipelines.jobs.audit import load_audit
from pipelines.run.directory import open_run
from pipelines.run.manifest import read_manifest

QUOTAS = {"cap": 100, "quotas": {"gender_terms": {"min": {"feminine": 0.5}}}}
GATES = {"parity": {"share": {"group": "gender_terms", "value": "feminine", "min": 0.5}}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run of 32 women and 48 men, of which parity is asked in vain."""
    folder = tmp_path_factory.mktemp("replay")
    captions = ["a woman with hat %d" if i % 5 < 2 else "a man with hat %d" for i in range(80)]
    write_tar(folder / "in" / "0.tar", *(sample(i, caption % i) for i, caption in enumerate(captions)))
    recipe = write_recipe(folder, folder / "in", gates=GATES, duplicates=None)
    assert invoke(["run", str(recipe), "--out", str(folder / "run"), "--runner", "plain"]) == 0
    return folder


def state(folder):
    (gate,) = load_audit(open_run(str(folder))).gates
    return gate.judged.state


def test_a_run_is_decided_by_a_whole_other_recipe_and_its_gate_passes(made, tmp_path):
    assert state(made / "run") == "fail"
    other = tmp_path / "other"
    other.mkdir()
    balanced = write_recipe(other, made / "in", gates=GATES, duplicates=None, balance=QUOTAS)
    arguments = ["replay", str(made / "run"), "--recipe", str(balanced), "--out", str(tmp_path / "new")]
    assert invoke(arguments) == 0
    assert invoke(["balance", str(tmp_path / "new"), "--runner", "plain"]) == 0
    assert state(tmp_path / "new") == "pass"
    old, new = (read_manifest(open_run(str(place))) for place in (made / "run", tmp_path / "new"))
    assert new["content"]["parent"] == old["content_hash"]
    assert new["content"]["counts"]["kept"] == 64
    assert new["content"]["counts"]["dropped"] == {"BALANCE_QUOTA": 16}


def test_a_recipe_that_needs_other_scores_is_refused_with_its_name(made, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    larger = write_recipe(other, made / "in", limits={"max_pixels": 1000})
    assert invoke(["replay", str(made / "run"), "--recipe", str(larger), "--out", str(tmp_path / "new")]) == 2
    said = capsys.readouterr().err
    assert "recipe.yaml: limits: cannot be replayed" in said
    assert len(said.strip().splitlines()) == 1


def test_a_dataset_with_a_later_version_is_not_decided_again_in_place(made, tmp_path, capsys):
    out = tmp_path / "new"
    assert invoke(["replay", str(made / "run"), "--out", str(out)]) == 0
    assert invoke(["balance", str(out), "--runner", "plain"]) == 0
    assert invoke(["waive", str(out), "parity", "--by", "A. Person", "--why", "a test"]) == 0
    ledger = json.loads((out / "manifest.json").read_text())["content"]["ledger"]
    assert invoke(["replay", str(made / "run"), "--out", str(out)]) == 2
    assert "waived" in capsys.readouterr().err
    assert json.loads((out / "manifest.json").read_text())["content"]["ledger"] == ledger
