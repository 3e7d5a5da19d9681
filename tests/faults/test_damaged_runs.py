"""Files of a run that were damaged, inputs that were cut, clocks that jump, jobs that meet: told, never believed."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from harm import command, left_overs
from making import assay_command, write_recipe

from pipelines.run.directory import open_run
from pipelines.run.manifest import read_manifest, verify

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent

#: What makes the clock of a process jump by decades at each look; see `pyhooks/sitecustomize.py`.
JUMPING = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(HERE / "pyhooks"), str(HERE), str(ROOT)]),
    "ASSAY_TEST_HARM": "clock",
}


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
def test_a_flipped_bit_in_a_finished_dataset_is_told_by_name(whole, tmp_path, name):
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


def test_a_clock_that_jumps_says_other_times_by_every_name():
    asks = (
        "import time, datetime, json; from datetime import datetime as d, timezone as z\n"
        "print(json.dumps([time.time(), time.time_ns() / 1e9, d.now().timestamp(), d.now(z.utc).timestamp(),"
        " d.utcnow().timestamp(), datetime.datetime.today().timestamp(), isinstance(d.now(), d)]))"
    )
    told = subprocess.run([sys.executable, "-W", "ignore", "-c", asks], capture_output=True, check=True, env=JUMPING)
    *times, is_one = json.loads(told.stdout)
    assert is_one
    assert len(times) == 6
    assert all(abs(moment - time.time()) > 86_400 for moment in times)


def jumping(*words):
    """Run `assay WORDS` by a clock that jumps by decades; return how it ended."""
    return subprocess.run(assay_command(*words), capture_output=True, text=True, check=False, env=JUMPING)


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_clock_that_jumps_by_decades_changes_nothing(whole, tmp_path):
    told = jumping("run", whole.recipe, "--out", tmp_path / "run", "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["content_hash"] == whole.content_hash
    # once more, over parts whose files are from the future
    for path in (tmp_path / "run").rglob("*.json"):
        os.utime(path, (time.time() + 10**8, time.time() + 10**8))
    assert run(whole, tmp_path / "run", tmp_path / "say").json["content_hash"] == whole.content_hash


#: Downloads and runs in a process of its own: `python -c THIS HOSTS run RECIPE --out FOLDER --json`.
ASKING = """
import json, sys
from harm import downloaded
from pipelines.commands.main import invoke
hosts = {name: tuple(place) for name, place in json.loads(sys.argv[1]).items()}
sys.exit(downloaded(sys.argv[2:], hosts) or invoke(sys.argv[2:]))
"""


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_clock_that_jumps_while_hosts_are_asked_lets_no_denied_picture_in(listed, tmp_path):
    words = ["run", str(listed.recipe), "--out", str(tmp_path / "run"), "--runner", "plain", "--json"]
    asking = [sys.executable, "-c", ASKING, json.dumps(listed.hosts), *words]
    told = subprocess.run(asking, capture_output=True, text=True, check=False, env=JUMPING)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["content_hash"] == listed.content_hash
    assert verify(open_run(str(tmp_path / "run"))) == []


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("days", [-2, 3650])
def test_policies_that_another_clock_has_dated_are_asked_for_again(listed, tmp_path, days):
    folder = tmp_path / "run"
    shutil.copytree(listed.folder, folder)
    for path in (folder / "policies" / "latest").rglob("*.json"):
        facts = json.loads(path.read_text())
        facts["fetched_at"] = (datetime.fromisoformat(facts["fetched_at"]) + timedelta(days=days)).isoformat()
        path.write_text(json.dumps(facts))
    for path in folder.glob("downloads/part-0000[01].*"):
        path.unlink()
    listed.server.log.clear()
    words = ("run", listed.recipe, "--out", folder, "--runner", "plain", "--json")
    done = command(tmp_path / "say", *words, hosts=listed.hosts)
    assert done.json["content_hash"] == listed.content_hash
    assert {r.host for r in listed.server.log if r.path == "/robots.txt"} == set(listed.hosts)
    assert "/4.png" not in [request.path for request in listed.server.log]


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_an_opt_out_holds_by_whatever_clock_it_came(whole, tmp_path):
    folder, registry, key = tmp_path / "run", tmp_path / "registry.sqlite", tmp_path / "key.pem"
    shutil.copytree(whole.folder, folder)
    assert command(tmp_path / "say", "keygen", "--out", key).code == 0
    assert jumping("optout", "init", registry).returncode == 0
    for number in (1, 2):  # the second may well be dated before the first
        added = jumping("optout", "add", registry, "--creator", f"artist {number}", "--requester", "the artist")
        assert added.returncode == 0, added.stderr
    applied = jumping("optout", "apply", folder, "--registry", registry, "--key", key, "--json")
    assert applied.returncode == 0, applied.stderr
    run = open_run(str(folder))
    assert verify(run) == []
    creators = [row for table in run.tables("samples", ["creator"]) for row in table.column("creator").to_pylist()]
    kept = [row == "kept" for table in run.tables("ledger") for row in table.column("decision").to_pylist()]
    left = {creator for creator, stays in zip(creators, kept, strict=True) if stays}
    assert left
    assert not left & {"artist 1", "artist 2"}
    # a registry that was consulted at no believable time is asked for again; what it says still holds
    checked = command(tmp_path / "say", "check", folder, "--registry", registry, "--json")
    codes = {problem["code"] for problem in checked.json["problems"]}
    assert codes == {"REGISTRY_OLD"}
    shutil.copytree(whole.folder, tmp_path / "sane")
    words = ("--registry", registry, "--key", key, "--json")
    sane = command(tmp_path / "say", "optout", "apply", tmp_path / "sane", *words)
    assert sane.json["after"] == json.loads(applied.stdout)["after"]
    assert command(tmp_path / "say", "check", tmp_path / "sane", "--registry", registry).code == 0
    # by a clock that jumps no check passes that should not
    later = command(tmp_path / "say", "optout", "add", registry, "--creator", "artist 0", "--requester", "the artist")
    assert later.code == 0
    refused = jumping("check", tmp_path / "sane", "--registry", registry, "--json")
    assert refused.returncode == 3
    assert "UNAPPLIED_ENTRY" in {problem["code"] for problem in json.loads(refused.stdout)["problems"]}


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
