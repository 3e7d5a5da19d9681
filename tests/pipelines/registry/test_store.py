"""A registry only grows, and whatever else happens to it shows. The same tests hold for SQLite and PostgreSQL."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from datetime import datetime, timezone

import pytest

from filters.errors import BadInput
from filters.optout.entries import Draft, Kind
from pipelines.registry import Snapshot, create_registry, open_registry

AT = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
DOMAINS = [Draft(Kind.DOMAIN, f"site{number}.example") for number in range(20)]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    return str(tmp_path / "r.sqlite") if request.param == "sqlite" else request.getfixturevalue("postgres_url")


def test_entries_come_back_as_they_went_in(url):
    drafts = [
        Draft(Kind.CREATOR, "Doë, Jane", ("J. D.", "草間"), "Jane 😀", "Art. 4", "line\nline\ttab 'quote\" ; --"),
        Draft(Kind.URL, "https://example.org/a"),
    ]
    with create_registry(url) as made:
        appended = made.append(drafts, AT)
        assert (appended.first, appended.last) == (1, 2)
    with open_registry(url) as registry:
        first, second = registry.entries()
        assert (first.value, first.aliases, first.requester, first.basis, first.note) == (
            *("Doë, Jane", ("J. D.", "草間"), "Jane 😀", "Art. 4", "line\nline\ttab 'quote\" ; --"),
        )
        assert (first.created_at, first.previous, second.previous) == (AT, registry.genesis, first.hash)
        assert registry.verify() == []
        assert registry.snapshot().hash == second.hash == appended.snapshot.hash
        assert [entry.seq for entry in registry.entries(since=1)] == [2]
        assert registry.counts() == {"creator": 1, "url": 1}
        assert [entry.seq for entry in registry.some([2, 2, 99])] == [2]


def killed_making(url, when):
    """Let a process make the registry, and be killed where `when` says; the database's class is called D there."""
    code = f"""
import os, signal, sqlite3, sys
from pipelines.registry.store import create_registry
from pipelines.registry.{"postgres" if "://" in url else "sqlite"} import *
D = {"PostgresDatabase" if "://" in url else "SqliteDatabase"}
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
{when}
create_registry(sys.argv[1])
"""
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def made_after_all(url):
    with pytest.raises(BadInput, match=r"no registry; make one with assay optout init|own record is missing"):
        open_registry(url)
    with create_registry(url) as made:
        made.append(DOMAINS)
    with open_registry(url) as opened:
        assert (opened.id, opened.verify(), opened.snapshot().seq) == (made.id, [], 20)
    with pytest.raises(BadInput, match=r"there is a (registry|file) already"):
        create_registry(url)


@pytest.mark.parametrize("when", ["D.insert = die", "D.create = die"])
def test_a_maker_that_is_killed_leaves_nothing_in_the_way(url, when):
    killed_making(url, when)
    made_after_all(url)


def test_a_maker_that_is_killed_while_sqlite_writes_the_file_leaves_nothing_in_the_way(tmp_path):
    """The pages are on the disk, and beside them the journal by which they are taken back."""
    url = str(tmp_path / "r.sqlite")
    spill = "i = D.insert\ndef insert(s, *a): i(s, *a); s._connection.execute('PRAGMA cache_spill = 1'); "
    spill += "s._connection.execute('PRAGMA cache_size = 1'); "
    spill += "s._connection.execute('CREATE TABLE filler (x)'); "
    spill += "s._connection.executemany('INSERT INTO filler VALUES (zeroblob(?))', [(100000,)] * 9); die()\n"
    killed_making(url, spill + "D.insert = insert")
    assert os.path.getsize(url) > 100_000
    assert os.path.getsize(url + "-journal") > 0
    made_after_all(url)


def test_tables_without_a_record_as_older_versions_left_them_are_completed(url):
    old = "def create(s, record):\n    with s.writing(): s._make_tables()\n    die()\n"
    if "://" in url:
        old = "def create(s, record):\n    s._make_tables(); s._connection.commit(); die()\n"
    killed_making(url, old + "D.create = create")
    with pytest.raises(BadInput, match="own record is missing; see assay optout init"):
        open_registry(url)
    made_after_all(url)


def test_of_two_makers_at_once_one_makes_the_registry(url):
    code = (
        "import sys\nfrom filters.errors import BadInput\nfrom pipelines.registry.store import create_registry\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "try: print(create_registry(sys.argv[1]).id)\nexcept BadInput as error: print(error)\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    makers = [subprocess.Popen([sys.executable, "-c", code, url], **pipes) for _ in range(2)]
    for maker in makers:
        assert maker.stdout.readline() == "ready\n"
    for maker in makers:
        maker.stdin.write("\n")
        maker.stdin.flush()
    told = [maker.communicate(timeout=60)[0].strip() for maker in makers]
    with open_registry(url) as made:
        assert told.count(made.id) == 1
    assert sum("there is a registry already" in line or "there is a file already" in line for line in told) == 1


def test_all_or_none_is_appended(url):
    with create_registry(url) as registry:
        registry.append(DOMAINS[:1])
        with pytest.raises(BadInput):
            registry.append([*DOMAINS, Draft(Kind.DOMAIN, "co.uk")])

        def failing():
            yield from DOMAINS
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            registry.append(failing())
        assert registry.snapshot().seq == 1
        assert registry.append(DOMAINS).last == 21
        assert registry.verify() == []


def test_pages_are_read_across_their_ends(url, monkeypatch):
    monkeypatch.setattr("pipelines.registry.store._PAGE", 7)
    with create_registry(url) as registry:
        registry.append(DOMAINS)
        assert [entry.seq for entry in registry.entries()] == list(range(1, 21))
        assert [entry.seq for entry in registry.entries(3, 14)] == list(range(4, 15))
        assert [seq for page in registry.keys(3, 14) for seq, _ in page] == list(range(4, 15))
        assert registry.verify() == []


def test_snapshots_are_found_by_their_hash(url):
    with create_registry(url) as registry:
        empty = registry.snapshot()
        assert (empty.seq, empty.hash) == (0, registry.genesis)
        early = registry.append(DOMAINS[:5], AT).snapshot
        registry.append(DOMAINS[5:])
        assert registry.snapshot_at(early.hash) == Snapshot(5, early.hash, AT)
        assert registry.snapshot_at(empty.hash).seq == 0
        assert registry.holds(early)
        assert not registry.holds(Snapshot(6, early.hash, AT))
        for unknown in ("0" * 64, "no hash", ""):
            with pytest.raises(BadInput):
                registry.snapshot_at(unknown)


def test_two_registries_have_different_chains(tmp_path):
    hashes = set()
    for name in ("a", "b"):
        with create_registry(str(tmp_path / name)) as registry:
            hashes.add(registry.append(DOMAINS[:1], AT).snapshot.hash)
    assert len(hashes) == 2


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE optout_entries SET value = 'x' WHERE seq = 1",
        "DELETE FROM optout_entries",
        "DELETE FROM optout_registry",
        "UPDATE optout_registry SET id = 'x'",
    ],
)
def test_the_database_itself_refuses_changes(url, sql):
    with create_registry(url) as registry:
        registry.append(DOMAINS)
        with pytest.raises(BadInput, match="append-only"):
            registry.database.rows(sql)
        assert registry.verify() == []
        assert registry.append(DOMAINS).last == 40


def test_sqlite_refuses_replacing_and_gaps(registry):
    registry.append(DOMAINS)
    columns = "seq, kind, value, entry_keys, aliases, requester, basis, note, created_at, previous, hash"
    for start in ("INSERT OR REPLACE", "INSERT"):
        for seq in (1, 20, 22, "NULL"):
            with pytest.raises(BadInput):
                registry.database.rows(
                    f"{start} INTO optout_entries ({columns}) "
                    f"VALUES ({seq}, 'url', 'x', 'x', '[]', '', '', '', '', x'00', x'00')"
                )
    assert registry.verify() == []


def unlocked(path):
    """Open the file behind Assay's back, without its triggers."""
    connection = sqlite3.connect(path, isolation_level=None)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    return connection


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("UPDATE optout_entries SET value = 'evil.example' WHERE seq = 7", "ENTRY_CHANGED"),
        ("UPDATE optout_entries SET entry_keys = 'domain:evil.example' WHERE seq = 7", "ENTRY_CHANGED"),
        ("UPDATE optout_entries SET created_at = '2020-01-01T00:00:00.000Z' WHERE seq = 7", "ENTRY_CHANGED"),
        ("UPDATE optout_entries SET hash = zeroblob(32) WHERE seq = 7", "ENTRY_CHANGED"),
        ("DELETE FROM optout_entries WHERE seq = 7", "ENTRY_MISSING"),
        ("DELETE FROM optout_entries WHERE seq = 1", "ENTRY_MISSING"),
        ("UPDATE optout_registry SET id = 'other'", "CHAIN_BROKEN"),
    ],
)
def test_tampering_is_found(registry, sql, code):
    registry.append(DOMAINS)
    path = registry.url
    registry.close()
    with unlocked(path) as connection:
        connection.execute(sql)
    with open_registry(path) as registry:
        assert code in {problem.code for problem in registry.verify()}


def test_a_deleted_tail_is_found_by_a_snapshot(registry):
    snapshot = registry.append(DOMAINS).snapshot
    path = registry.url
    with unlocked(path) as connection:
        connection.execute("DELETE FROM optout_entries WHERE seq > 15")
    with open_registry(path) as cut:
        assert cut.verify() == []
        assert [problem.code for problem in cut.verify(snapshot)] == ["SNAPSHOT_MISSING"]
        with pytest.raises(BadInput, match="no entry has the hash"):
            cut.snapshot_at(snapshot.hash)


def test_a_rewritten_chain_is_found_by_a_snapshot(registry, tmp_path):
    snapshot = registry.append(DOMAINS, AT).snapshot
    with unlocked(registry.url) as connection:
        connection.execute("DELETE FROM optout_entries")
    registry.append([*DOMAINS[:19], Draft(Kind.DOMAIN, "other.example")], AT)
    assert registry.verify() == []
    assert [problem.code for problem in registry.verify(snapshot)] == ["SNAPSHOT_MISSING"]


def test_entries_that_no_assay_wrote_are_one_clear_error(registry):
    registry.append(DOMAINS)
    with unlocked(registry.url) as connection:
        connection.execute("UPDATE optout_entries SET kind = 'other' WHERE seq = 7")
    with pytest.raises(BadInput, match="entry 7"):
        registry.verify()


def test_what_is_no_registry_is_refused(tmp_path):
    (tmp_path / "text").write_text("hello " * 1000)
    (tmp_path / "empty").write_bytes(b"")
    sqlite3.connect(tmp_path / "other").execute("CREATE TABLE t (x)").connection.close()
    for name in ("missing", "text", "empty", "other", "."):
        with pytest.raises(BadInput):
            open_registry(str(tmp_path / name))
    for name in ("text", "other", "."):
        with pytest.raises(BadInput, match="choose another name"):
            create_registry(str(tmp_path / name))
    for opening in (open_registry, create_registry):
        with pytest.raises(BadInput):
            opening("x" * 300)
    with pytest.raises(BadInput, match="SQLite file or"):
        open_registry("mysql://user:secret@host/x")
    with pytest.raises(BadInput):
        create_registry(str(tmp_path / "no folder" / "x"))


def test_a_cut_off_file_is_one_clear_error(registry, tmp_path):
    registry.append([Draft(Kind.URL, f"https://example.org/{number}") for number in range(2000)])
    registry.close()
    data = (tmp_path / "registry.sqlite").read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    with pytest.raises(BadInput), open_registry(str(tmp_path / "cut")) as cut:
        cut.verify()
