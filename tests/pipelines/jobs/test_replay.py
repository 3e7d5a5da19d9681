"""Replay: another recipe over the same scores, and never over a dataset that has later versions."""

import json
import shutil
from pathlib import Path

import pytest
from making import sample, write_recipe, write_tar

from filters.optout.entries import Draft, Kind
from pipelines.commands.main import invoke
from pipelines.jobs.audit import load_audit
from pipelines.jobs.dedup import EDGES_FILE
from pipelines.jobs.replay import CARRIED, replay
from pipelines.registry.store import create_registry, open_registry
from pipelines.run.directory import REGISTRY, open_run
from pipelines.run.lock import held_still, locked
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


@pytest.fixture
def matched(tmp_path, monkeypatch):
    """A finished run of 8 artists' pictures, the second of whom has opted out."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    write_tar(tmp_path / "in" / "0.tar", *(sample(i, creator=f"artist {i}") for i in range(8)))
    with create_registry(str(tmp_path / "registry.sqlite")) as registry:
        registry.append([Draft(Kind.CREATOR, "artist 1")])
    recipe = write_recipe(tmp_path, tmp_path / "in", rights={"registry": str(tmp_path / "registry.sqlite")})
    assert invoke(["run", str(recipe), "--out", str(tmp_path / "run"), "--runner", "plain"]) == 0
    return tmp_path


def dropped(url):
    run = open_run(url)
    rows = run.table("ledger", 0, ["decision"]).column("decision").to_pylist()
    return [at for at, decision in enumerate(rows) if decision == "dropped"]


def differing(folder, url):
    """Names of the files that a replay carries, and that are not in the new run as they are in the old one."""
    old, new = open_run(str(folder / "run")).store, open_run(url).store
    names = {name for store in (old, new) for artefact in CARRIED for name in store.list(artefact)} | {REGISTRY}
    return sorted(
        n for n in names if not n.startswith("groups/") and not (new.exists(n) and old.read(n) == new.read(n))
    )


@pytest.mark.parametrize("place", ["linked", "copied", "memory"])
def test_replayed_again_after_an_opt_out_was_applied_the_sample_is_out_there_too(matched, place, monkeypatch):
    """Most files of a retracted run have the size that they had: markers, the registry's state, often parts."""
    if place == "copied":

        def refuse(*_):
            raise OSError("another disk")

        monkeypatch.setattr(Path, "hardlink_to", refuse)
    out = f"memory://replayed/{matched.name}" if place == "memory" else str(matched / "new")
    words = ["replay", str(matched / "run"), "--out", out, "--set", "name=x"]
    assert invoke(words) == 0
    assert dropped(out) == [1]
    before = {name: open_run(out).store.read(name) for name in ("matches/part-00000.done.json", REGISTRY)}
    with open_registry(str(matched / "registry.sqlite")) as registry:
        registry.append([Draft(Kind.CREATOR, "artist 2")])
    assert invoke(["optout", "apply", str(matched / "run")]) == 0
    old = open_run(str(matched / "run")).store
    assert all(len(data) == old.size(name) and data != old.read(name) for name, data in before.items())
    assert invoke(words) == 0
    assert dropped(out) == [1, 2]
    assert differing(matched, out) == []
    assert invoke(["balance", out, "--runner", "plain"]) == 0
    assert invoke(["check", out]) == 0


def test_a_replay_with_parts_that_the_run_has_no_longer_is_not_decided_again(matched, capsys):
    write_tar(matched / "in" / "1.tar", *(sample(i) for i in range(8, 10)))
    run, out, recipe = matched / "run", str(matched / "new"), str(matched / "recipe.yaml")
    shutil.rmtree(run)
    assert invoke(["run", recipe, "--out", str(run), "--runner", "plain"]) == 0
    words = ["replay", str(run), "--out", out, "--set", "name=x"]
    assert invoke(words) == 0
    assert open_run(out).rows("scores") == 10
    (matched / "in" / "1.tar").unlink()
    shutil.rmtree(run)
    assert invoke(["run", recipe, "--out", str(run), "--runner", "plain"]) == 0
    capsys.readouterr()
    assert invoke(words) == 2
    assert f"new: has parts that {run} does not have; give another --out" in capsys.readouterr().err
    assert dropped(out) == [1]


def test_what_is_linked_already_is_not_carried_again(matched):
    words = ["replay", str(matched / "run"), "--out", str(matched / "new"), "--set", "name=x"]
    assert invoke(words) == 0
    scores = [matched / folder / "scores" / "part-00000.parquet" for folder in ("run", "new")]
    assert scores[0].samefile(scores[1])
    ledger = (matched / "new" / "ledger" / "part-00000.parquet").stat().st_mtime_ns
    assert invoke(words) == 0
    assert scores[0].samefile(scores[1])
    assert (matched / "new" / "ledger" / "part-00000.parquet").stat().st_mtime_ns == ledger


def test_duplicates_are_looked_for_again_only_where_their_bounds_are_others(tmp_path):
    """Ten pictures twice: taken over as the run found them, or found anew as a run of its own finds them."""
    write_tar(tmp_path / "in" / "0.tar", *(sample(i % 20, f"a tree {i}", key=f"k{i}") for i in range(30)))
    recipes = {}
    for name, settings in (("bytes", {"phash_distance": None}), ("near", {"phash_distance": 16})):
        (tmp_path / name).mkdir()
        recipes[name] = write_recipe(tmp_path / name, tmp_path / "in", duplicates=settings)
        assert invoke(["run", str(recipes[name]), "--out", str(tmp_path / name / "run"), "--runner", "plain"]) == 0
    runs = {name: open_run(str(tmp_path / name / "run")) for name in recipes}
    edges = {name: run.store.read(EDGES_FILE) for name, run in runs.items()}
    assert edges["bytes"] != edges["near"]
    new = replay(runs["bytes"], ["rules.aspect_ratio.high=9"], str(tmp_path / "new"))
    assert Path(new.store.path(EDGES_FILE)).samefile(runs["bytes"].store.path(EDGES_FILE))
    assert runs["bytes"].store.read(EDGES_FILE) == edges["bytes"]
    # the same folder again, by other bounds: what was taken over goes, the run's own stays
    new = replay(runs["bytes"], [], str(tmp_path / "new"), recipes["near"])
    assert new.store.read(EDGES_FILE) == edges["near"]
    assert runs["bytes"].store.read(EDGES_FILE) == edges["bytes"]


def interrupted_by(monkeypatch, artefact, job):
    """Have `job` run once, at the moment at which a replay is about to carry `artefact`."""
    from pipelines.jobs import replay as module

    carry, pending = module._carry_folder, [job]

    def carried(old, new, folder):
        if folder == artefact and pending:
            pending.pop()()
        carry(old, new, folder)

    monkeypatch.setattr(module, "_carry_folder", carried)


def opted_out(folder, name):
    with open_registry(str(folder / "registry.sqlite")) as registry:
        registry.append([Draft(Kind.CREATOR, name)])


def test_an_opt_out_is_not_applied_to_a_run_while_a_replay_carries_it(matched, monkeypatch, capsys):
    opted_out(matched, "artist 2")
    codes = []
    interrupted_by(monkeypatch, "groups", lambda: codes.append(invoke(["optout", "apply", str(matched / "run")])))
    out = str(matched / "new")
    assert invoke(["replay", str(matched / "run"), "--out", out]) == 0
    assert codes == [2]
    assert f"{matched}/run: another job works here" in capsys.readouterr().err
    assert invoke(["balance", out, "--runner", "plain"]) == 0
    assert invoke(["check", out]) == 3
    assert "UNAPPLIED_ENTRY" in capsys.readouterr().err


@pytest.mark.parametrize("artefact", ["matches", "groups"])
def test_where_there_are_no_locks_a_run_that_was_changed_while_it_was_carried_is_refused(
    matched, monkeypatch, capsys, artefact
):
    run, out = f"memory://{matched.name}/run", f"memory://{matched.name}/new"
    assert invoke(["run", str(matched / "recipe.yaml"), "--out", run, "--runner", "plain"]) == 0
    assert invoke(["replay", run, "--out", out]) == 0
    opted_out(matched, "artist 2")
    interrupted_by(monkeypatch, artefact, lambda: invoke(["optout", "apply", run]))
    assert invoke(["replay", run, "--out", out]) == 2
    assert "run: was changed by another job meanwhile; run the same command again" in capsys.readouterr().err
    # whoever goes on all the same has no dataset that passes
    assert invoke(["balance", out, "--runner", "plain"]) == 0
    assert invoke(["check", out]) == 3
    assert "NO_REGISTRY" in capsys.readouterr().err
    assert invoke(["replay", run, "--out", out]) == 0
    assert invoke(["balance", out, "--runner", "plain"]) == 0
    assert (dropped(out), invoke(["check", out])) == ([1, 2], 0)


def test_a_run_at_which_a_job_works_is_not_replayed_and_one_that_is_only_read_is(matched, capsys):
    store = open_run(str(matched / "run")).store
    with locked(store):
        assert invoke(["replay", str(matched / "run"), "--out", str(matched / "new")]) == 2
        assert f"{matched}/run: another job works here" in capsys.readouterr().err
    with held_still(store):
        assert invoke(["replay", str(matched / "run"), "--out", str(matched / "new")]) == 0


def test_a_run_whose_lock_nobody_can_take_is_replayed_all_the_same(matched):
    (matched / "run" / ".lock").unlink()
    (matched / "run" / ".lock").symlink_to("nowhere")
    assert invoke(["replay", str(matched / "run"), "--out", str(matched / "new")]) == 0
    assert dropped(str(matched / "new")) == [1]


@pytest.mark.parametrize("through_a_link", [False, True])
def test_a_replay_goes_neither_over_the_run_nor_into_it(matched, capsys, through_a_link):
    (matched / "link").symlink_to(matched / "run")
    run, words = matched / "run", ["replay", str(matched / "run"), "--set", "name=x", "--out"]
    (run / "manifest.json").rename(matched / "manifest.json")  # of a finished run, other words refuse it
    before = (run / "recipe.yaml").read_bytes()
    out = matched / "link" if through_a_link else run
    assert invoke([*words, str(out)]) == 2
    assert f"{out}: is the run itself; give another --out" in capsys.readouterr().err
    assert (run / "recipe.yaml").read_bytes() == before
    assert invoke([*words, str(out / "sub")]) == 2
    assert f"sub: lies inside the run {run}; give another --out" in capsys.readouterr().err
    assert not (run / "sub").exists()
