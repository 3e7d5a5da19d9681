"""Signs of life: who gives them lives, however slow; who does not is dead, and the job ends."""

import os
import signal
import subprocess
import time

import pytest
from beam_services import ENVIRONMENT, beam_services
from making import assay_command
from test_portable import content_hash, small_recipe

from filters.errors import AssayError
from pipelines import signs
from pipelines.run.storage import Store


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path))


def looks(found, number):
    return [found.cause_of_death() for _ in range(number)]


def test_a_worker_that_gives_signs_lives_however_long_it_takes(store, monkeypatch):
    monkeypatch.setattr(signs, "INTERVAL", 0.01)
    found = signs.Signs(store, "score", interval=0.0)
    with signs.given(store, "score", "00003"):
        for _ in range(3 * signs.LOOKS):
            assert found.cause_of_death() is None
            time.sleep(0.05)
    assert looks(found, 3 * signs.LOOKS) == [None] * 3 * signs.LOOKS
    assert store.list(signs.FOLDER) == []


def test_a_worker_that_gives_no_new_sign_is_named(store):
    found = signs.Signs(store, "score", interval=0.0)
    with signs.given(store, "score", "00003"), signs.given(store, "ingest", "00004"):
        told = looks(found, signs.LOOKS + 1)
    assert told[:-1] == [None] * signs.LOOKS
    assert told[-1].startswith(f"process {os.getpid()} on ")
    assert told[-1].endswith("with part 00003 in hand")
    assert found.cause_of_death(crashes_only=True) is None


def test_what_a_killed_job_left_is_nobody_s_sign(store):
    store.write(f"{signs.FOLDER}/score-00001.alive.json", b'{"process": 1, "host": "gone", "part": "00001"}')
    found = signs.Signs(store, "score", interval=0.0)
    assert looks(found, 2 * signs.LOOKS) == [None] * 2 * signs.LOOKS
    assert store.list(signs.FOLDER) == []


def test_while_the_store_gives_no_answer_nobody_is_taken_for_dead(store, monkeypatch):
    found = signs.Signs(store, "score", interval=0.0)
    with signs.given(store, "score", "00003"):
        assert looks(found, signs.LOOKS) == [None] * signs.LOOKS

        def silent(folder):
            raise AssayError("the store fails")

        with monkeypatch.context() as patch:
            patch.setattr(store, "list", silent)
            assert looks(found, 3 * signs.LOOKS) == [None] * 3 * signs.LOOKS
        assert found.cause_of_death() is not None


def test_looks_are_an_interval_apart(store):
    found = signs.Signs(store, "score", interval=60.0)
    with signs.given(store, "score", "00003"):
        assert looks(found, 10 * signs.LOOKS) == [None] * 10 * signs.LOOKS


def first_sign(out, driver):
    """Return the process of the first worker that has the scorers' models or a part of theirs in hand."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and driver.poll() is None:
        for path in (out / signs.FOLDER).glob("score-*.alive.json"):
            try:
                return int(path.read_text().partition('"process": ')[2].partition(",")[0])
            except (OSError, ValueError):
                continue
        time.sleep(0.005)
    raise AssertionError(f"no sign of life of a worker: {driver.communicate()[1]}")


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_a_killed_worker_of_a_pool_ends_the_job_within_a_minute_and_the_next_run_resumes(tmp_path):
    recipe, out = small_recipe(tmp_path), tmp_path / "run"
    with beam_services(tmp_path) as services:
        words = assay_command("run", recipe, "--out", out, "--runner", "PortableRunner", *services.external)
        driver = subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        worker = first_sign(out, driver)
        os.kill(worker, signal.SIGKILL)
        start = time.monotonic()
        _, words = driver.communicate(timeout=120)
        assert time.monotonic() - start < 60
        assert driver.returncode == 2, words
        line = words.strip().splitlines()[-1]
        assert f"assay: a worker process {worker} on " in line
        assert line.endswith("what is done stays done: run the same command again, it resumes")
        assert "Traceback" not in words
        resumed = content_hash(recipe, out, "--runner", "PortableRunner", *services.external)
    assert not list((out / signs.FOLDER).glob("*.alive.json"))
    assert resumed == content_hash(recipe, tmp_path / "plain", "--runner", "plain")
