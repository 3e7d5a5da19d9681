"""Killed at any change of its files, a command run again ends as if nothing had happened."""

import random
import shutil

import pytest
from harm import command, inside, left_overs, stages
from making import sample, write_recipe, write_tar

from pipelines.retraction.versions import chain_problems
from pipelines.run.directory import open_run
from pipelines.run.manifest import read_manifest, verify

#: Kills of `assay run` by the artefact that it writes at that moment: 34. With the 24 of `replay`, `balance` and
#: `optout apply` they are 58; `test_killed_processes` has those of workers and of jobs with workers.
RUN_KILLS = {
    "samples": 4, "signals": 1, "policies": 1, "statistics": 2, "scores": 4, "thumbnails": 3, "duplicates": 4,
    "groups": 2, "ledger": 3, "balance": 1, "audit": 2, "shards": 5, "index": 1, "manifest": 1,
}  # fmt: skip

#: Those of `assay replay`, of the `assay balance` after it, and of `assay optout apply`.
REPLAY_KILLS = {"samples": 1, "scores": 1, "parent": 1, "duplicates": 1, "ledger": 1, "balance": 1}
BALANCE_KILLS = {"audit": 1, "shards": 3, "index": 1, "manifest": 1}
APPLY_KILLS = {"ledger": 2, "scores": 1, "matches": 1, "audit": 1, "shards": 3, "history": 1, "commit": 3}


def points(seed, changes, kills):
    """Numbers of changes to be killed at, drawn at random among those of each artefact, in order."""
    draw, by_stage = random.Random(seed), stages(changes)
    assert set(kills) <= set(by_stage), list(by_stage)
    return sorted(number for stage, count in kills.items() for number in draw.sample(by_stage[stage], count))


@pytest.mark.parametrize(
    ("path", "within"),
    [("/a/run", True), ("/a/run/b", True), ("/a/run-evil/b", False), ("/a/run/../b", False), ("run/b", False)],
)
def test_what_lies_in_a_folder_is_told_from_what_lies_beside_it(path, within):
    assert inside(path, "/a/run") == within


def check_killed_run(whole, folder, stop):
    words = ("run", whole.recipe, "--out", folder / "run", "--runner", "plain", "--json")
    killed = command(folder / "say", *words, stop=stop, watched=folder / "run")
    assert killed.code == -9, killed.err
    if (folder / "run" / "manifest.json").exists():  # only the report is not written yet
        assert read_manifest(open_run(str(folder / "run")))["content_hash"] == whole.content_hash
    done = command(folder / "say", *words)
    assert done.code == 0, done.err
    told = {key: done.json[key] for key in ("content_hash", "samples", "kept", "dropped", "balanced")}
    assert told == {key: whole.done.json[key] for key in told}
    assert verify(open_run(str(folder / "run"))) == []
    assert left_overs(folder / "run") == []


@pytest.mark.faults
@pytest.mark.timeout(1200)
def test_a_run(whole, tmp_path):
    for stop in points(1, whole.done.changes, RUN_KILLS):
        check_killed_run(whole, tmp_path / str(stop), stop)


def test_a_run_killed_in_the_middle(whole, tmp_path):
    check_killed_run(whole, tmp_path, len(whole.done.changes) // 2)


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_replay_and_the_balance_after_it(whole, tmp_path):
    replay = ("replay", whole.folder, "--set", "balance.cap=3", "--out")
    balance = ("balance", "--runner", "plain", "--json")
    there = tmp_path / "whole"
    changes = [command(tmp_path / "say", *replay, there, watched=there).changes]
    done = command(tmp_path / "say", "balance", there, *balance[1:], watched=there)
    changes.append(done.changes)
    assert done.code == 0, done.err
    wanted = read_manifest(open_run(str(there)))["content_hash"]
    assert wanted != whole.content_hash
    for which, kills in ((0, REPLAY_KILLS), (1, BALANCE_KILLS)):
        for stop in points(2, changes[which], kills):
            folder = tmp_path / f"{which}-{stop}"
            for stage, words in enumerate(((*replay, folder), ("balance", folder, *balance[1:]))):
                if stage == which:
                    assert command(tmp_path / "say", *words, stop=stop, watched=folder).code == -9
                done = command(tmp_path / "say", *words)
                assert done.code == 0, done.err
            found = open_run(str(folder))
            assert read_manifest(found)["content_hash"] == wanted
            assert verify(found) == []
            assert left_overs(folder) == []


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_applying_opt_outs(whole, tmp_path):
    registry = tmp_path / "registry.sqlite"
    key = tmp_path / "key.pem"
    assert command(tmp_path / "say", "keygen", "--out", key).code == 0
    assert command(tmp_path / "say", "optout", "init", registry).code == 0
    added = command(tmp_path / "say", "optout", "add", registry, "--creator", "artist 1", "--requester", "artist 1")
    assert added.code == 0, added.err

    def apply(folder, **settings):
        return command(
            tmp_path / "say", "optout", "apply", folder, "--registry", registry, "--key", key, "--json", **settings
        )

    shutil.copytree(whole.folder, tmp_path / "whole")
    done = apply(tmp_path / "whole", watched=tmp_path / "whole")
    assert done.code == 0, done.err
    wanted = done.json["after"]
    assert done.json["left"]
    assert wanted != whole.content_hash
    for stop in points(3, done.changes, APPLY_KILLS):
        folder = tmp_path / f"apply-{stop}"
        shutil.copytree(whole.folder, folder)
        assert apply(folder, stop=stop, watched=folder).code == -9
        found = open_run(str(folder))
        assert verify(found) == []
        assert read_manifest(found)["content_hash"] in (wanted, whole.content_hash)
        assert apply(folder).code == 0
        assert read_manifest(found)["content_hash"] == wanted
        assert verify(found) == []
        assert left_overs(folder) == []


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_waiving_a_gate_at_each_write(whole, tmp_path):
    """A waiver is a change like any other: killed at each of its writes, there is all of it or nothing."""
    write_tar(tmp_path / "in" / "0.tar", *(sample(i) for i in range(8)))
    recipe = write_recipe(
        tmp_path,
        tmp_path / "in",
        audit={"groups": {"creator": {"kind": "creator"}}},
        gates={"many": {"share": {"group": "creator", "value": "artist 1", "min": 0.9}}},
    )
    made = tmp_path / "made"
    assert command(tmp_path / "say", "run", recipe, "--out", made, "--runner", "plain").code == 0
    before = read_manifest(open_run(str(made)))["content_hash"]
    shutil.copytree(made, tmp_path / "whole")

    def waive(folder, **settings):
        words = ("waive", folder, "many", "--by", "Ada", "--why", "a test", "--json")
        return command(tmp_path / "say", *words, **settings)

    done = waive(tmp_path / "whole", watched=tmp_path / "whole")
    assert done.code == 0, done.err
    for stop in range(1, len(done.changes) + 1):
        folder = tmp_path / f"waive-{stop}"
        shutil.copytree(made, folder)
        assert waive(folder, stop=stop, watched=folder).code == -9
        found = open_run(str(folder))
        assert verify(found) + chain_problems(found) == []
        body = read_manifest(found)
        if body["content_hash"] == before:  # nothing of it: the same command again does it
            assert waive(folder).code == 0
            body = read_manifest(found)
        else:  # all of it: a second waiver is refused
            again = waive(folder)
            assert again.code == 2
            assert "waived already" in again.line()
        assert body["content"]["parent"] == before
        assert [gate["waiver"]["by"] for gate in body["content"]["gates"]] == ["Ada"]
        assert verify(found) + chain_problems(found) == []
        assert left_overs(folder) == []


def documents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*")}


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_exporting_documents_at_each_write(whole, tmp_path):
    def export(folder, **settings):
        words = ("export", whole.folder, "--format", "all", "--out", folder, "--despite-check", "--json")
        return command(tmp_path / "say", *words, **settings)

    there = tmp_path / "whole"
    done = export(there, watched=there)
    assert done.code == 0, done.err
    wanted = documents(there)
    assert len(wanted) >= 6
    for stop in range(1, len(done.changes) + 1):
        folder = tmp_path / f"export-{stop}"
        assert export(folder, stop=stop, watched=folder).code == -9
        assert all(wanted[name] == data for name, data in documents(folder).items() if not name.startswith(".tmp-"))
        assert export(folder).code == 0
        assert documents(folder) == wanted
