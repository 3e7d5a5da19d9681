"""The groups of every sample, written part by part: values, labels, resumption, clear errors."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from audit_runs import make, plain, recipe

from audit import planted
from filters.errors import BadInput
from pipelines.engine import PLAIN, Engine
from pipelines.jobs.groups import assign_groups, check_columns
from pipelines.jobs.statistics import statistics
from pipelines.run.parts import part_name, read_marker

CAPTIONS = ["a woman in Kenya", "a man and a woman", "Japan and France", None, "a nurse and a doctor"]


def values(run, name):
    return [row for table in run.tables("groups", [name]) for row in table.column(name).to_pylist()]


def state(run):
    return [run.marker("groups", i).files[part_name("groups", i)].sha256 for i in run.parts("groups")]


@pytest.mark.parametrize("runner", [PLAIN, "FnApiRunner"])
def test_the_default_groups_of_captions(tmp_path, runner):
    run = make(tmp_path / "run", plain(CAPTIONS, language=["en", "en", None, None, "en"]), rows_a_part=2)
    assign_groups(run, Engine(runner))
    assert values(run, "gender_terms") == [["feminine"], ["mixed"], [], [], []]
    assert values(run, "region") == [["Africa"], [], ["mixed"], [], []]
    assert values(run, "occupations") == [[], [], [], [], ["nurse", "physician"]]
    assert values(run, "language") == [["en"], ["en"], [], [], ["en"]]
    assert values(run, "source_region") == [[], [], [], [], []]
    assert run.rows("groups") == 5


def test_a_part_is_done_again_when_something_that_it_rests_on_has_changed(tmp_path):
    table = plain(CAPTIONS, language=["en"] * 5)
    run = make(tmp_path / "run", table, rows_a_part=2)
    assign_groups(run)
    before = state(run)
    written = [(tmp_path / "run" / part_name("groups", i)).stat().st_mtime_ns for i in run.parts("groups")]
    assign_groups(run)
    assert [(tmp_path / "run" / part_name("groups", i)).stat().st_mtime_ns for i in run.parts("groups")] == written
    # as after a kill: one marker is missing
    (tmp_path / "run" / "groups" / "part-00001.done.json").unlink()
    assign_groups(run)
    assert state(run) == before
    other = make(tmp_path / "other", table, recipe(audit={"groups": {"host": {"kind": "domain", "level": "host"}}}))
    assign_groups(other)
    assert other.table("groups", 0).column_names == ["uid", "host"]


def test_parts_made_under_another_version_of_unicode_are_made_again(tmp_path, monkeypatch):
    """A version of Python brings one: a run that goes on under another must not mix two rules of what a word is."""
    run = make(tmp_path / "run", plain([caption or "" for caption in CAPTIONS], language=["en"] * 5), rows_a_part=2)
    with monkeypatch.context() as older:
        older.setattr("unicodedata.unidata_version", "13.0.0")
        assign_groups(run)
        statistics(run, Engine(PLAIN))
    before = [run.marker("groups", i).fingerprint for i in run.parts("groups")]
    counted = read_marker(run.store, "statistics/all").fingerprint
    assign_groups(run)
    statistics(run, Engine(PLAIN))
    assert all(run.marker("groups", i).fingerprint != before[i] for i in run.parts("groups"))
    assert read_marker(run.store, "statistics/all").fingerprint != counted


def test_labels_that_people_made(tmp_path):
    table = planted.toned(300, 1)
    pq.write_table(table.select(["uid", "tone"]).slice(0, 200), tmp_path / "labels.parquet")
    audit = {"labels": str(tmp_path / "labels.parquet"), "groups": {"tone": {"kind": "labels", "column": "tone"}}}
    run = make(tmp_path / "run", table, recipe(audit=audit), rows_a_part=70)
    assign_groups(run, Engine("FnApiRunner"))
    expected = [[tone] for tone in table.column("tone").to_pylist()[:200]] + [[]] * 100
    assert values(run, "tone") == expected
    # the same file with another label is another state
    changed = table.select(["uid", "tone"]).slice(0, 199)
    pq.write_table(changed, tmp_path / "labels.parquet")
    assign_groups(run)
    assert values(run, "tone")[199] == []


BAD_LABELS = [
    (pa.table({"uid": ["f" * 32, "e" * 32], "tone": ["1", "2"]}), "2 of 2 uids are not in the run, for example f"),
    (pa.table({"uid": [f"{0:032x}"] * 2, "tone": ["1", "2"]}), "stand there twice"),
    (pa.table({"tone": ["1"]}), "no column uid"),
    (pa.table({"uid": [f"{0:032x}"], "shade": ["1"]}), "the labels have no column tone; there is uid, shade"),
    (pa.table({"uid": pa.array([None], pa.string()), "tone": ["1"]}), "without a uid"),
]


@pytest.mark.parametrize(("labels", "words"), BAD_LABELS)
def test_labels_that_do_not_fit_the_run_are_refused_by_name(tmp_path, labels, words):
    pq.write_table(labels, tmp_path / "labels.parquet")
    audit = {"labels": str(tmp_path / "labels.parquet"), "groups": {"tone": {"kind": "labels", "column": "tone"}}}
    run = make(tmp_path / "run", planted.toned(3, 1), recipe(audit=audit))
    with pytest.raises(BadInput) as refused:
        assign_groups(run)
    assert words in str(refused.value)


@pytest.mark.parametrize("body", [None, b"no parquet", b""])
def test_labels_that_cannot_be_read(tmp_path, body):
    path = tmp_path / "labels.parquet"
    if body is not None:
        path.write_bytes(body)
    audit = {"labels": str(path), "groups": {"tone": {"kind": "labels", "column": "tone"}}}
    run = make(tmp_path / "run", planted.toned(3, 1), recipe(audit=audit))
    with pytest.raises(BadInput, match=r"labels\.parquet"):
        assign_groups(run)


def test_a_column_of_the_input_that_only_its_json_holds(tmp_path):
    metadata = [json.dumps({"place": p, "keywords": k, "year": y}) for p, k, y in [("north", ["Kenya", "flag"], 3)]]
    table = plain(["a", "b"], metadata=[*metadata, None])
    groups = {
        "place": {"kind": "column", "column": "metadata.place"},
        "region": {"kind": "place", "column": "metadata.keywords"},
        "age": {"kind": "column", "column": "metadata.year", "edges": [0, 2, 4]},
        "nothing": {"kind": "column", "column": "metadata.absent"},
    }
    run = make(tmp_path / "run", table, recipe(audit={"groups": groups}))
    assign_groups(run)
    assert values(run, "place") == [["north"], []]
    assert values(run, "region") == [["Africa"], []]
    assert values(run, "age") == [["[2, 4]"], []]
    assert values(run, "nothing") == [[], []]


def test_an_unknown_column_is_refused_before_the_run_and_at_the_part(tmp_path):
    made = recipe(audit={"groups": {"shade": {"kind": "column", "column": "shade"}}})
    with pytest.raises(BadInput, match=r"audit\.groups\.shade: no column 'shade'.*metadata\.shade"):
        check_columns(made)
    with pytest.raises(BadInput, match="group shade: no column shade"):
        assign_groups(make(tmp_path / "run", plain(["a"]), made))
    check_columns(recipe(audit={"groups": {"l": {"kind": "language"}, "s": {"kind": "column", "column": "min_side"}}}))
    (tmp_path / "labels.parquet").write_bytes(b"no parquet")
    audit = {"labels": str(tmp_path / "labels.parquet"), "groups": {"tone": {"kind": "labels", "column": "tone"}}}
    with pytest.raises(BadInput, match="no readable parquet"):
        check_columns(recipe(audit=audit))
    pq.write_table(pa.table({"uid": ["a"], "shade": ["1"]}), tmp_path / "labels.parquet")
    with pytest.raises(BadInput, match="no column 'tone'; there is uid, shade"):
        check_columns(recipe(audit=audit))
    with pytest.raises(BadInput, match="no score 'beauty'"):
        check_columns(recipe(audit={"rankings": [{"column": "beauty", "group": "region"}]}))


def test_groups_need_scores(tmp_path):
    run = make(tmp_path / "run", plain(["a"]))
    (tmp_path / "run" / "scores" / "part-00000.done.json").unlink()
    with pytest.raises(BadInput, match="assay score"):
        assign_groups(run)
