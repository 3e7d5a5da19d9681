"""One run over real pictures: what it leaves behind is whole, consistent and readable by others."""

import hashlib
import json
import tarfile

import numpy as np
import pyarrow.parquet as pq
import webdataset

from audit.counts import count, funnel
from filters.reasons import Reason
from pipelines.commands.status import describe
from pipelines.run.directory import open_run
from pipelines.run.schema import SCHEMA_VERSION


def rows(run, artefact, columns=None):
    return [row for table in run.tables(artefact, columns) for row in table.to_pylist()]


def test_status_equals_the_ledger_and_adds_up(real_run):
    run = open_run(str(real_run.folder))
    ledger = rows(run, "ledger")
    status = describe(run)
    assert status["samples"] == len(ledger) == 240
    assert status["kept"] == sum(row["decision"] == "kept" for row in ledger)
    for code, number in status["dropped"].items():
        assert number == sum(row["primary_reason"] == code for row in ledger)
    assert status["kept"] + sum(status["dropped"].values()) == 240
    assert status["balanced"] is True
    steps = funnel(count(run.tables("ledger"), 240))
    assert steps[-1].left == status["kept"]


def test_every_kept_picture_has_the_hash_it_came_with(real_run):
    run = open_run(str(real_run.folder))
    kept = {row["uid"] for row in rows(run, "ledger") if row["decision"] == "kept"}
    stated = {row["uid"]: row["sha256"] for row in rows(run, "samples")}
    tars = sorted(str(path) for path in real_run.folder.glob("shards/*.tar"))
    read = {item["__key__"]: item for item in webdataset.WebDataset(tars, shardshuffle=False)}
    assert set(read) == kept
    for key, item in read.items():
        assert hashlib.sha256(item["png"]).hexdigest() == stated[key] == json.loads(item["json"])["sha256"]
        assert item["txt"].decode()


def test_the_index_opens_in_webdataset_as_it_is(real_run, tmp_path, monkeypatch):
    import wids

    monkeypatch.chdir(tmp_path)
    dataset = wids.ShardListDataset(str(real_run.folder / "shards" / "index.json"), keep=True)
    assert len(dataset) == real_run.status["kept"]
    assert dataset[len(dataset) - 1][".json"]["uid"] == dataset[len(dataset) - 1]["__key__"]


def test_parts_are_parallel_and_every_sample_has_all_scores_or_a_failure(real_run):
    run = open_run(str(real_run.folder))
    for index in run.parts("samples"):
        samples, scores = run.table("samples", index), run.table("scores", index)
        assert samples.column("uid").equals(scores.column("uid"))
        assert samples.column("uid").equals(run.table("ledger", index).column("uid"))
        assert samples.column("uid").equals(run.table("embeddings", index).column("uid"))
        for sample, score in zip(samples.to_pylist(), scores.to_pylist(), strict=True):
            failed = sample["failure"] or score["failure"]
            assert (score["similarity"] is None) == bool(failed)
            assert (score["nsfw"] is None) == bool(failed)


def test_embeddings_have_length_one_where_there_is_a_score_and_zero_elsewhere(real_run):
    run = open_run(str(real_run.folder))
    for index in run.parts("scores"):
        vectors = np.array(run.table("embeddings", index).column("image").to_pylist(), dtype=np.float32)
        scored = [row["similarity"] is not None for row in run.table("scores", index).to_pylist()]
        assert np.allclose(np.linalg.norm(vectors, axis=1), scored, atol=2e-3)


def test_every_file_states_its_schema_version_and_its_scorers(real_run):
    files = list(real_run.folder.rglob("*.parquet"))
    assert len(files) > 20
    for path in files:
        assert pq.read_schema(path).metadata[b"schema_version"].decode() == SCHEMA_VERSION
    field = pq.read_schema(real_run.folder / "scores" / "part-00000.parquet").field("similarity")
    assert field.metadata[b"scorer"] == b"similarity"
    assert b"sha256:" in field.metadata[b"model"]


def test_a_kept_sample_has_no_reason_and_a_dropped_one_has_its_primary_first(real_run):
    run = open_run(str(real_run.folder))
    codes = {reason.value for reason in Reason}
    for row in rows(run, "ledger"):
        assert set(row["reasons"]) <= codes
        if row["decision"] == "kept":
            assert (row["reasons"], row["primary_reason"], row["weight"]) == ([], None, 1.0)
        else:
            assert row["primary_reason"] == row["reasons"][0]
            assert row["weight"] is None


def test_a_dropped_duplicate_names_the_sample_kept_in_its_place(real_run):
    ledger = {row["uid"]: row for row in rows(open_run(str(real_run.folder)), "ledger")}
    dropped = [row for row in ledger.values() if (row["primary_reason"] or "").endswith("_DUPLICATE")]
    assert dropped
    for row in dropped:
        other = ledger[row["duplicate_of"]]
        assert other["cluster"] == row["cluster"]
        assert other["primary_reason"] in (None, "BALANCE_CAP")


def test_each_scored_picture_has_a_thumbnail(real_run):
    run = open_run(str(real_run.folder))
    for index in run.parts("scores"):
        with tarfile.open(real_run.folder / "thumbnails" / f"part-{index:05d}.tar") as archive:
            names = {name.removesuffix(".webp") for name in archive.getnames()}
        table = run.table("scores", index, ["uid", "similarity"])
        scored = {row["uid"] for row in table.to_pylist() if row["similarity"] is not None}
        assert names == scored


def test_the_report_is_there_and_names_the_dataset(real_run):
    text = (real_run.folder / "report.html").read_text()
    assert str(real_run.status["content_hash"])[:12] in text
