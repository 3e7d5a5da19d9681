"""What a user can get wrong gives one line on standard error and exit code 2, never a traceback."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from making import MAIN, assay_command, sample, write_recipe, write_tar

from pipelines.commands.main import invoke


def assay(*arguments):
    return subprocess.run(assay_command(*arguments), capture_output=True, text=True, timeout=120, check=False)


def one_line(done, code=2):
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("assay: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


@pytest.fixture
def recipe(tmp_path):
    write_tar(tmp_path / "in" / "a.tar", *(sample(i) for i in range(5)))
    return write_recipe(tmp_path, tmp_path / "in")


def test_missing_recipe_and_missing_run(tmp_path):
    assert "no such recipe" in one_line(assay("run", tmp_path / "none.yaml", "--out", tmp_path / "run"))
    assert "no such run" in one_line(assay("status", tmp_path / "run"))
    assert "no such run" in one_line(assay("report", tmp_path / "run"))


def test_missing_input_and_folder_that_is_no_run(recipe, tmp_path):
    done = assay("run", recipe, "--out", tmp_path / "run", "--set", "input.path=/nowhere/at/all")
    assert "no such input" in one_line(done)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file.txt").write_text("mine")
    assert "is no run" in one_line(assay("run", recipe, "--out", tmp_path / "other"))
    assert (tmp_path / "other" / "file.txt").read_text() == "mine"


def test_unknown_options_commands_and_protocols(recipe, tmp_path):
    done = assay("replay")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert assay("no-such-command").returncode == 2
    assert "nothing" in one_line(assay("run", recipe, "--out", "nothing://bucket/run"))


@pytest.mark.parametrize("runner", ["DirectRunner", "DaskRunner", "NoSuchRunner"])
def test_runners_that_corrupt_or_do_not_exist_are_refused_by_name(recipe, tmp_path, runner):
    assert runner in one_line(assay("ingest", recipe, "--out", tmp_path / "run", "--runner", runner))


def test_a_model_that_is_not_there(recipe, tmp_path):
    done = assay(
        "run", recipe, "--out", tmp_path / "run", "--set", "scorers=[similarity]", "--set",
        "similarity.model=file:/nowhere/weights.safetensors?arch=ViT-B-32",
    )  # fmt: skip
    assert "/nowhere/weights.safetensors" in one_line(done)


def test_a_finished_dataset_is_not_overwritten_by_another_recipe(recipe, tmp_path):
    assert assay("run", recipe, "--out", tmp_path / "run", "--runner", "plain").returncode == 0
    done = assay("run", recipe, "--out", tmp_path / "run", "--set", "shards.samples=3")
    assert "another recipe" in one_line(done)


def test_an_input_that_changed_after_ingest_is_noticed(recipe, tmp_path):
    assert assay("ingest", recipe, "--out", tmp_path / "run", "--runner", "plain").returncode == 0
    write_tar(tmp_path / "in" / "a.tar", *(sample(i + 50) for i in range(5)))
    assert "has changed since it was ingested" in one_line(assay("score", tmp_path / "run"))


def test_a_full_disk_is_one_line_and_the_run_resumes(recipe, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", disk], check=False).returncode
    ):
        pytest.skip("mounting a small disk needs root")
    try:
        done = assay("run", recipe, "--out", disk / "run")
        assert "No space left on device" in one_line(done)
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        resumed = assay("run", recipe, "--out", disk / "run", "--json")
        assert json.loads(resumed.stdout)["balanced"] is True
    finally:
        subprocess.run(["umount", disk], check=True)


def test_two_jobs_on_one_run_do_not_meet(recipe, tmp_path):
    hold = (
        "import sys, time; from pipelines.run.lock import locked; from pipelines.run.storage import Store\n"
        "with locked(Store(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        assert f"process {holder.pid}" in one_line(assay("run", recipe, "--out", tmp_path / "run"))
    finally:
        holder.kill()
        holder.wait()
    assert assay("run", recipe, "--out", tmp_path / "run", "--runner", "plain").returncode == 0


def test_interrupting_is_exit_code_130(recipe, tmp_path):
    write_tar(tmp_path / "in" / "b.tar", *(sample(i) for i in range(100, 1500)))
    # a shell that starts the tests in the background hands interrupts on as ignored
    heard = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {MAIN}"
    process = subprocess.Popen(
        [sys.executable, "-c", heard, "run", str(recipe), "--out", str(tmp_path / "run")],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not list((tmp_path / "run").glob("samples/part-00000.done.json")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "it resumes" in error


def test_a_folder_in_place_of_a_runs_file_is_named(recipe, tmp_path, capsys):
    run = tmp_path / "run"
    assert invoke(["run", str(recipe), "--out", str(run), "--runner", "plain"]) == 0
    for name in ("samples/part-00000.parquet", "recipe.yaml", "manifest.json"):
        (run / name).rename(tmp_path / "away")
        (run / name).mkdir()
        for command in ("report", "status", "check"):
            capsys.readouterr()
            if invoke([command, str(run)]):
                (line,) = capsys.readouterr().err.splitlines()
                assert Path(name).stem in line, (name, command)
        (run / name).rmdir()
        (tmp_path / "away").rename(run / name)
    assert invoke(["status", str(run)]) == 0
