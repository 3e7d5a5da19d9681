"""Decontamination: what another run or file holds is dropped with its own reason, by hashes or embeddings alone."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dedup_runs import MODEL, ledger, make, row, uid

from filters.errors import BadInput
from pipelines.jobs.dedup import dedup
from pipelines.jobs.dedup_against import CONTAMINATION_FILE
from pipelines.run.parts import read_table

OTHERS = [row(number) for number in range(100, 110)]


def rows():
    found = [row(number) for number in range(20)]
    found[0] |= {"sha256": OTHERS[0]["sha256"]}
    found[1] |= {"phash": OTHERS[1]["phash"] ^ 0b11}
    found[2] |= {"phash": found[1]["phash"]}
    found[3] |= {"pdq": OTHERS[3]["pdq"]}
    found[4] |= {"image": OTHERS[4]["image"] + 0.03}
    found[5] |= {"pixels": OTHERS[5]["pixels"]}
    return found


def file_of(path, columns, model=None):
    table = pa.table({name: [one[name] for one in OTHERS] for name in columns if name != "image"})
    if "image" in columns:
        flat = np.array([one["image"] for one in OTHERS], dtype=np.float32)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), 32)
        field = pa.field("image", vectors.type, metadata={"model": model} if model else None)
        table = table.append_column(field, vectors) if table.num_columns else pa.table([vectors], pa.schema([field]))
    pq.write_table(table, path)
    return str(path)


def contaminated(folder, *against, **settings):
    run = make(folder, [rows()[:7], rows()[7:]], against=list(against), **settings)
    dedup(run)
    found = ledger(run)
    dropped = {number for number in range(20) if "CONTAMINATED" in found[uid(number)]["reasons"]}
    return run, dropped


def test_a_run_contaminates_by_every_method(tmp_path):
    other = make(tmp_path / "other", [OTHERS], cosine=0.97)
    run, dropped = contaminated(tmp_path / "run", other.store.url, cosine=0.97)
    assert dropped == {0, 1, 2, 3, 4, 5}
    table = {one["position"]: one for one in read_table(run.store, CONTAMINATION_FILE).to_pylist()}
    assert [(table[n]["method"], table[n]["distance"]) for n in (0, 1, 2, 3, 5)] == [
        ("sha256", 0), ("phash", 2), ("phash", 2), ("pdq", 0), ("pixels", 0),
    ]  # fmt: skip
    assert [table[n]["other"] for n in (0, 1, 2, 3)] == [uid(100), uid(101), uid(101), uid(103)]
    assert table[4]["method"] == "embedding"


def test_of_a_dataset_only_what_it_keeps_counts(tmp_path):
    other = make(tmp_path / "other", [[{**one, "denied": one["uid"] == uid(100)} for one in OTHERS]])
    dedup(other)
    ledger(other)
    assert contaminated(tmp_path / "run", other.store.url)[1] == {1, 2, 3, 5}


@pytest.mark.parametrize(
    ("columns", "dropped"),
    [(["sha256"], {0}), (["phash", "uid"], {1, 2}), (["pdq"], {3}), (["image"], {4}), (["sha256", "image"], {0, 4})],
)
def test_columns_of_a_file_suffice(tmp_path, columns, dropped):
    path = file_of(tmp_path / "set.parquet", columns, MODEL)
    assert contaminated(tmp_path / "run", path, cosine=0.97)[1] == dropped


def test_sets_that_cannot_be_compared_are_refused_by_name(tmp_path):
    for make_it, message in [
        (lambda: str(tmp_path / "nowhere"), "no run and no file"),
        (lambda: file_of(tmp_path / "a.parquet", ["uid"]), "none of the columns"),
        (lambda: file_of(tmp_path / "b.parquet", ["image"], "other@sha256:1"), "embeddings are of other@sha256:1"),
        (lambda: _write(tmp_path / "c.parquet", b"PAR1 no"), "neither a run nor readable parquet"),
    ]:
        path = make_it()
        with pytest.raises(BadInput, match=message) as error:
            contaminated(tmp_path / "run", path, cosine=0.97)
        assert path in str(error.value)


GOOD = "ab" * 32


@pytest.mark.parametrize(
    ("column", "values", "row"),
    [
        *(("sha256", [GOOD, None, f"sha256:{GOOD}"], 2), ("sha256", ["ab" * 16], 0), ("sha256", [GOOD, GOOD[:-1]], 1)),
        *(("sha256", [b"ab" * 16], 0), ("sha256", [b"a" * 16], 0), ("sha256", [""], 0), ("sha256", [7], 0)),
        *(("pixels", [bytes(8)], 0), ("pdq", [bytes(32), bytes(31)], 1), ("pdq", ["x\x1b" * 32], 0)),
        *(("phash", [1, -1], 1), ("phash", [None, 0.5], 1), ("phash", ["p:ff"], 0), ("phash", ["f" * 17], 0)),
        *(("phash", [b"12"], 0), ("phash", [True], 0), ("colours", [b"x"], 0)),
    ],
)
def test_hashes_that_cannot_be_read_are_refused_by_column_and_row(tmp_path, column, values, row):
    table = {"sha256": [GOOD] * len(values), column: values}
    pq.write_table(pa.table(table), tmp_path / "set.parquet")
    with pytest.raises(BadInput, match=rf"set\.parquet: column {column}, row {row}: ") as error:
        contaminated(tmp_path / "run", str(tmp_path / "set.parquet"))
    assert str(error.value).isprintable()


def test_null_is_no_hash_and_hex_of_either_case_is_one(tmp_path):
    known = OTHERS[0]["sha256"]
    pq.write_table(pa.table({"sha256": [None, known.upper()], "phash": [None, "0F"]}), tmp_path / "set.parquet")
    assert contaminated(tmp_path / "run", str(tmp_path / "set.parquet"))[1] == {0}


def _write(path, data):
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize(("lab", "dropped"), [((50, 60, 40), {1, 2}), ((50, -60, 40), set()), (None, {1, 2})])
def test_a_set_with_colours_is_compared_by_them(tmp_path, lab, dropped):
    def look(*one):
        return np.tile(np.array(one, dtype=np.int8), 16).tobytes()

    names = ["phash"] + (["colours"] if lab else [])
    table = pa.table({"phash": [OTHERS[1]["phash"]], "colours": [look(*(lab or (0, 0, 0)))]}).select(names)
    pq.write_table(table, tmp_path / "set.parquet")
    own = [{**one, "colours": look(50, 60, 40)} for one in rows()]
    run = make(tmp_path / "run", [own], against=[str(tmp_path / "set.parquet")])
    dedup(run)
    found = ledger(run)
    assert {n for n in range(20) if "CONTAMINATED" in found[uid(n)]["reasons"]} == dropped
