"""The floors: the file is checked, figures are held against it, and a broken floor ends with 1."""

import json
import sys
from dataclasses import asdict

import pytest

from benchmarks import floors as bench
from benchmarks.floors_file import Floor, Floors, load_floors
from benchmarks.metered import ROOT
from filters.errors import BadInput


def taken(*lines, error=None):
    return bench.Taken("python -m benchmarks.x", list(lines), error, 1.0, 0.5, "now", "abc", 0.1)


def state(floor, *lines, error=None):
    return bench.judged("x", Floor(**floor), taken(*lines, error=error)).state


@pytest.mark.parametrize(
    ("floor", "value", "wanted"),
    [
        ({"equals": 5}, 5, "met"),
        ({"equals": 5}, 6, "broken"),
        ({"equals": True}, True, "met"),
        ({"equals": True}, 1, "broken"),
        ({"equals": 1}, True, "broken"),
        ({"least": 2}, 2, "met"),
        ({"least": 2}, 1.99, "broken"),
        ({"least": 2}, float("nan"), "broken"),
        ({"least": 2}, "3", "broken"),
        ({"least": 2}, True, "broken"),
        ({"least": 0.9, "most": 1.1}, 1.2, "broken"),
        ({"least": 1, "missed": True, "aim": 2}, 1.5, "missed"),
        ({"least": 1, "missed": True, "aim": 2}, 0.5, "broken"),
        ({"least": 1, "missed": True, "aim": 2}, 2, "aim reached"),
        ({"most": 1, "missed": True, "aim": 0.2}, 0.7, "missed"),
        ({"most": 1, "missed": True, "aim": 0.2}, 0.1, "aim reached"),
    ],
)
def test_a_value_is_held_against_its_bound(floor, value, wanted):
    assert state({"figure": "f", **floor}, {"figure": "f", "value": value}) == wanted


def test_fields_go_into_mappings_and_compare_with_each_other():
    line = {"name": "f", "counts": {"ours": {"kept": 3}, "theirs": {"kept": 3}}}
    floor = {"figure": "f", "field": "counts.ours.kept", "as_field": "counts.theirs.kept"}
    assert state(floor, line) == "met"
    line["counts"]["theirs"]["kept"] = 4
    assert state(floor, line) == "broken"
    assert state({**floor, "as_field": "counts.nobody.kept"}, line) == "broken"


def test_a_figure_cannot_vanish_unseen():
    floor = {"figure": "f", "least": 1}
    assert state(floor) == "no such figure"
    assert state(floor, {"figure": "f", "rate": 3}) == "no such figure"
    assert state(floor, error="exit 1: no pictures here") == "command failed"
    assert state(floor, {"figure": "f", "skipped": "not installed"}) == "not measured"
    assert state(floor, {"figure": "f", "failed": "ours failed: exit 1"}) == "command failed"
    assert state({**floor, "optional": True}) == "not measured"
    assert state({**floor, "optional": True}, {"figure": "f", "rate": 3}) == "no such figure"


def test_a_peers_ratio_tells_where_assay_stands():
    floor = Floor(figure="f", least=0.1, peer="other")
    stands = [bench.judged("x", floor, taken({"figure": "f", "value": v})).stand for v in (1.2, 1.05, 0.95, 0.5)]
    assert stands == ["ahead", "level", "level", "behind"]
    assert bench.judged("x", floor, taken({"figure": "f", "skipped": "not installed"})).stand is None


@pytest.mark.parametrize(
    ("floor", "said"),
    [
        ({}, "give one of"),
        ({"equals": 1, "least": 1}, "give one of"),
        ({"equals": 1, "as_field": "b"}, "give one of"),
        ({"least": 2, "most": 1}, "least is above most"),
        ({"least": 2, "missed": True}, "missed: true and aim"),
        ({"least": 2, "aim": 3}, "missed: true and aim"),
        ({"least": 2, "aim": 1, "missed": True}, "worse than its aim"),
        ({"least": 0, "most": 1, "aim": 1, "missed": True}, "either least or most"),
        ({"least": 1, "lest": 1}, "lest"),
    ],
)
def test_a_floor_that_says_nothing_or_two_things_is_refused(floor, said, tmp_path):
    path = tmp_path / "floors.yaml"
    command = {"run": ["x"], "minutes": 1, "floors": [{"figure": "f", **floor}]}
    path.write_text(json.dumps({"version": 1, "commands": {"x": command}}))
    with pytest.raises(BadInput, match=said):
        load_floors(path)


@pytest.mark.parametrize(
    ("name", "command", "said"),
    [
        ("x", {"run": ["../x"]}, "no module"),
        ("x", {"run": []}, "run"),
        ("../x", {}, "NAME.jsonl"),
        ("x", {"floors": [{"figure": "f", "least": 1}, {"figure": "f", "most": 1}]}, "stands twice"),
        ("x", {"minutes": 0}, "minutes"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused(name, command, said, tmp_path):
    path = tmp_path / "floors.yaml"
    whole = {"run": ["x"], "minutes": 1, "floors": [{"figure": "f", "least": 1}], **command}
    path.write_text(json.dumps({"version": 1, "commands": {name: whole}}))
    with pytest.raises(BadInput, match=said):
        load_floors(path)


def test_the_projects_own_file_is_sound_and_its_modules_are_there():
    floors = load_floors(ROOT / "benchmarks/floors.yaml")
    for name, command in floors.commands.items():
        assert (ROOT / "benchmarks" / f"{command.run[0]}.py").is_file(), name
        for full in (False, True):
            assert all(isinstance(word, str) and word for word in command.arguments(full, "peers"))
    missed = [floor for command in floors.commands.values() for floor in command.floors if floor.missed]
    assert missed, "figures that README tells as missed stand here as missed"


@pytest.fixture
def example(tmp_path):
    """A floors file over a real, small benchmark of the project: the opt-out decisions, for the shape of its lines."""
    command = {"run": ["optout", "--decisions", "200", "--hosts", "20", "--rounds", "1"], "minutes": 2}
    floors = [{"figure": "optout_decisions", "field": "hosts", "equals": 20}]
    path = tmp_path / "floors.yaml"

    def write(**change):
        path.write_text(json.dumps({"version": 1, "commands": {"small": {**command, "floors": floors, **change}}}))
        return path

    return write


def called(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["floors", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        bench.main()
    return ended.value.code


def test_a_whole_run_writes_lines_and_a_page_and_ends_by_its_floors(example, tmp_path, monkeypatch, capsys):
    out = tmp_path / "bench"
    assert called(monkeypatch, "--floors", example(), "--out", out) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["figure"], row["value"], row["state"]) for row in printed] == [("optout_decisions", 20, "met")]
    assert [json.loads(line) for line in (out / "figures.jsonl").read_text().splitlines()] == printed
    page = (out / "bench.md").read_text()
    assert "python -m benchmarks.optout --decisions 200" in page
    assert "| met | optout_decisions: hosts | 20 |" in page

    # a floor that is changed is held against what was printed before, without another run
    kept = (out / "small.taken.json").read_text()
    broken = example(floors=[{"figure": "optout_decisions", "field": "hosts", "equals": 21}])
    assert called(monkeypatch, "--floors", broken, "--out", out, "--keep") == 1
    assert (out / "small.taken.json").read_text() == kept
    assert "broken: small: optout_decisions hosts = 20, exactly 21" in capsys.readouterr().err
    assert "**broken**" in (out / "bench.md").read_text()

    # what is damaged is taken again, and another command is not what was kept
    (out / "small.taken.json").write_text("{")
    assert called(monkeypatch, "--floors", example(), "--out", out, "--keep") == 0
    other = example(run=["optout", "--decisions", "200", "--hosts", "21", "--rounds", "1"])
    assert called(monkeypatch, "--floors", other, "--out", out, "--keep") == 1


def test_a_command_that_fails_breaks_its_floors(example, tmp_path, monkeypatch, capsys):
    path = example(run=["optout", "--no-such-option"])
    assert called(monkeypatch, "--floors", path, "--out", tmp_path / "bench") == 1
    assert "exit 2" in capsys.readouterr().err


def test_a_failure_after_every_figure_is_a_row_of_its_own():
    row = bench.failed("x", taken({"figure": "f", "value": 1}, error="exit 1: the counts differ"))
    assert row.state in bench.NOT_MET
    assert json.loads(json.dumps(asdict(row)))["detail"] == "exit 1: the counts differ"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--only", "nothing"], "is none of small"), (["--floors", "/no/such.yaml"], "cannot be read")],
)
def test_bad_input_ends_with_2_and_one_line(arguments, said, example, tmp_path, monkeypatch, capsys):
    assert called(monkeypatch, "--floors", example(), "--out", tmp_path, *arguments) == 2
    assert said in capsys.readouterr().err


def test_long_commands_wait_for_full():
    whole = {"run": ["x"], "minutes": 1, "floors": [{"figure": "f", "least": 1}]}
    floors = Floors.model_validate({"version": 1, "commands": {"a": whole, "b": {**whole, "only": "full"}}})
    assert list(bench.chosen(floors, None, False)) == ["a"]
    assert list(bench.chosen(floors, None, True)) == ["a", "b"]
    assert list(bench.chosen(floors, ["b"], False)) == ["b"]
