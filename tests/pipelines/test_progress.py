"""Counters beside a run, on any store; a line a part in the log; nothing of it on standard output."""

import json
import logging
import subprocess
import time

import pytest
from making import assay_command, sample, write_recipe, write_tar

from filters.errors import BadInput
from pipelines.commands.common import _taken
from pipelines.commands.main import invoke
from pipelines.part_report import reported
from pipelines.progress import Meter, Stillness, announce, clear_meters, interval, planned, read_meters, shown
from pipelines.run.storage import Store


@pytest.fixture(params=["disk", "memory"])
def store(request, tmp_path):
    return Store(str(tmp_path / "run") if request.param == "disk" else f"memory://progress/{tmp_path.name}")


def test_meters_of_all_parts_add_up_on_any_store(store):
    for part in range(3):
        meter = Meter(store, "score", part)
        meter.count(4)
        meter.count(1, failure="UNDECODABLE")
        meter.add_time("read", 0.5)
        meter.flush()
    Meter(store, "score-more", 7, samples=100).flush()
    announce(store, "score", 9)
    now = read_meters(store, "score")
    assert (now.samples, now.failures, now.seconds) == (15, {"UNDECODABLE": 3}, {"read": 1.5})
    assert planned(store, "score") == 9
    clear_meters(store)
    assert read_meters(store, "score").samples == 0
    assert planned(store, "score") is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"parts": "nine"}'])
def test_a_plan_that_another_process_is_writing_is_none(store, text):
    store.write(".progress/score.plan.json", text.encode())
    assert planned(store, "score") is None


def test_where_each_write_costs_a_request_there_are_few(store):
    assert interval(store) == (0.5 if store.local else 20.0)
    meter = Meter(store, "score", 0)
    for _ in range(1000):
        meter.count()
    assert read_meters(store, "score").samples < 1000
    meter.flush()
    assert read_meters(store, "score").samples == 1000


def test_a_finished_part_has_one_line(store, caplog):
    caplog.set_level(logging.INFO, logger="assay")

    def work():
        meter = Meter(store, "score", 4)
        meter.count(10)
        meter.count(failure="UNDECODABLE")

    report = reported("score", 4, work)
    assert (report.samples, report.failures) == (11, {"UNDECODABLE": 1})
    (line,) = caplog.messages
    assert line.startswith("score part 4: 11 samples, ")
    assert line.endswith(" s, 1 failures (UNDECODABLE 1)")


def two_shards(folder):
    for shard in range(2):
        write_tar(folder / "in" / f"{shard}.tar", *[sample(10 * shard + i) for i in range(3)])
    return write_recipe(folder, folder / "in")


def part_lines(text):
    return sorted(line.partition(",")[0] for line in text.splitlines() if line.startswith("ingest part"))


LINES = ["ingest part 0: 3 samples", "ingest part 1: 3 samples"]


@pytest.mark.parametrize("runner", ["plain", "FnApiRunner"])
def test_lines_are_printed_where_they_are_asked_for_and_never_on_standard_output(tmp_path, capsys, runner):
    recipe = str(two_shards(tmp_path))
    for name, words, lines in (("quiet", [], []), ("told", ["--log", "parts"], LINES)):
        assert invoke(["ingest", recipe, "--out", str(tmp_path / name), "--json", "--runner", runner, *words]) == 0
        told = capsys.readouterr()
        assert json.loads(told.out) == {"samples": 6, "parts": 2}
        assert part_lines(told.err) == lines
    assert invoke(["ingest", recipe, "--out", str(tmp_path / "other"), "--log", "all"]) == 2


@pytest.mark.e2e
def test_worker_processes_print_theirs_as_well(tmp_path):
    command = assay_command(
        "ingest", two_shards(tmp_path), "--out", tmp_path / "run", "--json", "--workers", 2, "--log", "parts"
    )
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"samples": 6, "parts": 2}
    assert part_lines(done.stderr) == LINES


def test_the_engine_s_own_words_are_taken_out_of_those_for_beam():
    assert _taken(["--a=1", "--log", "parts", "b"], "--log") == ("parts", ["--a=1", "b"])
    assert _taken(["--log=parts"], "--log") == ("parts", [])
    assert _taken(["--logger=x"], "--log") == (None, ["--logger=x"])
    with pytest.raises(BadInput, match="give its value"):
        _taken(["--log"], "--log")


def test_a_stage_that_stands_still_says_so_and_says_it_again(store):
    stillness = Stillness("score", 300.0)
    meter = Meter(store, "score", 0)
    told = []
    for clock in (0.0, 200.0, 301.0, 400.0, 602.0):
        told.append(stillness.line(read_meters(store, "score"), clock))
    assert [line is not None for line in told] == [False, False, True, False, True]
    assert str(told[2]).startswith("score: nothing has moved for 300 s; a worker may be dead")
    meter.count()
    meter.flush()
    assert stillness.line(read_meters(store, "score"), 950.0) is None


def test_whoever_waits_is_told_that_nothing_moves(store, capsys):
    with shown(store, "score", 10, still=0.2):
        time.sleep(0.6)
    assert "score: nothing has moved for 0 s" in capsys.readouterr().err
