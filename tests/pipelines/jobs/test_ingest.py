"""Every record becomes a row; what is wrong with it is named, and the rest of the job goes on."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from making import bomb, picture, sample, write_recipe, write_tar

from filters.errors import BadInput, TooManyFailures
from filters.reasons import Reason
from pipelines.engine import PLAIN, Engine
from pipelines.jobs.ingest import ingest
from pipelines.run.directory import create_run
from pipelines.run.recipe import load_recipe


def ingested(tmp_path, *samples, **sections):
    write_tar(tmp_path / "in" / "a.tar", *samples)
    run = create_run(str(tmp_path / "run"), load_recipe(write_recipe(tmp_path, tmp_path / "in", **sections)))
    ingest(run, Engine(PLAIN))
    return run.table("samples", 0).to_pylist()


def test_a_good_record_keeps_all_that_came_with_it(tmp_path):
    (row,) = ingested(tmp_path, sample(1, url="http://Example.org/a.png", title="T", folder="birds"))
    assert row["failure"] is None
    assert (row["licence"], row["domain"], row["folder"], row["format"]) == ("CC0", "example.org", "birds", "png")
    assert (row["width"], row["height"], row["nbytes"]) == (96, 80, len(picture(1)))
    assert json.loads(row["metadata"]) == {"title": "T"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"x.png": b""}, Reason.EMPTY_IMAGE),
        ({"x.png": None}, Reason.MISSING_IMAGE),
        ({"x.png": bomb()}, Reason.DECOMPRESSION_BOMB),
        ({"x.png": b"<html>"}, Reason.UNSUPPORTED_FORMAT),
        ({"x.png": b"x" * 300_000}, Reason.FILE_TOO_LARGE),
        ({"x.txt": None}, Reason.EMPTY_CAPTION),
        ({"x.txt": b" \n\t"}, Reason.EMPTY_CAPTION),
        ({"x.txt": b"caf\xe9 au lait"}, Reason.CAPTION_NOT_UTF8),
        ({"x.txt": b"x" * (10 << 20)}, Reason.CAPTION_TOO_LONG),
        ({"x.txt": "é".encode() * (5 << 20)}, Reason.CAPTION_TOO_LONG),
        ({"x.json": b"{"}, Reason.BAD_METADATA),
        ({"x.json": b"[]"}, Reason.BAD_METADATA),
        ({"x.json": b"[" * 100_000}, Reason.BAD_METADATA),
        ({"x.json": b'{"a": "' + b"x" * (2 << 20) + b'"}'}, Reason.BAD_METADATA),
    ],
)
def test_each_defect_has_its_reason_and_costs_only_its_sample(tmp_path, change, reason):
    members = {name: data for name, data in {**sample(1, key="x"), **change}.items() if data is not None}
    rows = ingested(tmp_path, sample(0), members, sample(2), limits={"max_image_bytes": 200_000, "max_failures": 1.0})
    assert [row["failure"] for row in rows] == [None, reason.value, None]
    assert rows[1]["failure_detail"]


def test_a_key_twice_keeps_the_first(tmp_path):
    rows = ingested(tmp_path, sample(1, key="x"), sample(2, key="x"), sample(3))
    assert [row["failure"] for row in rows] == [None, "DUPLICATE_KEY", None]


def test_hostile_json_values_become_text(tmp_path):
    body = json.dumps({"licence": {"deep": [1, 2]}, "creator": "\ud800", "url": 7, "n": float("nan")}).encode()
    (row,) = ingested(tmp_path, {**sample(1, key="x"), "x.json": body})
    assert (row["licence"], row["creator"], row["url"]) == ('{"deep": [1, 2]}', "\\ud800", "7")


def test_too_many_failures_end_with_exit_code_4(tmp_path):
    with pytest.raises(TooManyFailures, match="2 of 3 samples failed") as error:
        ingested(
            tmp_path, *({f"{i}.png": b"", f"{i}.txt": b"x"} for i in "ab"), sample(1), limits={"max_failures": 0.5}
        )
    assert error.value.exit_code == 4


def test_an_input_without_records_is_refused(tmp_path):
    with pytest.raises(BadInput, match="the input is empty"):
        ingested(tmp_path)


def test_shards_that_are_gone_leave_no_part_behind(tmp_path):
    for name in "ab":
        write_tar(tmp_path / "in" / f"{name}.tar", sample(ord(name)))
    run = create_run(str(tmp_path / "run"), load_recipe(write_recipe(tmp_path, tmp_path / "in")))
    ingest(run, Engine(PLAIN))
    assert run.rows("samples") == 2
    (tmp_path / "in" / "b.tar").unlink()
    ingest(run, Engine(PLAIN))
    assert run.rows("samples") == 1


def test_creators_of_any_form_become_readable_text(tmp_path):
    forms = ["Banksy, KAWS", ["Banksy", "KAWS"], {"name": "José"}, ["José"]]
    rows = ingested(tmp_path, *(sample(number, creator=form) for number, form in enumerate(forms)))
    stored = ["Banksy, KAWS", '["Banksy", "KAWS"]', '{"name": "José"}', '["José"]']
    assert [row["creator"] for row in rows] == stored


def test_a_binary_column_is_read_as_text(tmp_path):
    (tmp_path / "in").mkdir()
    columns = {"image": [picture(1)], "caption": ["a thing"], "creator": ["Jané Doe".encode()], "licence": [b"\xff"]}
    pq.write_table(pa.table({**columns, "url": [[b"x"]]}), tmp_path / "in" / "a.parquet")
    run = create_run(str(tmp_path / "run"), load_recipe(write_recipe(tmp_path, tmp_path / "in", "parquet")))
    ingest(run, Engine(PLAIN))
    (row,) = run.table("samples", 0).to_pylist()
    assert (row["creator"], row["licence"], row["url"]) == ("Jané Doe", "\\xff", '["x"]')


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("https://M\u00fcnchen.de/1.png", "xn--mnchen-3ya.de"),
        ("https://xn--mnchen-3ya.de/2.png", "xn--mnchen-3ya.de"),
        ("https://user@a.example.org.:8080/3.png", "a.example.org"),
        ("http://127.1/4.png", "127.0.0.1"),
        ("http://[2001:DB8::0:1]/5.png", "[2001:db8::1]"),
        (f"https://{'x' * 300}.org/6.png", None),
        ("drawing.png", None),
    ],
)
def test_one_host_is_one_domain_however_its_address_is_written(tmp_path, url, domain):
    (row,) = ingested(tmp_path, sample(1, url=url))
    assert row["domain"] == domain
