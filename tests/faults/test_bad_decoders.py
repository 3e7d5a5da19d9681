"""A decoder that crashes its process, or never returns, costs its picture and nothing else."""

import io
import json
import os
import subprocess
from pathlib import Path

import pytest
from harm import left_overs
from making import assay_command, picture, sample, write_recipe, write_tar
from PIL import Image

from filters.decoding_apart import Apart, Step
from filters.reasons import Reason
from pipelines.run.directory import open_run
from pipelines.run.manifest import verify

ROOT = Path(__file__).resolve().parents[2]
HOOKS = Path(__file__).resolve().parent / "pyhooks"


def gif(seed, comment):
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture(seed))).save(buffer, "GIF", comment=comment)
    return buffer.getvalue()


def environment(harm):
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(HOOKS), str(ROOT)]), "ASSAY_TEST_HARM": harm}


def make(folder, harm):
    """An input with one evil picture in the middle of the second of two shards, and the recipe over it."""
    evil = {"evil.gif": gif(90, f"assay-test-{harm}"), "evil.txt": b"a caption"}
    fine = {"fine.gif": gif(91, "assay-test-nothing"), "fine.txt": b"a caption of another"}
    write_tar(folder / "in" / "0.tar", *(sample(i) for i in range(5)))
    write_tar(
        folder / "in" / "1.tar", *(sample(10 + i) for i in range(4)), evil, fine, *(sample(20 + i) for i in range(4))
    )
    return write_recipe(folder, folder / "in")


def reasons(folder):
    run = open_run(str(folder))
    keys = [row for table in run.tables("samples", ["key"]) for row in table.column("key").to_pylist()]
    codes = [row for table in run.tables("ledger") for row in table.column("primary_reason").to_pylist()]
    return dict(zip(keys, codes, strict=True))


def one_picture_lost(folder, recipe, harm, more=()):
    """Run until it ends well; return the runs that did not."""
    ends = []
    for _ in range(4):
        command = assay_command("run", recipe, "--out", folder / "run", "--json", *more)
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(harm), timeout=250)
        if done.returncode == 0:
            break
        ends.append(done)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["balanced"]
    assert "each picture is tried in a process of its own" in done.stderr
    found = reasons(folder / "run")
    reason = Reason.DECODE_TIMEOUT if harm == "endless" else Reason.DECODER_CRASHED
    assert {key: code for key, code in found.items() if code} == {"evil": reason.value}
    assert len(found) == 15
    assert verify(open_run(str(folder / "run"))) == []
    assert left_overs(folder / "run") == []
    return ends, json.loads(done.stdout)["content_hash"]


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_crash_while_scoring_costs_the_picture(tmp_path):
    recipe = make(tmp_path, "segfault")
    ends, _ = one_picture_lost(tmp_path, recipe, "segfault")
    assert [end.returncode for end in ends] == [-11]


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_crash_in_a_worker_costs_the_picture_and_is_told_in_one_line(tmp_path):
    recipe = make(tmp_path, "segfault")
    ends, _ = one_picture_lost(tmp_path, recipe, "segfault", ("--workers", "2"))
    assert [end.returncode for end in ends] == [2]
    assert "SIGSEGV (a crash in native code)" in ends[0].stderr


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_crash_while_headers_are_read_costs_the_picture(tmp_path):
    ends, _ = one_picture_lost(tmp_path, make(tmp_path, "header"), "header", ("--runner", "plain"))
    assert [end.returncode for end in ends] == [-11]


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", [("--runner", "plain"), ("--workers", "2")])
def test_a_decoder_that_never_returns_costs_the_picture(tmp_path, how):
    ends, _ = one_picture_lost(tmp_path, make(tmp_path, "endless"), "endless", how)
    assert [end.returncode for end in ends] == [2]
    lines = [line for line in ends[0].stderr.splitlines() if line.startswith("assay: ")]
    assert len(lines) == 1
    assert "score part 1: picture " in lines[0]
    assert "is not decoded after 4 s; run the same command again" in lines[0]


@pytest.fixture
def apart(monkeypatch):
    def started(harm, cpu_seconds=60.0):
        for name, value in environment(harm).items():
            monkeypatch.setenv(name, value)
        return Apart(cpu_seconds)

    return started


def test_a_picture_tried_apart_is_told_by_what_it_does(apart):
    tried = apart("segfault")
    try:
        assert tried.trouble(Step.PIXELS, picture(1), 10**6) is None
        found = tried.trouble(Step.PIXELS, gif(2, "assay-test-segfault"), 10**6)
        assert (found.reason, found.detail) == (
            Reason.DECODER_CRASHED,
            "the decoder ended its process with SIGSEGV",
        )
        assert tried.trouble(Step.PIXELS, gif(2, "assay-test-other"), 10**6) is None
        assert tried.trouble(Step.PIXELS, b"no picture", 10**6) is None
        assert tried.trouble(Step.HEADER, picture(1)[:50], 10**6) is None
    finally:
        tried.close()


def test_an_endless_decoder_is_ended_by_its_own_cpu_time(apart):
    tried = apart("endless", 0.5)
    try:
        found = tried.trouble(Step.PIXELS, gif(2, "assay-test-endless"), 10**6)
        assert found.reason is Reason.DECODE_TIMEOUT
        assert tried.trouble(Step.PIXELS, picture(1), 10**6) is None
    finally:
        tried.close()
