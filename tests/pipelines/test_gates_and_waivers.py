"""Gates through the command line: a failing one refuses, a waiver lets pass in a new version, opt-outs and replays
judge anew."""

import json
import shutil

import pytest
from making import sample, write_recipe, write_tar

from pipelines.commands.main import invoke
from pipelines.jobs.waive import waive
from pipelines.retraction.versions import chain_problems
from pipelines.run.directory import open_run
from pipelines.run.manifest import read_manifest, verify
from pipelines.run.signing import generate, load_private, sign

GROUPS = {"gender_terms": {"kind": "terms", "lexicon": "gender_terms"}, "creator": {"kind": "creator"}}
GATES = {
    "parity": {"share": {"group": "gender_terms", "value": "feminine", "min": 0.45}},
    "named": {"coverage": {"group": "gender_terms", "min": 0.9}},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run of 15 women and 25 men, of which parity is asked; checked against an empty registry."""
    folder = tmp_path_factory.mktemp("gates")
    captions = ["a woman with hat %d" if i % 8 < 3 else "a man with hat %d" for i in range(40)]
    samples = [sample(i, caption % i) for i, caption in enumerate(captions)]
    write_tar(folder / "in" / "0.tar", *samples[:20])
    write_tar(folder / "in" / "1.tar", *samples[20:])
    registry = folder / "optouts.sqlite"
    assert invoke(["optout", "init", str(registry)]) == 0
    recipe = write_recipe(
        folder, folder / "in", audit={"groups": GROUPS}, gates=GATES, rights={"registry": str(registry)}
    )
    assert invoke(["run", str(recipe), "--out", str(folder / "run"), "--runner", "plain"]) == 0
    return folder


@pytest.fixture
def run(made, tmp_path):
    """A copy of that run."""
    shutil.copytree(made / "run", tmp_path / "run")
    return tmp_path / "run"


def gates(folder):
    return {gate["name"]: gate for gate in read_manifest(open_run(str(folder)))["content"]["gates"]}


def spoken(capsys, *arguments):
    """Exit code, JSON and standard error of a command."""
    capsys.readouterr()
    code = invoke([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out.startswith(("{", "[")) else captured.out, captured.err


def test_a_failing_gate_refuses_until_somebody_waives_it(run, capsys, made):
    assert gates(run)["parity"]["value"] == 0.375
    assert gates(run)["named"]["passed"]
    code, found, _ = spoken(capsys, "check", run, "--json")
    assert code == 3
    assert [problem["code"] for problem in found["problems"]] == ["GATE_FAILED"]
    assert "parity (feminine is 37.5 %" in found["problems"][0]["detail"]
    assert spoken(capsys, "check", run)[0] == 3
    before = read_manifest(open_run(str(run)))["content_hash"]

    waiver = ("--by", "Ada", "--why", "the corpus is small")
    code, record, _ = spoken(capsys, "waive", run, "parity", *waiver, "--json")
    assert (code, record["before"]) == (0, before)
    code, found, _ = spoken(capsys, "check", run, "--json")
    assert (code, found["ok"], found["waived"][0]["by"]) == (0, True, "Ada")
    assert "was waived by Ada" in spoken(capsys, "check", run)[1]
    status = spoken(capsys, "status", run, "--json")[1]
    assert {gate["gate"]: gate["waived"] and gate["waived"]["by"] for gate in status["gates"]} == {
        "parity": "Ada",
        "named": None,
    }
    report = (run / "report.html").read_text()
    assert "waived by Ada" in report
    assert "the corpus is small" in report
    opened = open_run(str(run))
    assert read_manifest(opened)["content"]["parent"] == before
    assert verify(opened) + chain_problems(opened) == []

    # once more, a passing gate and an unknown one: one clear line each, exit code 2
    for gate, words in (("parity", "waived already"), ("named", "passes"), ("other", "there is")):
        code, _, error = spoken(capsys, "waive", run, gate, *waiver)
        assert code == 2
        assert words in error
    assert spoken(capsys, "waive", run, "parity", "--by", " ", "--why", "x")[0] == 2
    # the dataset is sealed: assay run leaves it, a stage refuses
    assert spoken(capsys, "run", made / "recipe.yaml", "--out", run, "--runner", "plain", "--json")[1]["gates"][0]
    assert gates(run)["parity"]["waiver"]["by"] == "Ada"
    code, _, error = spoken(capsys, "decide", run)
    assert code == 2
    assert "waived" in error


def test_a_waiver_that_is_tampered_with_is_found(run):
    opened = open_run(str(run))
    waive(opened, "parity", "Ada", "why")
    body = read_manifest(opened)
    for gate in body["content"]["gates"]:
        if gate["name"] == "parity":
            gate["waiver"]["by"] = "Eve"
    (run / "manifest.json").write_text(json.dumps(body))
    assert "CONTENT_HASH" in {problem.code for problem in verify(opened)}


def test_a_signature_is_of_one_version(run, tmp_path, capsys):
    generate(tmp_path / "key")
    key = load_private(tmp_path / "key")
    opened = open_run(str(run))
    sign(opened, key)
    code, out, _ = spoken(capsys, "waive", run, "parity", "--by", "Ada", "--why", "x")
    assert code == 0
    assert "this one is not: give --key" in out
    assert not (run / "manifest.sig").exists()
    # the signature of the version before is kept beside it
    assert list((run / "history").glob("*.sig"))


def test_opt_outs_judge_the_gates_again_and_a_worse_figure_ends_a_waiver(run, made, tmp_path, capsys):
    opened = open_run(str(run))
    waive(opened, "parity", "Ada", "small")
    women = [i for i in range(40) if i % 8 < 3]
    registry = str(shutil.copy(made / "optouts.sqlite", tmp_path))
    samples = [row for table in opened.tables("samples") for row in table.to_pylist()]
    one = next(row for row in samples if row["key"] == f"s{women[0]:05d}")
    assert invoke(["optout", "add", registry, "--sha256", one["sha256"], "--requester", "x"]) == 0
    code, _, error = spoken(capsys, "optout", "apply", run, "--registry", registry, "--json")
    assert code == 0, error
    entry = gates(run)["parity"]
    assert entry["value"] == pytest.approx(14 / 39, abs=1e-6)
    assert entry["waiver"] is None
    assert entry["lapsed"]["lapsed"] == "the figure was 0.375 and is 0.359"
    code, found, _ = spoken(capsys, "check", run, "--registry", registry, "--json")
    assert (code, [problem["code"] for problem in found["problems"]]) == (3, ["GATE_FAILED"])
    opened = open_run(str(run))
    assert verify(opened) + chain_problems(opened) == []
    assert len(list((run / "history").glob("*.json"))) == 2


def test_a_replay_judges_anew_and_takes_no_waiver_along(run, tmp_path, capsys):
    waive(open_run(str(run)), "parity", "Ada", "small")
    new = tmp_path / "new"
    assert invoke(["replay", str(run), "--out", str(new), "--set", "gates.parity.share.min=0.3"]) == 0
    assert spoken(capsys, "balance", new, "--runner", "plain")[0] == 0
    assert gates(new)["parity"]["passed"]
    assert gates(new)["parity"]["waiver"] is None
    assert spoken(capsys, "check", new)[0] == 0


def test_a_gate_that_nothing_measured_does_not_pass(run, capsys):
    opened = open_run(str(run))
    body = read_manifest(opened)
    body["content"]["gates"] = []
    (run / "manifest.json").write_text(json.dumps(body))
    code, found, _ = spoken(capsys, "check", run, "--json")
    assert code == 3
    assert "never measured" in json.dumps(found)
