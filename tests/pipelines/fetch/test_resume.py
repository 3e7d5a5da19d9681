"""Killed, resumed or retried: nothing is lost, and what is finished is not asked for again."""

import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time

import pytest
from behaviours import PATH, PICTURE, png
from many_hosts import Reply, Server, in_turn
from url_runs import ENGINE, url_run, write_list

from filters.errors import BadInput
from pipelines.engine import Engine
from pipelines.fetch.addresses import Network
from pipelines.jobs.fetch import fetch, retry
from pipelines.jobs.ingest import ingest
from pipelines.run.directory import Run

# a shell that starts the tests in the background hands interrupts on as ignored
CHILD = """
import json, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from pipelines.engine import Engine
from pipelines.fetch.addresses import Network
from pipelines.jobs.fetch import fetch
from pipelines.run.directory import open_run
hosts = {name: tuple(place) for name, place in json.loads(sys.argv[2]).items()}
fetch(open_run(sys.argv[1]), Engine(sys.argv[3]), Network(hosts, frozenset({"127.0.0.1"})))
"""


def network(server: Server) -> Network:
    return Network(server.names(), frozenset({"127.0.0.1"}))


def listed(count: int, hosts: int = 5) -> list[dict[str, str]]:
    return [{"url": f"http://h{n % hosts}.test/p/{n}", "caption": f"row {n}"} for n in range(count)]


def pictures(count: int, hosts: int = 5, delay: float = 0.0) -> dict[str, dict[str, Reply]]:
    found: dict[str, dict[str, Reply]] = {f"h{n}.test": {} for n in range(hosts)}
    for n in range(count):
        found[f"h{n % hosts}.test"][f"/p/{n}"] = Reply(body=png(n), delay=delay)
    return found


def rows_of(run: Run) -> list[dict]:
    return [row for table in run.tables("downloads") for row in table.to_pylist()]


def members(run: Run) -> dict[int, bytes]:
    found = {}
    for part in run.parts("downloads"):
        with run.store.open(f"downloads/part-{part:05d}.tar") as stream, tarfile.open(fileobj=stream) as archive:
            found.update({int(member.name): archive.extractfile(member).read() for member in archive})
    return found


def asked(server: Server) -> list[int]:
    return [int(request.path.rpartition("/")[2]) for request in server.log if request.path.startswith("/p/")]


def test_a_finished_run_asks_for_nothing_again(tmp_path):
    with Server(pictures(30)) as server:
        run = url_run(tmp_path, write_list(tmp_path / "l.csv", listed(30)), rows_per_part=10)
        fetch(run, ENGINE, network(server))
        before = len(server.log)
        fetch(run, ENGINE, network(server))
        assert len(server.log) == before
    assert members(run) == {n: png(n) for n in range(30)}


def test_an_unfinished_part_alone_is_asked_for_again_and_no_policy(tmp_path):
    with Server(pictures(30)) as server:
        run = url_run(tmp_path, write_list(tmp_path / "l.csv", listed(30)), rows_per_part=10)
        fetch(run, ENGINE, network(server))
        whole = members(run)
        for suffix in (".done.json", ".parquet"):
            run.store.delete(f"downloads/part-00001{suffix}")
        server.log.clear()
        fetch(run, ENGINE, network(server))
        assert sorted(asked(server)) == list(range(10, 20))
        assert not [request for request in server.log if "robots" in request.path]
    assert members(run) == whole


def test_a_part_whose_marker_alone_is_missing_costs_no_request(tmp_path):
    with Server(pictures(20)) as server:
        run = url_run(tmp_path, write_list(tmp_path / "l.csv", listed(20)), rows_per_part=10)
        fetch(run, ENGINE, network(server))
        whole = (members(run), rows_of(run))
        run.store.delete("downloads/part-00000.done.json")
        server.log.clear()
        fetch(run, ENGINE, network(server))
        assert server.log == []
    assert (members(run), rows_of(run)) == whole


def test_a_damaged_part_is_asked_for_again_as_far_as_it_is_damaged(tmp_path):
    with Server(pictures(20)) as server:
        run = url_run(tmp_path, write_list(tmp_path / "l.csv", listed(20)), rows_per_part=10)
        fetch(run, ENGINE, network(server))
        tar = bytearray(run.store.read("downloads/part-00000.tar"))
        tar[4 * 512 * 4 + 600] ^= 1
        run.store.write("downloads/part-00000.tar", bytes(tar))
        run.store.delete("downloads/part-00000.done.json")
        run.store.write("downloads/part-00001.tar", b"no tar")
        server.log.clear()
        fetch(run, ENGINE, network(server))
        again = asked(server)
    assert set(range(10, 20)) < set(again)
    assert len(again) < 20
    assert members(run) == {n: png(n) for n in range(20)}


def test_a_list_that_is_gone_is_no_harm_to_a_run_that_began(tmp_path):
    with Server(pictures(20)) as server:
        path = write_list(tmp_path / "l.csv", listed(20))
        run = url_run(tmp_path, path, rows_per_part=10)
        fetch(run, ENGINE, network(server))
        run.store.delete("downloads/part-00001.done.json")
        run.store.delete("downloads/part-00001.parquet")
        path.unlink()
        fetch(run, ENGINE, network(server))
    assert len(members(run)) == 20


def test_a_changed_list_is_fetched_as_it_is_now(tmp_path):
    with Server(pictures(20)) as server:
        path = write_list(tmp_path / "l.csv", listed(20))
        run = url_run(tmp_path, path, rows_per_part=10)
        fetch(run, ENGINE, network(server))
        server.log.clear()
        write_list(path, listed(10))
        fetch(run, ENGINE, network(server))
        assert asked(server) == []  # the first part's rows are the same
    assert run.parts("downloads") == [0]
    assert len(rows_of(run)) == 10


def flaky() -> dict[str, dict]:
    return {
        "net.test": {PATH: in_turn(*[Reply(body=PICTURE, length=9999)] * 3, Reply(body=PICTURE))},
        "http.test": {PATH: in_turn(*[Reply(503)] * 3, Reply(body=PICTURE))},
        "gone.test": {PATH: Reply(404)},
        "policy.test": {"/robots.txt": in_turn(*[Reply(500)] * 3, Reply(404)), PATH: Reply(body=PICTURE)},
        "denied.test": {"/robots.txt": Reply(body=b"User-agent: *\nDisallow: /"), PATH: Reply(body=PICTURE)},
        "fine.test": {PATH: Reply(body=PICTURE)},
    }


def test_a_retry_asks_for_one_class_of_rows_only(tmp_path):
    hosts = flaky()
    with Server(hosts) as server:
        rows = [{"url": f"http://{host}{PATH}", "caption": host, "key": host} for host in hosts]
        run = url_run(tmp_path, write_list(tmp_path / "l.csv", rows))
        fetch(run, ENGINE, network(server))
        first = {row["key"]: row["reason"] for row in rows_of(run)}
        assert first == {
            "net.test": "NETWORK_ERROR",
            "http.test": "HTTP_ERROR",
            "gone.test": "HTTP_ERROR",
            "policy.test": "OPT_OUT_UNREADABLE",
            "denied.test": "OPTED_OUT",
            "fine.test": None,
        }
        server.log.clear()
        assert retry(run, ENGINE, "network", network(server)) == 2
        assert {request.host for request in server.log} == {"net.test", "policy.test"}
        server.log.clear()
        assert retry(run, ENGINE, "http", network(server)) == 1
        assert [(request.host, request.path) for request in server.log] == [("http.test", PATH)]
        server.log.clear()
        assert retry(run, ENGINE, "http", network(server)) == 0
        assert server.log == []
    assert {row["key"]: row["reason"] for row in rows_of(run)} == {
        **dict.fromkeys(["net.test", "http.test", "policy.test", "fine.test"]),
        "gone.test": "HTTP_ERROR",
        "denied.test": "OPTED_OUT",
    }
    assert len(members(run)) == 4
    ingest(run, ENGINE)
    assert [row["failure"] for table in run.tables("samples") for row in table.to_pylist()] == [
        None,
        None,
        "HTTP_ERROR",
        None,
        "OPTED_OUT",
        None,
    ]


def test_a_retry_of_a_run_without_downloads_is_refused(tmp_path):
    run = url_run(tmp_path, write_list(tmp_path / "l.csv", listed(3)))
    with pytest.raises(BadInput, match="no downloads"):
        retry(run, ENGINE, "network")
    with pytest.raises(BadInput, match="none of network, http"):
        retry(run, ENGINE, "all")


def test_beam_gives_the_same_parts_as_a_plain_loop(tmp_path):
    with Server(pictures(40)) as server:
        path = write_list(tmp_path / "l.csv", listed(40))
        plain = url_run(tmp_path, path, "plain", rows_per_part=7)
        beam = url_run(tmp_path, path, "beam", rows_per_part=7)
        fetch(plain, ENGINE, network(server))
        fetch(beam, Engine(), network(server))
    assert members(plain) == members(beam)
    for index in plain.parts("downloads"):
        name = f"downloads/part-{index:05d}.tar"
        assert plain.store.read(name) == beam.store.read(name)


def child(run: Run, server: Server, runner: str = "plain") -> subprocess.Popen:
    command = [sys.executable, "-c", CHILD, run.store.url, json.dumps(server.names()), runner]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_ten_kills_lose_nothing_and_finished_parts_are_not_asked_for_again(tmp_path):
    count, draw = 600, random.Random(20261121)
    with Server(pictures(count, delay=0.1)) as server:
        run = url_run(tmp_path, write_list(tmp_path / "l.csv", listed(count)), rows_per_part=30)
        kills = 0
        while kills < 10:
            finished = {n for part in run.parts("downloads") for n in range(30 * part, 30 * part + 30)}
            server.log.clear()
            process = child(run, server)
            while process.poll() is None and not asked(server):
                time.sleep(0.02)
            try:
                process.wait(draw.uniform(0.0, 1.5))
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
                process.wait()
            else:
                assert process.returncode == 0, process.stderr.read()
                for part in run.parts("downloads")[1:]:  # begin again, with one part left
                    for suffix in (".done.json", ".parquet", ".tar"):
                        run.store.delete(f"downloads/part-{part:05d}{suffix}")
            assert not finished & set(asked(server))
        process = child(run, server)
        assert process.wait(120) == 0, process.stderr.read()
    assert members(run) == {n: png(n) for n in range(count)}
    assert [row["row"] for row in rows_of(run)] == list(range(count))
    assert {row["reason"] for row in rows_of(run)} == {None}


@pytest.mark.faults
@pytest.mark.timeout(120)
@pytest.mark.parametrize("runner", ["plain", "FnApiRunner"])
def test_an_interrupt_ends_the_download_at_once(tmp_path, runner):
    with Server(pictures(200, hosts=1, delay=0.5)) as server:
        run = url_run(tmp_path, write_list(tmp_path / "l.csv", listed(200, hosts=1)), per_host=1)
        process = child(run, server, runner)
        deadline = time.monotonic() + 60
        while not asked(server) and time.monotonic() < deadline:
            time.sleep(0.1)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait(30)
        assert time.monotonic() - start < 10
        assert process.returncode != 0
