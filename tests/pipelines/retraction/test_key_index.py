"""The index finds every sample that has a key, through any number of files and row groups, and reads little."""

import numpy as np
import pyarrow as pa
import pytest

from filters.optout.matching import KeyFinder
from pipelines.retraction import index
from pipelines.retraction.index import build_index, find_positions, key_hash
from pipelines.run.directory import create_run
from pipelines.run.parts import PartWriter, part_name
from pipelines.run.recipe import parse_recipe
from pipelines.run.schema import SAMPLES

RECIPE = "{name: x, input: {kind: folder, path: nowhere}}"


def make(folder, parts: int, rows: int):
    run = create_run(str(folder / "run"), parse_recipe(RECIPE, "x", []))
    for part in range(parts):
        samples = [
            {
                "uid": f"{part:016d}{row:016d}",
                "key": "k",
                "shard": "s",
                "url": f"https://host{row % 7}.example.org/{part}/{row}.png",
                "creator": f"Artist {row % 5}",
                "sha256": f"{part * rows + row:064x}",
            }
            for row in range(rows)
        ]
        writer = PartWriter(run.store, part_name("samples", part, ""), "x")
        writer.add_table(part_name("samples", part), pa.Table.from_pylist(samples, schema=SAMPLES))
        writer.commit(rows, {"content": str(part)})
    return run


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "_SAMPLES", 25)
    monkeypatch.setattr(index, "_ROW_GROUP", 16)
    made = make(tmp_path, parts=6, rows=10)
    build_index(made)
    return made


def test_a_key_gives_all_its_samples_and_no_others(run):
    assert run.parts("index") == [0, 1]
    assert find_positions(run, ["url:host3.example.org/4/3.png"]).tolist() == [43]
    assert find_positions(run, ["creator:artist 2"]).tolist() == [p for p in range(60) if p % 10 % 5 == 2]
    assert find_positions(run, ["domain:example.org"]).tolist() == list(range(60))
    assert find_positions(run, ["url_prefix:host3.example.org/4"]).tolist() == [43]
    assert find_positions(run, [f"sha256:{59:064x}", f"sha256:{0:064x}"]).tolist() == [0, 59]
    assert find_positions(run, ["creator:nobody"]).tolist() == []
    assert find_positions(run, []).tolist() == []


def test_a_look_up_agrees_with_reading_everything(run):
    draw = np.random.default_rng(0)
    names = [f"sha256:{int(n):064x}" for n in draw.integers(0, 90, 40)]
    assert find_positions(run, names).tolist() == sorted({int(n[7:], 16) for n in names if int(n[7:], 16) < 60})


def test_an_index_that_is_there_is_not_made_again_and_a_changed_part_is(run, monkeypatch):
    before = run.marker("index", 0), run.marker("index", 1)
    writer = PartWriter(run.store, "samples/part-00005", "x")
    table = run.table("samples", 5).slice(0, 9)
    writer.add_table("samples/part-00005.parquet", table)
    writer.commit(9, {"content": "changed"})
    build_index(run)
    assert run.marker("index", 0) == before[0]
    assert run.marker("index", 1) != before[1]
    assert find_positions(run, [f"sha256:{59:064x}"]).tolist() == []


def test_an_index_of_an_earlier_version_is_not_believed(run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(index, "VERSION", "1")
        patch.setattr(index, "KeyFinder", lambda kinds: KeyFinder(kinds - {"creator"}))  # found fewer names
        build_index(run)
        assert find_positions(run, ["creator:artist 2"]).tolist() == []
    expected = [p for p in range(60) if p % 10 % 5 == 2]
    assert find_positions(run, ["creator:artist 2"]).tolist() == expected
    build_index(run)
    assert find_positions(run, ["creator:artist 2"]).tolist() == expected


def test_hashes_are_fixed():
    assert key_hash("creator:someone") == key_hash("creator:someone") != key_hash("creator:someone else")
