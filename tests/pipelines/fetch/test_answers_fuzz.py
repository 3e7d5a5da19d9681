"""Whatever bytes a host sends, a row ends with a reason or a picture, soon, and a denial is never lost."""

import random

import pytest
from behaviours import PATH, PICTURE
from many_hosts import Reply, Server, raw
from url_runs import ENGINE, url_run, write_list

from filters.reasons import BY_CODE
from pipelines.fetch.addresses import Network
from pipelines.jobs.fetch import fetch

ODD = [b"\r\n", b"\n", b"\0", b"\xff\xfe", b": ", b"HTTP/1.1 ", b"Transfer-Encoding: chunked\r\n", b"-1", b"9" * 30]
ODD += [b"Location: http://[::1\r\n", b"Content-Length: 0\r\n", b"Content-Encoding: gzip\r\n", b" ", b"\xe2\x80\xa8"]


def mutated(draw: random.Random, answer: bytes) -> bytes:
    """An answer with some bytes changed, cut, doubled or replaced by what parsers dislike."""
    data = bytearray(answer)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(data) + 1)
        choice = draw.random()
        if choice < 0.3:
            data[at : at + draw.randint(0, 3)] = draw.choice(ODD)
        elif choice < 0.5:
            del data[at:]
        elif choice < 0.75:
            data[at:at] = bytes(draw.randrange(256) for _ in range(draw.randint(1, 8)))
        else:
            data[at:at] = data[: draw.randint(0, 80)]
    return bytes(data)


def go(folder, count: int, seed: int) -> list[dict]:
    draw = random.Random(seed)
    picture = Reply(body=PICTURE, headers=(("Content-Type", "image/png"), ("X-Robots-Tag", "all"))).head() + PICTURE
    elsewhere = b"HTTP/1.1 302 Found\r\nLocation: http://plain.test/pic.png\r\nContent-Length: 0\r\n\r\n"
    robots = Reply(body=b"User-agent: *\nAllow: /\n").head() + b"User-agent: *\nAllow: /\n"
    hosts = {"plain.test": {PATH: Reply(body=PICTURE)}}
    for number in range(count):
        answer = mutated(draw, draw.choice([picture, picture, elsewhere]))
        policy = mutated(draw, robots) if number % 3 == 0 else robots
        hosts[f"f{number}.test"] = {PATH: raw(answer), "/robots.txt": raw(policy)}
    rows = [{"url": f"http://{host}{PATH}", "caption": host, "key": host} for host in hosts]
    with Server(hosts) as server:
        run = url_run(folder, write_list(folder / "l.csv", rows), retries=0, rows_per_part=500)
        fetch(run, ENGINE, Network(server.names(), frozenset({"127.0.0.1"})))
    found = [row for table in run.tables("downloads") for row in table.to_pylist()]
    assert [row["key"] for row in found] == list(hosts)
    assert all(row["reason"] is None or row["reason"] in BY_CODE for row in found)
    return found


def test_broken_answers_end_as_rows(tmp_path):
    found = go(tmp_path, 200, 1)
    assert len({row["status"] for row in found}) >= 3


@pytest.mark.hostile
@pytest.mark.timeout(900)
def test_many_broken_answers_end_as_rows(tmp_path):
    go(tmp_path, 5000, 2)


def test_a_denial_in_a_header_survives_whatever_follows_it(tmp_path):
    draw = random.Random(3)
    head = Reply(body=PICTURE, headers=(("X-Robots-Tag", "noai"),)).head()
    hosts = {}
    for number in range(100):
        hosts[f"d{number}.test"] = {PATH: raw(head + mutated(draw, PICTURE))}
    rows = [{"url": f"http://{host}{PATH}", "caption": host} for host in hosts]
    with Server(hosts) as server:
        # no answer is late here: on a busy machine a host's policy may take its time
        run = url_run(tmp_path, write_list(tmp_path / "l.csv", rows), retries=0, policy_deadline_s=30, connect_s=30)
        fetch(run, ENGINE, Network(server.names(), frozenset({"127.0.0.1"})))
    reasons = [row["reason"] for table in run.tables("downloads") for row in table.to_pylist()]
    assert None not in reasons
    assert set(reasons) <= {"OPTED_OUT", "NETWORK_ERROR"}
