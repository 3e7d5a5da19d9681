"""What is counted in one scan, or read off an index, is what a look at every row gives."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from run_making import make_run, sample_rows
from web_clients import client_for
from web_real_run import opened as real_opened

from dashboards.web.indexing_groups import MOST, Marks
from dashboards.web.query import threshold_bins
from dashboards.web.query.threshold_counts import counted
from dashboards.web.query.threshold_replay import changed_tests, judged_sql, parse_changes, present_tests

COUNT = 900


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(3)
    sides = (np.exp(random.normal(5, 1.2, COUNT)) + 40).astype(int)
    return sample_rows(
        COUNT,
        seed=3,
        min_side=lambda i: int(sides[i]),
        creator=lambda i: (
            "Doe, Jane (after B.)" if i == 700 else f"artist {i % 300}" if i % 7 else "Zoë O’Neill; J. Doe"
        ),
    )


@pytest.fixture(scope="module")
def opened(rows, tmp_path_factory):
    root = tmp_path_factory.mktemp("scan")
    make_run(root / "made", rows, part_rows=250)
    with client_for(root, tmp_path_factory.mktemp("scan-cache")) as client:
        assert client.get("/api/runs/made/funnel").status_code == 200
        yield client.app.state.catalogue.open("made")


def every_row(opened, judged, column):
    """(row, value, readable, kept, mask, judged) of all rows, by plain SQL."""
    return opened.reader.rows(
        f"SELECT row, {column.sql}::DOUBLE, readable, kept, mask, {judged.sql} FROM samples ORDER BY row",
        judged.values,
    )


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("min_side", "low.min_side=90"), ("min_side", "low.min_side=4000"), ("similarity", "low.similarity=0.2"),
        ("nsfw", "high.nsfw=0.1"), ("caption_words", "low.caption_words=3&high.caption_words=5"),
        ("similarity", "low.similarity=-1"), ("similarity", "low.similarity=2"),
    ],
)  # fmt: skip
def test_bins_and_galleries_are_those_of_all_rows(opened, monkeypatch, name, change):
    monkeypatch.setattr(threshold_bins, "PICTURES", 3)  # so that a part of the bins is enough
    before = present_tests(opened)
    after = changed_tests(opened, parse_changes([tuple(item.split("=")) for item in change.split("&")], opened))
    test = next(item for item in after if item.column == name)
    column = opened.columns.number(name)
    judged = judged_sql(opened, before, after)
    bins, nearest = threshold_bins.bins_and_nearest(opened, column, test, judged)
    found = every_row(opened, judged, column)
    usable = [(value, mask) for _, value, readable, _, _, mask in found if readable and value is not None]
    values = np.array([value for value, _ in usable])
    wanted = np.histogram(values, bins.edges)[0]
    assert bins.samples == wanted.tolist()
    assert bins.passing == np.histogram(values[[mask == 0 for _, mask in usable]], bins.edges)[0].tolist()
    for side in nearest:
        up = side.side == "low"
        inside = [(v, r) for r, v, ok, _, _, m in found if ok and v is not None and m == 0]
        mine = [(v, r) for v, r in inside if (v >= side.bound if up else v <= side.bound)]
        mine.sort(key=lambda item: (item[0] if up else -item[0], item[1]))
        assert [sample.row for sample in side.kept] == [row for _, row in mine[:3]]
        lone = 1 << threshold_bins.bit(test.reason.value)
        outside = [(v, r) for r, v, ok, _, _, m in found if ok and v is not None and m == lone]
        outside = [(v, r) for v, r in outside if (v < side.bound if up else v > side.bound)]
        outside.sort(key=lambda item: (-item[0] if up else item[0], item[1]))
        assert [sample.row for sample in side.dropped] == [row for _, row in outside[:3]]


def test_bins_of_whole_numbers_on_a_long_scale_are_exact(opened):
    """The scale is logarithmic there, and edges are rounded to whole numbers."""
    test = next(item for item in present_tests(opened) if item.column == "min_side")
    column, judged = (
        opened.columns.number("min_side"),
        judged_sql(opened, present_tests(opened), present_tests(opened)),
    )
    bins, _ = threshold_bins.bins_and_nearest(opened, column, test, judged)
    assert bins.log
    assert bins.integer


class Blind:
    """An index's reader to which no group is marked."""

    def __init__(self, reader):
        self.reader = reader

    def rows(self, sql, parameters=()):
        return [] if sql.startswith("SELECT 1 FROM marks") else self.reader.rows(sql, parameters)


@pytest.mark.parametrize("rule", ["sharpness", "similarity"])
def test_rates_by_bits_and_by_lists_are_the_same(rule):
    """A group with few values is counted by bits; one with many by its lists. Both see the same samples."""
    run = real_opened()
    assert run.reader.rows("SELECT count(*) FROM marks WHERE name = 'region'")[0][0] > 0
    before, after = present_tests(run), changed_tests(run, parse_changes([(f"low.{rule}", "0.2")], run))
    pair = tuple(next(test for test in tests if test.column == rule) for tests in (before, after))
    found = counted(run, pair, before, after, "region")
    assert found.rates
    assert counted(replace(run, reader=Blind(run.reader)), pair, before, after, "region") == found


def test_marks_follow_the_lists_and_stop_at_what_a_number_holds():
    marks = Marks()
    first = pa.chunked_array([pa.array([["a"], [], None]), pa.array([["b", "a", "b"], [None, "c"]])])
    assert marks.of(first).to_pylist() == [1, 0, 0, 3, 4]
    assert marks.of(pa.array([["c"]], pa.list_(pa.string()))).to_pylist() == [4]
    assert marks.values == ["a", "b", "c"]
    rest = pa.array([[f"v{i}"] for i in range(MOST - 3)])
    assert marks.of(rest).to_pylist()[-1] == 1 << (MOST - 1)
    assert marks.of(pa.array([["one too many"]])).to_pylist() == [None]
    assert marks.values == []
    assert marks.of(pa.array([["a"]])).to_pylist() == [None]


def test_a_rare_creator_is_found_among_many_who_share_a_word(opened, rows):
    from dashboards.web.query import search_keys

    found = search_keys.by_creator(opened, "artist 299")
    assert found.found.total == sum(row["creator"] == "artist 299" for row in rows) > 0
    assert found.names[0][0] == "artist 299"
    assert all("artist" in name for name, _, _ in found.similar)
    assert "artist 299" not in [name for name, _, _ in found.similar]


@pytest.mark.parametrize("asked", ["jane doe", "DOE, Jane", "Zoe O'Neill", "j doe"])
def test_a_creator_answers_to_every_name_of_the_field(opened, rows, asked):
    from dashboards.web.query import search_keys

    field = "Doe, Jane (after B.)" if "jane" in asked.lower() else "Zoë O’Neill; J. Doe"
    found = search_keys.by_creator(opened, asked)
    assert found.found.total == sum(row["creator"] == field for row in rows) > 0
    assert [name for name, _, _ in found.names] == [field]
