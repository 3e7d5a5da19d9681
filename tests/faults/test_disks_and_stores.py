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

#: Makes `flaky://` known to a process of its own.
REGISTER = (
    f"import sys, fsspec; sys.path.insert(0, {str(Path(__file__).resolve().parent / 'pyhooks')!r}); "
    "fsspec.register_implementation('flaky', 'flaky_store.FlakyStore')"
)


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
        assert run(whole, disk, tmp_path / "say", stop=len(whole.done.changes) // 2, watched=disk / "run").code == -9
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        done = run(whole, disk, tmp_path / "say")
        assert done.code == 2
        assert "Read-only file system" in done.line()
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        whole_again(whole, run(whole, disk, tmp_path / "say"), disk)


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_disk_that_is_read_only_from_the_start(whole, tmp_path):
    with small_disk(tmp_path / "disk", "64m") as disk:
        if disk is None:
            pytest.skip("mounting a small disk needs root")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        done = run(whole, disk, tmp_path / "say")
        assert done.code == 2
        assert "Read-only file system" in done.line()
        assert list(disk.iterdir()) == []
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        whole_again(whole, run(whole, disk, tmp_path / "say"), disk)


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_full_disk_of_temporary_files(whole, tmp_path):
    """A run on a store writes each file there first."""
    with small_disk(tmp_path / "disk", "8k") as disk:
        if disk is None:
            pytest.skip("mounting a small disk needs root")
        words = assay_command("run", whole.recipe, "--out", f"flaky://{tmp_path}/run", "--runner", "plain", "--json")
        words[2] = f"{REGISTER}; {words[2]}"
        environment = {**os.environ, "TMPDIR": str(disk), "ASSAY_TEST_HARM": "flaky:0:0"}
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 2, done.stderr
        (line,) = done.stderr.strip().splitlines()
        assert "No space left on device; free space and run the same command again, it resumes" in line
        assert list(disk.iterdir()) == []
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["content_hash"] == whole.content_hash


def flaky(whole, folder, scratch, *how):
    words = ("run", whole.recipe, "--out", f"flaky://{folder}/run", "--runner", "plain", "--json")
    return command(scratch, *words, flaky=how)


def told_in_one_line(done):
    assert done.code == 2, done.err
    assert "the store fails (SlowDown" in done.line()
    assert "run the same command again" in done.line()


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_store_where_one_call_in_ten_fails(whole, tmp_path):
    """Of five jobs, one with its pauses in full, one at most has to be started again: one call in 10,000 fails."""
    again = 0
    for seed, pace in enumerate((0.1, 0.1, 0.1, 0.1, 1.0)):
        folder = tmp_path / str(seed)
        done = flaky(whole, folder, tmp_path / "say", 0.1, seed, pace)
        if done.code:
            told_in_one_line(done)
            again += 1
            done = flaky(whole, folder, tmp_path / "say", 0.1, seed + 10, pace)
        assert done.code == 0, done.err
        assert done.json["content_hash"] == whole.content_hash
        assert verify(open_run(str(folder / "run"))) == []
    assert again <= 1


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_store_where_one_call_in_four_fails_ends_each_job_in_one_line_until_all_is_done(whole, tmp_path):
    ends = []
    for seed in range(60):
        done = flaky(whole, tmp_path, tmp_path / "say", 0.25, seed, 0.01)
        if done.code == 0:
            break
        ends.append(done)
        told_in_one_line(done)
    assert done.code == 0, done.err
    assert ends
    assert done.json["content_hash"] == whole.content_hash
    assert verify(open_run(str(tmp_path / "run"))) == []


def test_one_call_in_three_fails_and_the_steady_store_does_not(tmp_path, monkeypatch):
    import random

    from fsspec.implementations.local import LocalFileSystem

    from pipelines.run import steady

    monkeypatch.setattr(steady, "PAUSES", (0.0, 0.0, 0.0))
    draw, calls = random.Random(1), []

    class Flaky(LocalFileSystem):
        protocol = "flaky"

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
