"""Lists of any shape and any damage: each row becomes one row, and none stops the others."""

import csv
import gzip
import io
import json
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.errors import BadInput
from pipelines.run.recipe import FieldNames
from pipelines.sources.urllist import read_list

NAMES = FieldNames()
ROWS = [
    {"url": "http://a.test/1.png", "caption": "one, two", "licence": "CC0", "page_url": "http://a.test/"},
    {"url": "http://a.test/2.png", "caption": 'a "quoted"\nline', "licence": None, "page_url": None},
]


def rows(path, limit=10_000, names=NAMES):
    return list(read_list(str(path), names, limit))


def write_csv(path):
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)


def test_all_kinds_of_lists_give_the_same_rows(tmp_path):
    write_csv(tmp_path / "a.csv")
    text = "\n".join(json.dumps(row) for row in ROWS)
    (tmp_path / "b.jsonl").write_text(text + "\n\n")
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "d.parquet")
    found = [rows(tmp_path / name) for name in ("a.csv", "b.jsonl", "c.jsonl.gz", "d.parquet")]
    assert found[0] == found[1] == found[2] == found[3]
    assert [row.url for row in found[0]] == [row["url"] for row in ROWS]
    assert json.loads(found[0][1].columns) == ROWS[1]
    assert len(rows(tmp_path)) == 8


def test_names_of_columns_come_from_the_recipe(tmp_path):
    (tmp_path / "l.csv").write_text("\ufeffIMG,ID\nhttp://a.test/1,x1\n")
    found = rows(tmp_path / "l.csv", names=FieldNames(url="IMG", key="ID"))
    assert (found[0].url, found[0].key) == ("http://a.test/1", "x1")


def test_a_list_without_the_column_of_addresses_is_refused(tmp_path):
    (tmp_path / "l.csv").write_text("link,caption\nx,y\n")
    with pytest.raises(BadInput, match=r"no column 'url'.*link, caption"):
        rows(tmp_path / "l.csv")
    pq.write_table(pa.table({"link": ["x"]}), tmp_path / "l.parquet")
    with pytest.raises(BadInput, match="no column 'url'"):
        rows(tmp_path / "l.parquet")


@pytest.mark.parametrize("name", ["nothing.csv", "folder"])
def test_a_missing_or_empty_list_is_refused(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadInput):
        rows(tmp_path / name)


def test_damaged_lines_cost_themselves_only(tmp_path):
    (tmp_path / "l.jsonl").write_bytes(
        b'{"url": "http://a.test/1"}\n{"url": \n[1]\n"text"\n{"url": "http://a.test/' + b"x" * 2_000_000 + b'"}\n'
        b'{"url": 5}\n{"url": ["a"]}\n\xff\xfe\n{"url": "http://a.test/2"}\n' + b"[" * 100_000 + b"\n"
    )
    found = rows(tmp_path / "l.jsonl")
    assert [row.failure.value if row.failure else row.url for row in found] == [
        "http://a.test/1",
        *["BAD_METADATA"] * 4,
        "5",
        None,
        "BAD_METADATA",
        "http://a.test/2",
        "BAD_METADATA",
    ]


def test_damaged_records_of_a_csv_cost_themselves_only(tmp_path):
    text = (
        b"url,caption\nhttp://a.test/1,x\nonly-one\nhttp://a.test/2,y,z\n"
        + b"z" * 2_000_000
        + b",x\nhttp://a.test/3,\xff\n"
    )
    (tmp_path / "l.csv").write_bytes(text)
    found = rows(tmp_path / "l.csv")
    assert [row.failure.value if row.failure else row.url for row in found] == [
        "http://a.test/1",
        *["BAD_METADATA"] * 3,
        "http://a.test/3",
    ]


def test_an_open_quote_does_not_swallow_the_machine(tmp_path):
    (tmp_path / "l.csv").write_bytes(b'url,caption\nhttp://a.test/1,"' + b"x,\n" * 100_000)
    found = rows(tmp_path / "l.csv")
    assert found[0].failure
    assert not any(row.url and row.url.startswith("http") for row in found)


def test_a_row_that_is_too_large_is_kept_as_one_that_failed(tmp_path):
    (tmp_path / "l.jsonl").write_text(json.dumps({"url": "http://a.test/1", "caption": "x" * 900}) + "\n")
    assert rows(tmp_path / "l.jsonl", limit=800)[0].failure.value == "BAD_METADATA"


def test_a_truncated_file_says_so_in_a_row(tmp_path):
    good = io.BytesIO()
    pq.write_table(pa.table({"url": ["http://a.test/1"]}), good)
    (tmp_path / "l.parquet").write_bytes(good.getvalue()[:-20])
    (tmp_path / "l.jsonl.gz").write_bytes(gzip.compress(b'{"url": "http://a.test/1"}\n' * 1000)[:-30])
    assert rows(tmp_path / "l.parquet")[-1].failure.value == "UNREADABLE_SHARD"
    assert rows(tmp_path / "l.jsonl.gz")[-1].failure.value == "UNREADABLE_SHARD"


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_list_or_refused(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    for name, text in (("a.jsonl", data), ("b.csv", b"url,caption\n" + data), ("c.csv", data), ("d.parquet", data)):
        (folder / name).write_bytes(text)
        with suppress(BadInput):
            for row in rows(folder / name):
                (row.columns or "").encode()
                (row.url or "").encode()
