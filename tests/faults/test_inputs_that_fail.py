"""Reads of the input that fail for a moment cost no sample; a store that is gone is one line, and the job resumes."""

import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harm import command
from making import sample, write_recipe, write_tar

SAMPLES = 40
PLACES = {"place": {"kind": "labels", "column": "place"}}


def unpacked(number):
    members = sample(number)
    return {name.rpartition(".")[2]: data for name, data in members.items()}


def write_input(folder, kind):
    """Two shards of the same samples, as tars (one packed), a folder or parquet files."""
    folder.mkdir()
    halves = (range(SAMPLES // 2), range(SAMPLES // 2, SAMPLES))
    if kind == "webdataset":
        write_tar(folder / "0.tar", *(sample(number) for number in halves[0]))
        plain = write_tar(folder.parent / "1.tar", *(sample(number) for number in halves[1]))
        with tarfile.open(folder / "1.tar.gz", "w:gz") as packed, tarfile.open(plain) as archive:
            for member in archive:
                packed.addfile(member, archive.extractfile(member))
        plain.unlink()
    elif kind == "folder":
        for number in range(SAMPLES):
            place = folder / f"sub{number % 3}"
            place.mkdir(exist_ok=True)
            for name, data in sample(number).items():
                (place / name).write_bytes(data)
    else:
        for half, numbers in enumerate(halves):
            rows = [unpacked(number) for number in numbers]
            table = pa.table(
                {
                    "key": [f"s{number:05d}" for number in numbers],
                    "image": [row["png"] for row in rows],
                    "caption": [row["txt"].decode() for row in rows],
                    "creator": [json.loads(row["json"])["creator"] for row in rows],
                }
            )
            pq.write_table(table, folder / f"{half}.parquet", row_group_size=5)


@pytest.fixture(scope="module", params=["webdataset", "folder", "parquet"])
def sound(request, tmp_path_factory):
    """An input, and what a run over it says where nothing fails."""
    folder = tmp_path_factory.mktemp(request.param)
    write_input(folder / "in", request.param)
    recipe = recipe_over(folder, folder / "in", request.param)
    done = command(folder / "say", "run", recipe, "--out", folder / "run", "--runner", "plain", "--json")
    assert done.code == 0, done.err
    assert done.json["samples"] == SAMPLES
    assert "UNREADABLE_SHARD" not in done.json["dropped"]
    return folder / "in", request.param, done.json


def recipe_over(folder, place, kind):
    more = {"files_per_part": 15} if kind == "folder" else {}
    return write_recipe(folder, place, kind, input={"kind": kind, "path": str(place), **more}, shards={"samples": 9})


def run(sound, folder, *flaky):
    recipe = recipe_over(folder, f"flaky://{sound[0]}", sound[1])
    words = ("run", recipe, "--out", folder / "run", "--runner", "plain", "--json")
    return command(folder / "say", *words, flaky=flaky)


def same(done, sound):
    assert done.code == 0, done.err
    assert done.json["dropped"] == sound[2]["dropped"]
    assert done.json["content_hash"] == sound[2]["content_hash"]


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2])
def test_an_input_where_one_call_and_one_read_in_ten_fail_gives_the_same_dataset(sound, tmp_path, seed):
    done = run(sound, tmp_path, 0.1, seed, 0.02)
    if done.code:  # one call in 10,000 fails four times
        told(done)
        done = run(sound, tmp_path, 0.1, seed + 10, 0.02)
    same(done, sound)


def told(done):
    assert done.code == 2, done.err
    assert "the store fails (SlowDown" in done.line()
    assert "4 times in a row; what is done stays done: run the same command again" in done.line()


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("calls", [3, 12, 30])
def test_an_input_whose_store_is_gone_after_some_calls_is_one_line_and_a_resume(sound, tmp_path, calls):
    done = run(sound, tmp_path, calls, 0, 0.01)
    told(done)
    same(run(sound, tmp_path, 0, 0, 0.01), sound)


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_store_of_the_run_that_is_gone_in_mid_read_is_one_line(whole, tmp_path):
    words = ("run", whole.recipe, "--out", f"flaky://{tmp_path}/run", "--runner", "plain", "--json")
    ends = [command(tmp_path / "say", *words, flaky=(calls, 0, 0.01)) for calls in range(5, 300, 29)]
    for done in ends:
        if done.code:
            told(done)
    assert sum(done.code == 2 for done in ends) > 3
    done = command(tmp_path / "say", *words, flaky=(0, 0, 0.01))
    assert done.code == 0, done.err
    assert done.json["content_hash"] == whole.content_hash


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_labels_and_sets_to_compare_with_are_asked_again_too(tmp_path, seed):
    write_tar(tmp_path / "in.tar", *(sample(number) for number in range(8)))
    first = write_recipe(tmp_path, tmp_path / "in.tar")
    assert command(tmp_path / "say", "run", first, "--out", tmp_path / "first", "--runner", "plain").code == 0
    uids = pq.read_table(tmp_path / "first/samples/part-00000.parquet", columns=["uid"]).column("uid").to_pylist()
    pq.write_table(pa.table({"uid": uids, "place": ["Kenya", "Japan"] * 4}), tmp_path / "labels.parquet")
    hashes = pq.read_table(tmp_path / "first/samples/part-00000.parquet", columns=["sha256"]).slice(0, 3)
    pq.write_table(hashes, tmp_path / "other.parquet")
    recipe = write_recipe(
        tmp_path,
        tmp_path / "in.tar",
        audit={"labels": f"flaky://{tmp_path}/labels.parquet", "groups": PLACES},
        duplicates={"phash_distance": 2, "against": [f"flaky://{tmp_path}/other.parquet"]},
    )
    words = ("run", recipe, "--out", tmp_path / "run", "--runner", "plain", "--json")
    done = command(tmp_path / "say", *words, flaky=(0.25, seed, 0.01))
    assert done.code == 0, done.err
    assert done.json["dropped"] == {"CONTAMINATED": 3}
