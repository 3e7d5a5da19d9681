"""Files of a run that were damaged, inputs that were cut, clocks that jump, jobs that meet: told, never believed."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harm import command, left_overs
from making import assay_command, write_recipe

from pipelines.run.directory import open_run
from pipelines.run.manifest import read_manifest, verify

ROOT = Path(__file__).resolve().parents[2]
HOOKS = Path(__file__).resolve().parent / "pyhooks"


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 4
    # a part that another run shares by a hard link must stay as it is
    path.unlink()
    path.write_bytes(data)


def run(whole, folder, scratch):
    return command(scratch, "run", whole.recipe, "--out", folder, "--runner", "plain", "--json")


FILES = ["samples/part-00001.parquet", "scores/part-00000.parquet", "ledger/part-00001.parquet"]
FILES += ["shards/shard-00000.tar", "shards/shard-00001.parquet", "thumbnails/part-00000.tar"]


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_in_a_finished_dataset_is_told_by_name_and_mended(whole, tmp_path, name):
    folder = tmp_path / "run"
    shutil.copytree(whole.folder, folder)
    flip(folder / name, 0.5)
    assert name in [problem.detail for problem in verify(open_run(str(folder)))]


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_made_again_once_it_is_deleted(whole, tmp_path, name):
    folder = tmp_path / "run"
    shutil.copytree(whole.folder, folder)
    (folder / name).unlink()
    assert run(whole, folder, tmp_path / "say").json["content_hash"] == whole.content_hash
    assert verify(open_run(str(folder))) == []


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name", ["samples/part-00000.parquet", "scores/part-00001.parquet", "signals/part-00000.parquet"]
)
def test_a_bit_flipped_between_two_stages_is_never_another_number(whole, tmp_path, name):
    for place in (0.1, 0.3, 0.5, 0.7, 0.9):
        folder = tmp_path / str(place)
        shutil.copytree(whole.folder, folder)
        for stage in ("matches", "duplicates", "ledger", "audit", "balance", "shards", "index"):
            shutil.rmtree(folder / stage, ignore_errors=True)
        (folder / "manifest.json").unlink()
        flip(folder / name, place)
        done = run(whole, folder, tmp_path / "say")
        if done.code == 0:  # what was hit is not read by a later stage: the manifest's check tells
            assert done.json["content_hash"] == whole.content_hash
            assert name in [problem.detail for problem in verify(open_run(str(folder)))]
            continue
        assert done.code == 2
        assert name in done.line()
        (folder / name).unlink()
        assert run(whole, folder, tmp_path / "say").json["content_hash"] == whole.content_hash
        assert verify(open_run(str(folder))) == []


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\0\xff\xfe", b'{"rows": "many"}'])
def test_a_marker_that_cannot_be_read_has_its_part_made_again(whole, tmp_path, data):
    folder = tmp_path / "run"
    shutil.copytree(whole.folder, folder)
    (folder / "scores" / "part-00001.done.json").write_bytes(data)
    assert run(whole, folder, tmp_path / "say").json["content_hash"] == whole.content_hash
    assert verify(open_run(str(folder))) == []


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_damaged_manifest_is_no_dataset(whole, tmp_path):
    draw = random.Random(6)
    text = (whole.folder / "manifest.json").read_bytes()
    for trial in range(12):
        folder = tmp_path / f"run-{trial}"
        shutil.copytree(whole.folder, folder)
        changed = bytearray(text)
        changed[draw.randrange(text.index(b'"files"'))] ^= 1 << draw.randrange(8)
        (folder / "manifest.json").write_bytes(changed)
        checked = command(tmp_path / "say", "manifest", "verify", folder)
        assert checked.code in (2, 3), checked
        assert "Traceback" not in checked.err
    (folder / "manifest.json").unlink()
    assert run(whole, folder, tmp_path / "say").json["content_hash"] == whole.content_hash


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_an_input_cut_after_it_was_ingested_is_told_and_read_anew(whole, tmp_path):
    shutil.copytree(whole.recipe.parent / "in", tmp_path / "in")
    recipe = write_recipe(tmp_path, tmp_path / "in")
    words = ("--runner", "plain", "--json")
    assert command(tmp_path / "say", "ingest", recipe, "--out", tmp_path / "run", *words).code == 0
    shard = tmp_path / "in" / "1.tar"
    shard.write_bytes(shard.read_bytes()[:-9000])
    told = command(tmp_path / "say", "score", tmp_path / "run", *words)
    assert told.code == 2
    assert "1.tar has changed since it was ingested; run assay ingest again" in told.line()
    done = command(tmp_path / "say", "run", recipe, "--out", tmp_path / "run", *words)
    assert done.json["balanced"]
    assert done.json["dropped"]["UNREADABLE_SHARD"] == 1
    fresh = command(tmp_path / "say", "run", recipe, "--out", tmp_path / "fresh", *words)
    assert done.json["content_hash"] == fresh.json["content_hash"]


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_clock_that_jumps_by_decades_changes_nothing(whole, tmp_path):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HOOKS), str(ROOT)]),
        "ASSAY_TEST_HARM": "clock",
    }
    words = assay_command("run", whole.recipe, "--out", tmp_path / "run", "--json")
    told = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["content_hash"] == whole.content_hash
    # once more, over parts whose files are from the future
    for path in (tmp_path / "run").rglob("*.json"):
        os.utime(path, (time.time() + 10**8, time.time() + 10**8))
    assert run(whole, tmp_path / "run", tmp_path / "say").json["content_hash"] == whole.content_hash


def test_two_jobs_on_one_run_are_kept_apart_by_owner_and_age(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole.folder, folder)
    hold = (
        "import sys, time; from pipelines.run.lock import locked; from pipelines.run.storage import Store\n"
        "with locked(Store(sys.argv[1])): print('held', flush=True); time.sleep(300)"
    )
    holder = subprocess.Popen([sys.executable, "-c", hold, str(folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert holder.stdout.readline() == "held\n"
        for words in (["run", whole.recipe, "--out", folder], ["balance", folder], ["optout", "match", folder]):
            told = command(tmp_path / "say", *words)
            assert told.code == 2
            assert f"another job works here (process {holder.pid} on " in told.line()
            assert " s); wait for it or stop it" in told.line()
    finally:
        holder.kill()
        holder.wait()
    assert verify(open_run(str(folder))) == []
    assert read_manifest(open_run(str(folder)))["content_hash"] == whole.content_hash
    assert left_overs(folder) == []
