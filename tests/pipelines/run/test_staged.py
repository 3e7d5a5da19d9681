"""A change of many files is made whole or not at all, wherever it is interrupted."""

import json
import os
from datetime import datetime, timedelta, timezone

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from filters.errors import BadInput
from pipelines.run import staged
from pipelines.run.lock import locked
from pipelines.run.staged import Interfered, Staged, committed, settle
from pipelines.run.storage import Store

OLD = {"a/one": b"old one", "a/two": b"old two", "manifest.json": b"old"}
NEW = {"a/one": b"new one", "a/three": b"three", "manifest.json": b"new"}


def make(folder) -> Store:
    store = Store(str(folder))
    for name, data in OLD.items():
        store.write(name, data)
    return store


def change(store: Store) -> Staged:
    new = Staged(store)
    for name, data in NEW.items():
        new.write(name, data)
    new.delete("a/two")
    return new


def content(store: Store) -> dict[str, bytes]:
    names = [name.lstrip("/") for folder in ("a", "") for name in store.list(folder)]
    return {name: store.read(name) for name in names if name != ".lock"}


def test_reads_see_the_change_before_the_run_has_it(tmp_path):
    store = make(tmp_path)
    new = change(store)
    assert content(new) == NEW
    assert (new.size("a/three"), new.size("a/two"), new.exists("a/two")) == (5, None, False)
    assert (new.changed, new.removed) == (sorted(NEW), ["a/two"])
    with pytest.raises(BadInput):
        new.read("a/two")
    assert content(store) == OLD


def test_a_commit_makes_the_whole_change_and_leaves_nothing_behind(tmp_path):
    store = make(tmp_path)
    change(store).commit()
    assert content(store) == NEW
    assert not (tmp_path / ".pending").exists()


def test_a_change_that_is_given_up_leaves_the_run_as_it_was(tmp_path):
    store = make(tmp_path)
    change(store)
    with locked(store):
        pass
    assert content(store) == OLD
    assert not (tmp_path / ".pending").exists()


def interrupted_at(stop):
    """Return what wraps calls so that the `stop`-th of all that are wrapped is interrupted before it does anything."""
    calls = iter(range(1, 1000))

    def counted(real):
        def call(*arguments, **settings):
            if next(calls) == stop:
                raise KeyboardInterrupt
            return real(*arguments, **settings)

        return call

    return counted


def test_interrupted_at_every_single_step_it_is_the_old_or_the_new(tmp_path, monkeypatch):
    """Stop before the n-th call of the system that changes the disk, for every n, then open the run again."""
    ends = set()
    for stop in range(1, 40):
        store = make(tmp_path / str(stop))
        counted = interrupted_at(stop)
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", counted(os.replace))
            patch.setattr(os, "fsync", counted(os.fsync))
            patch.setattr(Store, "delete", counted(Store.delete))
            try:
                change(store).commit()
                ends.add("done")
            except KeyboardInterrupt:
                pass
        with locked(store):
            pass
        assert content(store) in (OLD, NEW)
        ends.add("old" if content(store) == OLD else "new")
        assert not committed(store)
    assert ends == {"done", "old", "new"}


def test_settling_twice_changes_nothing(tmp_path, monkeypatch):
    store = make(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(staged, "_apply", lambda store: None)
        change(store).commit()
    assert committed(store)
    settle(store)
    settle(store)
    assert content(store) == NEW


@pytest.fixture
def bucket(tmp_path):
    """A store without a lock."""
    return make(f"memory://staged/{tmp_path.name}")


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    return make(tmp_path) if request.param == "local" else request.getfixturevalue("bucket")


def staged_files(store: Store) -> list[str]:
    root = store.path(".pending")
    return sorted(path.rpartition("/.pending/")[2] for path in store.fs.find(root))


def lose(store: Store, ending: str) -> None:
    (path,) = [path for path in store.fs.find(store.path(".pending")) if path.endswith(ending)]
    store.fs.rm_file(path)


def test_without_a_lock_another_job_leaves_the_stage_of_a_running_change(bucket):
    new = Staged(bucket)
    new.write("a/one", NEW["a/one"])
    with locked(bucket):  # as a training does that writes its checkpoint's record
        bucket.write("trainings/x.json", b"{}")
    for name in ("a/three", "manifest.json"):
        new.write(name, NEW[name])
    new.delete("a/two")
    new.commit()
    assert content(bucket) == NEW
    assert staged_files(bucket) == []


@pytest.mark.parametrize("told", ["created", "LastModified", "mtime", None])
def test_without_a_lock_what_a_killed_job_staged_goes_when_it_is_old(bucket, monkeypatch, told):
    ages, find = {}, MemoryFileSystem.find

    def listing(self, path, **settings):
        """The listing as stores of other kinds give it: with a time as a number, with or without zone, or none."""
        found = find(self, path, **settings)
        for name in found if settings.get("detail") else ():
            at = datetime.now(timezone.utc) - ages.get(name, timedelta(0))
            forms = {"created": at.timestamp(), "LastModified": at, "mtime": at.replace(tzinfo=None)}
            found[name] = {"name": name, "size": 1, "type": "file", **({told: forms[told]} if told else {})}
        return found

    change(bucket)
    killed = bucket.fs.find(bucket.path(".pending"))
    at_work = change(bucket)
    day = timedelta(days=1, minutes=1)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "find", listing)
        ages.update(dict.fromkeys(killed[1:], day))  # one young file: somebody may be at work
        with locked(bucket):
            assert len(staged_files(bucket)) == 2 * len(NEW)
        ages.update(dict.fromkeys(killed, day))
        with locked(bucket):
            assert len(staged_files(bucket)) == len(NEW) * (1 if told else 2)  # a store without times keeps all
    at_work.commit()
    assert content(bucket) == NEW


def test_a_change_of_which_a_file_was_deleted_does_not_count(store):
    new = change(store)
    lose(store, "/a/one")
    with pytest.raises(Interfered, match=r"a/one .* deleted by another job .* run the same command again"):
        new.commit()
    assert content(store) == OLD
    assert not committed(store)


def test_a_file_of_a_committed_change_that_is_lost_is_told(store, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(staged, "_apply", lambda store: None)
        change(store).commit()
    lose(store, "/a/one")
    for _ in range(2):
        with pytest.raises(Interfered, match="a/one of a change that was under way is lost"), locked(store):
            pass
    store.write("a/one", NEW["a/one"])
    settle(store)
    assert content(store) == NEW


def test_without_a_lock_it_is_the_old_or_the_new_wherever_it_is_interrupted(tmp_path, monkeypatch):
    """Stop before the n-th call that changes the store, for every n, then open the run again."""
    ends = []
    for stop in range(1, 30):
        store = make(f"memory://staged/{tmp_path.name}/{stop}")
        counted = interrupted_at(stop)
        with monkeypatch.context() as patch:
            for name in ("put_file", "cp_file", "rm_file", "rm"):
                patch.setattr(MemoryFileSystem, name, counted(getattr(MemoryFileSystem, name)))
            try:
                change(store).commit()
                ends.append("done")
            except KeyboardInterrupt:
                pass
        with locked(store):
            pass
        assert content(store) in (OLD, NEW)
        ends.append("old" if content(store) == OLD else "new")
        assert not committed(store)
    assert {*ends} == {"old", "new", "done"}


def meanwhile(patch, act):
    """Do something just before the first copy of a file to its place."""
    real, acts = MemoryFileSystem.cp_file, [act]

    def copy(*arguments, **settings):
        if acts:
            acts.pop()()
        return real(*arguments, **settings)

    patch.setattr(MemoryFileSystem, "cp_file", copy)


def test_without_a_lock_two_may_finish_a_change(bucket, monkeypatch):
    meanwhile(monkeypatch, lambda: settle(Store(bucket.url)))
    change(bucket).commit()
    assert content(bucket) == NEW
    assert staged_files(bucket) == []


def test_who_finishes_a_change_late_does_not_undo_the_next(bucket, monkeypatch):
    def next_one():
        settle(Store(bucket.url))
        new = Staged(Store(bucket.url))
        for name in NEW:
            new.write(name, b"newest")
        new.commit()

    meanwhile(monkeypatch, next_one)
    change(bucket).commit()
    assert content(bucket) == dict.fromkeys(NEW, b"newest")
    assert not committed(bucket)


def test_a_change_does_not_overtake_one_that_is_being_put_in_place(bucket, monkeypatch):
    other = change(Store(bucket.url))

    def overtake():
        with pytest.raises(Interfered, match="another job changes the dataset at this moment"):
            other.commit()

    meanwhile(monkeypatch, overtake)
    change(bucket).commit()
    assert content(bucket) == NEW


FILE = {"name": "a/one", "sha256": "0" * 64}


@pytest.mark.parametrize(
    "body",
    [
        *("", "[]", "{}", "[" * 100_000, {"id": "0" * 16, "replace": ["a/one"], "delete": []}),
        {"id": "..", "replace": [FILE], "delete": []},
        {"id": "0" * 16, "replace": [FILE], "delete": ["../../other"]},
        {"id": "0" * 16, "replace": [{**FILE, "name": "/etc/other"}], "delete": []},
    ],
)
def test_a_commit_record_that_is_none_is_one_clear_line(store, body):
    store.write(".pending/commit.json", (body if isinstance(body, str) else json.dumps(body)).encode())
    with pytest.raises(BadInput, match=r"commit\.json: not the record of a change") as told, locked(store):
        pass
    assert "\n" not in str(told.value)
    assert content(store) == OLD
