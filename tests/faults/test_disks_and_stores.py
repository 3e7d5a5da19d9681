"""Disks that are full or read-only, and stores that fail one call in ten: one clear line, and a clean resume."""

import json
import os
import resource
import subprocess
from pathlib import Path

import pytest
from harm import command, left_overs, small_disk
from making import assay_command

from pipelines.run.directory import open_run
from pipelines.run.manifest import verify

ROOT = Path(__file__).resolve().parents[2]
HOOKS = Path(__file__).resolve().parent / "pyhooks"


def run(whole, folder, scratch, **settings):
    words = ("run", whole.recipe, "--out", folder / "run", "--runner", "plain", "--json")
    return command(scratch, *words, **settings)


def whole_again(whole, done, folder):
    assert done.code == 0, done.err
    assert done.json["content_hash"] == whole.content_hash
    assert verify(open_run(str(folder / "run"))) == []
    assert left_overs(folder / "run") == []


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kilobytes", [8, 40, 100, 160, 220, 280])
def test_a_full_disk(whole, tmp_path, kilobytes):
    with small_disk(tmp_path / "disk", f"{kilobytes}k") as disk:
        if disk is None:
            pytest.skip("mounting a small disk needs root")
        done = run(whole, disk, tmp_path / "say")
        assert done.code == 2
        assert "No space left on device; free space and run the same command again, it resumes" in done.line()
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        whole_again(whole, run(whole, disk, tmp_path / "say"), disk)


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_limit_on_the_size_of_files(whole, tmp_path):
    # this process's limits go to the server of processes only when it starts, so a process of its own is needed
    words = assay_command("run", whole.recipe, "--out", tmp_path / "run", "--runner", "plain", "--json")

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))

    done = subprocess.run(words, capture_output=True, text=True, check=False, preexec_fn=limited)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "File too large" in done.stderr
    whole_again(whole, run(whole, tmp_path, tmp_path / "say"), tmp_path)


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_disk_that_becomes_read_only(whole, tmp_path):
    with small_disk(tmp_path / "disk", "64m") as disk:
        if disk is None:
            pytest.skip("mounting a small disk needs root")
        assert run(whole, disk, tmp_path / "say", stop=whole.done.changes // 2, watched=disk / "run").code == -9
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        done = run(whole, disk, tmp_path / "say")
        assert done.code == 2
        assert "Read-only file system" in done.line()
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        whole_again(whole, run(whole, disk, tmp_path / "say"), disk)


def flaky(whole, folder, share, seed):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HOOKS), str(ROOT)]),
        "ASSAY_TEST_HARM": f"flaky:{share}:{seed}",
    }
    words = assay_command("run", whole.recipe, "--out", f"flaky://{folder}/run", "--runner", "plain", "--json")
    return subprocess.run(words, capture_output=True, text=True, check=False, env=environment, timeout=280)


@pytest.mark.faults
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("share", [0.1, 0.25])
def test_a_store_whose_calls_fail(whole, tmp_path, share):
    ends = []
    for seed in range(12):
        done = flaky(whole, tmp_path, share, seed)
        if done.returncode == 0:
            break
        ends.append(done)
        assert done.returncode == 2, done.stderr
        lines = [line for line in done.stderr.splitlines() if line.startswith("assay: ")]
        assert len(lines) == 1, done.stderr
        assert "the store fails (SlowDown" in lines[0]
        assert "run the same command again" in lines[0]
        assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["content_hash"] == whole.content_hash
    assert verify(open_run(str(tmp_path / "run"))) == []
    assert len(ends) <= 1 or share > 0.1


def test_one_call_in_three_fails_and_the_steady_store_does_not(tmp_path, monkeypatch):
    import random

    from fsspec.implementations.local import LocalFileSystem

    from pipelines.run import steady

    monkeypatch.setattr(steady, "PAUSES", (0.0, 0.0, 0.0))
    draw, calls = random.Random(1), []

    class Flaky(LocalFileSystem):
        def info(self, path, **settings):
            calls.append(path)
            if draw.random() < 0.3:
                raise OSError("SlowDown")
            return super().info(path, **settings)

    (tmp_path / "file").write_bytes(b"12")
    store = steady.Steady(Flaky())
    assert [store.info(str(tmp_path / "file"))["size"] for _ in range(20)] == [2] * 20
    assert len(calls) > 20
    calls.clear()
    with pytest.raises(FileNotFoundError):  # an answer, however many failures stand before it
        store.info(str(tmp_path / "none"))
    monkeypatch.setattr(draw, "random", lambda: 0.0)
    calls.clear()
    with pytest.raises(
        steady.StoreFailed, match=r"the store fails .SlowDown., 4 times in a row; what is done stays done"
    ):
        store.info(str(tmp_path / "file"))
    assert len(calls) == 4
