"""The register: rows once and for all, on SQLite and on a real PostgreSQL server."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from threading import Barrier

import numpy as np
import pytest

from filters.errors import BadInput
from training.hallmark.registry import Entry, open_register

ROW = Entry(
    id="0" * 32,
    sha256="a" * 64,
    pdq=bytes(32),
    quality=100,
    store=b"\x00store\xff",
    checkpoint="c" * 64,
    dataset="d" * 64,
    mark="01020304",
    nonce=b"n" * 12,
    created_at=datetime(2026, 11, 21, 12, 0, 0, 123000, tzinfo=timezone.utc),
)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    return str(tmp_path / "r.sqlite") if request.param == "sqlite" else request.getfixturevalue("postgres_url")


def numbered(number, **changes):
    given = {"id": f"{number:032x}", "nonce": number.to_bytes(12, "big"), **changes}
    return replace(ROW, **given)


def test_a_row_comes_back_as_it_was_after_opening_again(url):
    with open_register(url, create=True) as register:
        register.add(ROW)
    with open_register(url) as register:
        assert register.get(ROW.id) == ROW
        assert register.get("1" * 32) is None
        assert register.count() == 1
        assert list(register.nonces()) == [(ROW.id, ROW.nonce)]
        assert list(register.by_mark("01020304")) == [ROW]
        assert list(register.by_mark("ffffffff")) == []


def test_marks_may_be_absent(url):
    with open_register(url, create=True) as register:
        for number in (1, 2):
            register.add(numbered(number, nonce=None, mark=None))
        assert list(register.nonces()) == []
        assert register.get(f"{1:032x}") == numbered(1, nonce=None, mark=None)


def test_an_id_or_a_nonce_is_issued_once(url):
    with open_register(url, create=True) as register:
        register.add(ROW)
        for again in (ROW, numbered(7, nonce=ROW.nonce), numbered(0, nonce=b"x" * 12)):
            with pytest.raises(BadInput):
                register.add(again)
        assert register.get(ROW.id) == ROW
        assert register.count() == 1


def test_rows_are_neither_changed_nor_deleted(url):
    with open_register(url, create=True) as register:
        register.add(ROW)
        for sql in ("UPDATE hallmarks SET dataset = 'x'", "DELETE FROM hallmarks"):
            with pytest.raises(BadInput, match="append-only"):
                register._database.rows(sql)
        assert register.get(ROW.id) == ROW


def test_a_sqlite_row_is_not_replaced_either(tmp_path):
    path = tmp_path / "r.sqlite"
    with open_register(str(path), create=True) as register:
        register.add(ROW)
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="issued before"):
        connection.execute("INSERT OR REPLACE INTO hallmarks SELECT * FROM hallmarks")
    connection.close()


def test_likeness_finds_the_nearest_first_and_only_near_ones(url):
    with open_register(url, create=True) as register:
        for number, bits in ((1, 40), (2, 31), (3, 4), (4, 0)):
            code = np.packbits(np.arange(256) < bits).tobytes()
            register.add(numbered(number, pdq=code, quality=10 if number == 4 else 90, mark=f"{number % 2:08x}"))
        found = register.like([b"\xff" * 32, bytes(32)], 31, 50)
        assert [(entry.id[-1], distance) for entry, distance in found] == [("3", 4), ("2", 31)]
        assert [entry.id[-1] for entry, _ in register.like([b"\xff" * 32, bytes(32)], 31, 50, mark="00000001")] == [
            "3"
        ]


def test_many_rows_are_read_in_pages(tmp_path, monkeypatch):
    monkeypatch.setattr("training.hallmark.registry._PAGE", 3)
    with open_register(str(tmp_path / "r"), create=True) as register:
        for number in range(10):
            register.add(numbered(number))
        assert [name for name, _ in register.nonces()] == [f"{number:032x}" for number in range(10)]
        assert len(list(register.by_mark("01020304"))) == 10
        assert len(register.like([b"\xff" * 32, bytes(32)], 0, 50)) == 10


def test_several_workers_make_and_fill_one_register(url):
    def work(worker):
        with open_register(url, create=True) as register:
            for number in range(5):
                register.add(numbered(100 * worker + number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(1, 5)))
    with open_register(url) as register:
        assert register.count() == 20


def test_workers_that_open_one_new_register_at_the_same_moment_all_get_it(tmp_path):
    together = Barrier(4)

    def opened(path):
        together.wait(30)
        with open_register(path, create=True) as register:
            return register.count()

    with ThreadPoolExecutor(4) as pool:
        for number in range(25):
            assert list(pool.map(opened, [str(tmp_path / f"{number}.sqlite")] * 4)) == [0] * 4


@pytest.mark.parametrize(
    ("column", "value", "refused"),
    [
        ("id", b"x", ["nonces", "like", "marks"]),
        ("id", "x", ["nonces", "like", "marks"]),
        ("sha256", None, ["get", "marks"]),
        ("pdq", b"abc", ["get", "like", "marks"]),
        ("pdq", "x" * 32, ["get", "like", "marks"]),
        ("pdq", None, ["get", "like", "marks"]),
        ("pdq", 10**12, ["get", "like", "marks"]),
        ("quality", "high", ["get", "marks"]),
        ("store", "text", ["get", "marks"]),
        ("store", None, ["get", "marks"]),
        ("nonce", b"x", ["get", "nonces", "marks"]),
        ("nonce", 12, ["get", "nonces", "marks"]),
        ("created_at", 5, ["get", "marks"]),
        ("created_at", "2026-01-01", ["get", "marks"]),
    ],
)
def test_rows_of_other_types_than_assay_writes_are_one_line(tmp_path, column, value, refused):
    path = tmp_path / "r.sqlite"
    with open_register(str(path), create=True) as register:
        register.add(ROW)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE TABLE other AS SELECT * FROM hallmarks")  # neither types nor triggers
    connection.execute("DROP TABLE hallmarks")
    connection.execute("ALTER TABLE other RENAME TO hallmarks")
    connection.execute(f"UPDATE hallmarks SET {column} = ?", (value,))
    connection.close()
    with open_register(str(path)) as register:
        reads = {
            "get": lambda: register.get(ROW.id),
            "nonces": lambda: list(register.nonces()),
            "like": lambda: register.like([bytes(32)], 31, 50),
            "marks": lambda: list(register.by_mark("01020304")),
        }
        for name in refused:
            with pytest.raises(BadInput, match="was changed behind Assay's back"):
                reads[name]()


def test_what_is_no_register_is_refused_by_name(tmp_path):
    with pytest.raises(BadInput, match="no register of hallmarks"):
        open_register(str(tmp_path / "absent"))
    (tmp_path / "text").write_text("hello, this is no database at all" * 50)
    with pytest.raises(BadInput, match="text"):
        open_register(str(tmp_path / "text"))
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(BadInput, match="no register"):
        open_register(str(tmp_path / "other"), create=True)
    with pytest.raises(BadInput, match="mysql"):
        open_register("mysql://user:secret@host/db")
