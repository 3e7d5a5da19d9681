"""The index finds every key, is built again where it is not sound, and never decides alone."""

from __future__ import annotations

import numpy as np
import pytest

from filters.optout.entries import Draft, Kind
from pipelines.registry import create_registry
from pipelines.registry import index as module
from pipelines.registry.index import index_path, key_hashes, open_index
from pipelines.registry.matcher import Matcher


def drafts(start, stop):
    return [Draft(Kind.URL, f"https://example.org/{number}") for number in range(start, stop)]


def found(parts, names):
    """Return {(position, entry)} over all parts."""
    hashes = key_hashes(names)
    pairs = set()
    for part in parts:
        positions, numbers = part.search(hashes)
        pairs |= set(zip(positions.tolist(), numbers.tolist(), strict=True))
    return pairs


def test_every_key_is_found_with_all_its_entries_and_no_other(registry):
    registry.append(drafts(0, 3000))
    registry.append(drafts(0, 2))
    names = [f"url:example.org/{number}" for number in (0, 1, 2999, 3000, 0)]
    parts = open_index(registry, registry.snapshot())
    assert found(parts, names) == {(0, 1), (0, 3001), (1, 2), (1, 3002), (2, 3000), (4, 1), (4, 3001)}
    assert (np.diff(parts[0].hashes.astype(np.float64)) >= 0).all()
    assert parts[0].kinds == {"url": 3002}


def test_an_empty_registry_has_an_empty_index(registry):
    for _ in range(2):
        parts = open_index(registry, registry.snapshot())
        assert found(parts, ["url:example.org/1"]) == set()


def test_new_entries_are_found_without_a_new_file_and_many_of_them_make_one(registry, monkeypatch):
    monkeypatch.setattr(module, "_TAIL", 100)
    registry.append(drafts(0, 50))
    open_index(registry, registry.snapshot())
    written = index_path(registry).stat().st_mtime_ns
    registry.append(drafts(50, 60))
    parts = open_index(registry, registry.snapshot())
    assert len(parts) == 2
    assert index_path(registry).stat().st_mtime_ns == written
    assert found(parts, ["url:example.org/3", "url:example.org/55"]) == {(0, 4), (1, 56)}
    registry.append(drafts(60, 300))
    assert len(open_index(registry, registry.snapshot())) == 1
    assert index_path(registry).stat().st_mtime_ns != written


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text", "nothing", "header"])
def test_a_damaged_index_is_built_again(registry, damage):
    registry.append(drafts(0, 500))
    open_index(registry, registry.snapshot())
    path = index_path(registry)
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[5000] ^= 1
    changed = {"cut": data[:-8], "flip": data, "empty": b"", "text": b"hello" * 9999, "header": b"{}" + data[2:]}
    if damage == "nothing":
        path.unlink()
    else:
        path.write_bytes(changed[damage])
    assert found(open_index(registry, registry.snapshot()), ["url:example.org/499"]) == {(0, 500)}


def test_an_index_of_another_registry_is_not_believed(registry, tmp_path):
    with create_registry(str(tmp_path / "other")) as other:
        other.append(drafts(1000, 1500))
        open_index(other, other.snapshot())
        registry.append(drafts(0, 500))
        index_path(registry).write_bytes(index_path(other).read_bytes())
    assert found(open_index(registry, registry.snapshot()), ["url:example.org/499"]) == {(0, 500)}


def test_where_nothing_can_be_written_the_index_is_temporary(registry, tmp_path):
    registry.append(drafts(0, 500))
    (tmp_path / "file").write_text("in the way")
    parts = open_index(registry, registry.snapshot(), tmp_path / "file" / "folder")
    assert found(parts, ["url:example.org/499"]) == {(0, 500)}


def test_equal_hashes_of_different_keys_are_told_apart(registry, monkeypatch, samples_of):
    """With a hash of four values every key collides with others."""
    real = key_hashes
    monkeypatch.setattr(module, "key_hashes", lambda keys: real(keys) >> np.uint64(62))
    monkeypatch.setattr("pipelines.registry.matcher.key_hashes", lambda keys: real(keys) >> np.uint64(62))
    registry.append(drafts(0, 50))
    matcher = Matcher(registry, registry.snapshot())
    rows = matcher.match(samples_of(url=["https://example.org/7", "https://example.org/77"])).to_pylist()
    assert [(row["uid"], row["entry"]) for row in rows] == [(f"{0:032x}", 8)]
