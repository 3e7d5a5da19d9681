"""A process takes no more threads than the machine, its container and its job leave it."""

import os

import pytest

from filters.cores import _granted, available_cores
from filters.environment import CORES


def test_a_worker_takes_its_share_and_never_more_than_there_is(monkeypatch):
    monkeypatch.delenv(CORES, raising=False)
    everything = available_cores()
    assert 1 <= everything <= (os.cpu_count() or 1)
    monkeypatch.setenv(CORES, "1")
    assert available_cores() == 1
    monkeypatch.setenv(CORES, "4096")
    assert available_cores() == everything


@pytest.mark.parametrize("text", ["", "0", "-1", "two", "1.5", "²"])
def test_a_share_that_is_no_number_is_no_limit(monkeypatch, text):
    monkeypatch.delenv(CORES, raising=False)
    everything = available_cores()
    monkeypatch.setenv(CORES, text)
    assert available_cores() == everything


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000\n", None), ("150000 100000\n", 2), ("200000 100000\n", 2), ("50000 100000\n", 1), ("", None)],
)
def test_a_containers_quota_is_rounded_up_to_whole_cores(tmp_path, quota, cores):
    (tmp_path / "cpu.max").write_text(quota)
    assert _granted(tmp_path / "cpu.max") == cores
