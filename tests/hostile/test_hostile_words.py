"""Captions, metadata and parquet columns of every wrong kind: kept or with a reason, and printable afterwards."""

import collections
import io
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bounds import alone, bounded
from harm import command
from making import picture, write_recipe, write_tar
from mutations import CAPTIONS, MEMORY, METADATA, words

from filters.decoding import decode
from filters.reasons import Reason
from filters.registry import SCORERS
from filters.scoring import Batch
from pipelines.jobs.ingest import sample_row
from pipelines.run.directory import open_run
from pipelines.run.recipe import FieldNames, Limits
from pipelines.sources.base import ReadLimits, Record
from pipelines.sources.parquet import ParquetSource

LIMITS = ReadLimits(1 << 20, 1 << 20, 1 << 20)


def run(tmp_path, recipe):
    out = tmp_path / "run"
    done = command(tmp_path / "say", "run", recipe, "--out", out, "--runner", "plain", "--json", watched=out)
    assert done.code == 0, done.err[-3000:]
    assert done.json["balanced"]
    assert done.outside == []
    assert done.peak < MEMORY
    opened = open_run(str(out))
    samples = [row for table in opened.tables("samples") for row in table.to_pylist()]
    ledger = [row for table in opened.tables("ledger") for row in table.to_pylist()]
    return samples, [row["primary_reason"] for row in ledger]


def check_words(pairs):
    """Read each pair as ingest does, and score its caption; return the counts of failures."""
    scorers = [SCORERS[name]() for name in ("caption", "language")]
    for scorer in scorers:
        scorer.load()
    image, found = picture(1, (24, 20)), collections.Counter()
    limits = Limits(max_caption_bytes=2_000_000)
    for number, (caption, metadata) in enumerate(pairs):
        with bounded(f"pair {number}: {caption[:40]!r}, {metadata[:40]!r}"):
            record = Record(str(number), image, caption, metadata)
            row = sample_row(record, "a.tar", FieldNames(), limits)
            batch = Batch([row["uid"]], [row["caption"] or ""], [image], [decode(image, 10_000)])
            assert all(scorer.score(batch).num_rows == 1 for scorer in scorers)
        found[row["failure"]] += 1
    return found


def test_each_wrong_caption_and_metadata_is_read_in_time():
    pairs = [*((caption, b"{}") for caption in CAPTIONS.values()), *((b"a", body) for body in METADATA.values())]
    found = alone(check_words, pairs)
    assert found[Reason.CAPTION_NOT_UTF8.value] >= 3
    assert found[Reason.BAD_METADATA.value] >= 5


@pytest.mark.hostile
@pytest.mark.timeout(900)
def test_each_of_thousands_of_broken_captions_is_read_in_time():
    assert sum(alone(check_words, list(words(4000))).values()) == 4000


def test_captions_and_metadata_of_every_wrong_kind(tmp_path):
    rows = [
        {f"c-{name}.png": picture(i), f"c-{name}.txt": data, f"c-{name}.json": b"{}"}
        for i, (name, data) in enumerate(CAPTIONS.items())
    ]
    rows += [
        {f"m-{name}.png": picture(100 + i), f"m-{name}.txt": b"a caption", f"m-{name}.json": data}
        for i, (name, data) in enumerate(METADATA.items())
    ]
    write_tar(tmp_path / "in" / "a.tar", *rows)
    recipe = write_recipe(
        tmp_path,
        tmp_path / "in",
        scorers=["size", "hashes", "caption", "language"],
        limits={"max_failures": 1.0, "max_caption_bytes": 2_000_000},
    )
    samples, reasons = run(tmp_path, recipe)
    found = {row["key"]: reason for row, reason in zip(samples, reasons, strict=True)}
    assert len(found) == len(CAPTIONS) + len(METADATA)
    for name in ("invalid", "surrogate", "utf-16"):
        assert found[f"c-{name}"] == Reason.CAPTION_NOT_UTF8.value, name
    for name in ("deep", "deep-object", "invalid", "list", "null"):
        assert found[f"m-{name}"] == Reason.BAD_METADATA.value, name
    for name in ("megabyte", "nul", "right-to-left", "wide", "formula", "markup"):
        assert found[f"c-{name}"] is None, name
    report = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "<script>alert(1)" not in report


@pytest.mark.hostile
@pytest.mark.timeout(900)
def test_thousands_of_broken_captions_and_metadata(tmp_path):
    broken = list(words(4000))
    for shard in range(4):
        rows = [
            {f"{i:05d}.png": picture(i, (24, 20)), f"{i:05d}.txt": caption, f"{i:05d}.json": metadata}
            for i, (caption, metadata) in list(enumerate(broken))[shard::4]
        ]
        write_tar(tmp_path / "in" / f"{shard}.tar", *rows)
    scorers = ["size", "hashes", "caption", "language"]
    recipe = write_recipe(tmp_path, tmp_path / "in", scorers=scorers, limits={"max_failures": 1.0})
    samples, reasons = run(tmp_path, recipe)
    assert len(samples) == len(broken)
    found = collections.Counter(reasons)
    assert found[Reason.CAPTION_NOT_UTF8.value] > 400
    assert found[Reason.BAD_METADATA.value] > 400
    assert found[None] > 100
    assert set(found) <= {None, *(reason.value for reason in Reason)}
    report = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "<script>alert(1)" not in report


def tables():
    """Parquet files as (name, bytes) of columns that are not what the recipe says."""
    good = picture(1)

    def written(**columns):
        stream = io.BytesIO()
        pq.write_table(pa.table(columns), stream)
        return stream.getvalue()

    yield "good", written(image=[good, picture(2)], caption=["a", "b"])
    yield "nulls", written(image=pa.nulls(5, pa.binary()), caption=pa.nulls(5, pa.string()))
    yield "null-type", written(image=pa.nulls(3), caption=pa.nulls(3))
    yield "text-for-picture", written(image=["x", "y"], caption=["a", "b"])
    yield "numbers", written(image=[1, 2], caption=[1.5, float("nan")])
    yield "lists", written(image=[[good], [good]], caption=[["a"], []])
    yield (
        "structs",
        written(image=[{"bytes": good, "path": "x"}, {"bytes": None, "path": "../../etc"}], caption=["a", "b"]),
    )
    yield "struct-of-text", written(image=[{"bytes": "x"}], caption=[{"a": {"b": [1]}}])
    yield "no-picture", written(caption=["a"])
    yield "no-caption", written(image=[good])
    yield "no-rows", written(image=pa.array([], pa.binary()), caption=pa.array([], pa.string()))
    yield "huge-text", written(image=[good], caption=["x" * 30_000_000])
    yield "bad-utf8", written(image=[good], caption=pa.array([b"\xff\xfe"]).cast(pa.string(), safe=False))
    yield "dates", written(image=[good], caption=pa.array([2**62], pa.timestamp("us")))
    yield "decimals", written(image=[good], key=pa.array([1]).cast(pa.decimal128(38, 2)), caption=["a"])
    yield "nothing", b""
    yield "no-parquet", b"PAR1" + bytes(100) + b"PAR1"


def broken(count, seed=5):
    draw, sound = random.Random(seed), next(iter(tables()))[1]
    for number in range(count):
        data = bytearray(sound)
        for _ in range(draw.choice((1, 3, 10))):
            # half of the damage goes to the footer, which tells where all else is
            low = draw.choice((0, max(0, len(data) - 900)))
            data[draw.randrange(low, len(data))] = draw.randrange(256)
        yield f"broken-{number:04d}", bytes(data[: draw.choice((len(data), len(data), draw.randrange(len(data))))])


def check_tables(folder, count):
    folder.mkdir()
    for name, data in [*tables(), *broken(count)]:
        (folder / f"{name}.parquet").write_bytes(data)
    source, found = ParquetSource(str(folder), "image", "caption", "key"), {}
    for shard in source.shards():
        with bounded(shard.name):
            found[shard.name] = [record.failure for record in source.records(shard, LIMITS)]
    return found


def tables_through_the_job(tmp_path, count):
    found = alone(check_tables, tmp_path / "in", count)
    assert found["good.parquet"] == [None, None]
    assert found["nothing.parquet"] == [Reason.UNREADABLE_SHARD]
    recipe = write_recipe(tmp_path, tmp_path / "in", kind="parquet", limits={"max_failures": 1.0})
    samples, reasons = run(tmp_path, recipe)
    assert len(samples) == len(reasons) == sum(map(len, found.values()))
    # the broken ones that still open hold the same pictures
    good = [reason for row, reason in zip(samples, reasons, strict=True) if row["shard"] == "good.parquet"]
    assert len(good) == 2
    assert set(good) <= {None, Reason.SAME_SAMPLE.value, Reason.EXACT_DUPLICATE.value}
    assert None in reasons
    assert json.dumps(samples, default=str)


def test_tables_of_every_wrong_kind(tmp_path):
    tables_through_the_job(tmp_path, 8)


@pytest.mark.hostile
@pytest.mark.timeout(900)
def test_the_whole_job_over_two_hundred_broken_tables(tmp_path):
    tables_through_the_job(tmp_path, 200)


@pytest.mark.hostile
@pytest.mark.timeout(900)
def test_thousands_of_broken_tables(tmp_path):
    found = alone(check_tables, tmp_path / "in", 3000)
    assert len(found) > 3000
    assert sum(1 for failures in found.values() if Reason.UNREADABLE_SHARD in failures) > 300
