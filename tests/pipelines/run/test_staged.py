"""A change of many files is made whole or not at all, wherever it is interrupted."""

import os

import pytest

from filters.errors import BadInput
from pipelines.run import staged
from pipelines.run.lock import locked
from pipelines.run.staged import Staged, committed, settle
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


def test_interrupted_at_every_single_step_it_is_the_old_or_the_new(tmp_path, monkeypatch):
    """Stop before the n-th call of the system that changes the disk, for every n, then open the run again."""
    ends = set()
    for stop in range(1, 40):
        store = make(tmp_path / str(stop))
        calls = iter(range(1, 1000))

        def counted(real, calls=calls, stop=stop):
            def call(*arguments, **settings):
                if next(calls) == stop:
                    raise KeyboardInterrupt
                return real(*arguments, **settings)

            return call

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
