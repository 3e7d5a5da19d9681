"""Writers side by side, and writers that are killed, leave a valid chain."""

from __future__ import annotations

import random
import subprocess
import sys
import time

import pytest

from filters.optout.entries import Draft, Kind
from pipelines.registry import create_registry, open_registry
from pipelines.registry.reviews import Pair, queue, reviews

_APPEND = """
import sys
from filters.optout.entries import Draft, Kind
from pipelines.registry import open_registry
url, name, calls, each = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with open_registry(url) as registry:
    print("open", flush=True)
    for call in range(calls):
        registry.append(Draft(Kind.DOMAIN, f"{name}-{call}-{at}.example", note=f"{name} {call}") for at in range(each))
        print(call, flush=True)
"""


def writer(url, name, calls, each):
    command = [sys.executable, "-c", _APPEND, url, name, str(calls), str(each)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    return str(tmp_path / "r.sqlite") if request.param == "sqlite" else request.getfixturevalue("postgres_url")


def test_writers_side_by_side_make_one_chain(url):
    with create_registry(url) as registry:
        writers = [writer(url, name, 10, 20) for name in ("a", "b", "c")]
        for process in writers:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
        entries = list(registry.entries())
        assert registry.verify() == []
    assert [entry.seq for entry in entries] == list(range(1, 601))
    # Each call's entries stand together.
    calls = [entries[at].note for at in range(0, 600, 20)]
    assert len(set(calls)) == 30
    assert all(entry.note == calls[at // 20] for at, entry in enumerate(entries))


def test_a_reader_goes_on_while_a_writer_is_at_work(url):
    with create_registry(url) as registry:
        registry.append([Draft(Kind.DOMAIN, "x.org")])

        def looking():
            for number in range(10):
                with open_registry(url) as other:
                    assert other.snapshot().seq == 1
                yield Draft(Kind.DOMAIN, f"y{number}.org")

        assert registry.append(looking()).last == 11


def test_reviews_are_queued_while_entries_are_appended(url):
    with create_registry(url) as registry:
        process = writer(url, "a", 20, 5)
        for number in range(10):
            queue(registry, [Pair(1, f"{number:064x}", "u" * 32, 0.92)])
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert registry.verify() == []
        assert len(list(reviews(registry))) == 10


@pytest.mark.faults
@pytest.mark.parametrize("each", [1, 4_000])
def test_a_writer_killed_at_any_moment_leaves_whole_calls_and_a_valid_chain(url, each):
    rng = random.Random(each)
    with create_registry(url):
        pass
    for turn in range(4):
        process = writer(url, f"turn{turn}", 100_000 if each == 1 else 50, each)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0.05, 2.0))
        process.kill()
        printed, _ = process.communicate(timeout=60)
        with open_registry(url) as registry:
            assert registry.verify() == []
            count = registry.snapshot().seq
            assert count % each == 0
            # What was reported as appended is there.
            reported = len([line for line in printed.split("\n")[:-1] if line])
            calls = sum(1 for entry in registry.entries() if entry.note.startswith(f"turn{turn} ")) // each
            assert reported <= calls <= reported + 1
            registry.append([Draft(Kind.DOMAIN, f"after{turn}-{at}.example") for at in range(each)])


@pytest.mark.faults
def test_an_import_killed_at_any_moment_leaves_nothing_of_it(tmp_path):
    path, table = str(tmp_path / "r.sqlite"), tmp_path / "list.csv"
    rows = "".join(f"url,https://x.org/{number}\n" for number in range(60_000))
    table.write_text("kind,value\n" + rows)
    code = (
        "import sys\nfrom pathlib import Path\nfrom pipelines.registry import open_registry\n"
        "from pipelines.registry.csv_files import import_csv\n"
        "print('open', flush=True)\nimport_csv(open_registry(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    with create_registry(path) as registry:
        registry.append([Draft(Kind.DOMAIN, "x.org")])
    for pause in (0.1, 0.4, 0.8, 1.2, 1.6, 2.0):
        process = subprocess.Popen([sys.executable, "-c", code, path, str(table)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(pause)
        process.kill()
        process.communicate(timeout=60)
        with open_registry(path) as registry:
            assert registry.verify() == []
            assert (registry.snapshot().seq - 1) % 60_000 == 0
