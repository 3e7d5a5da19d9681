"""A host that is slow, dead or wants rest costs the others nothing; every host is asked politely."""

import time
from itertools import pairwise

from behaviours import PATH, PICTURE
from many_hosts import Handler, Reply, Server, silent
from url_runs import ENGINE, url_run, write_list

from pipelines.fetch.addresses import Network
from pipelines.jobs.fetch import fetch

FAST = [f"fast-{number}.test" for number in range(8)]


def go(folder, hosts: dict[str, dict[str, Handler]], rows: list[str], out: str = "run", **settings: object):
    listed = [{"url": f"http://{host}{PATH}?{n}", "caption": f"row {n}"} for n, host in enumerate(rows)]
    with Server(hosts) as server:
        run = url_run(folder, write_list(folder / f"{out}.csv", listed), out, **settings)
        fetch(run, ENGINE, Network(server.names(), frozenset({"127.0.0.1"})))
    return server, [row for table in run.tables("downloads") for row in table.to_pylist()]


def spread(server: Server, hosts: list[str]) -> float:
    """Seconds from the first to the last request for a picture of these hosts."""
    times = [request.time for request in server.log if request.host in hosts and request.path.startswith(PATH)]
    return max(times) - min(times)


def test_a_slow_host_does_not_stall_the_others(tmp_path):
    hosts = {name: {PATH: Reply(body=PICTURE)} for name in FAST}
    slow = {"slow.test": {PATH: Reply(body=PICTURE, delay=0.5)}}
    mixed = [name for _ in range(20) for name in (*FAST, "slow.test")]
    # few connections and small parts: the slow host's 20 rows stand in every part
    settings = {"connections": 4, "rows_per_part": 36, "per_host": 2, "deadline_s": 5, "policy_deadline_s": 5}
    alone, _ = go(tmp_path, dict(hosts), FAST * 20, "alone", **settings)
    both, rows = go(tmp_path, {**hosts, **slow}, mixed, "both", **settings)
    assert all(row["reason"] is None for row in rows)
    slow_took = spread(both, ["slow.test"])
    assert slow_took > 4
    assert spread(both, FAST) < min(spread(alone, FAST) * 3 + 1, slow_took * 0.75)


def test_a_dead_host_is_given_up_and_its_rows_say_so(tmp_path):
    hosts = {"dead.test": {"/robots.txt": Reply(404), PATH: silent()}, FAST[0]: {PATH: Reply(body=PICTURE)}}
    start = time.monotonic()
    rows = ["dead.test"] * 60 + FAST[:1] * 20
    server, found = go(tmp_path, hosts, rows, deadline_s=0.4, retries=0, give_up_after=4, per_host=2)
    assert time.monotonic() - start < 6
    assert {row["reason"] for row in found[60:]} == {None}
    assert {row["reason"] for row in found[:60]} == {"FETCH_TIMEOUT", "NETWORK_ERROR"}
    assert sum("not asked again" in (row["detail"] or "") for row in found) >= 54
    assert len([path for path in server.asked("dead.test") if path.startswith(PATH)]) <= 6


def test_requests_to_one_host_keep_their_distance(tmp_path):
    hosts = {FAST[0]: {PATH: Reply(body=PICTURE)}}
    server, _ = go(tmp_path, hosts, FAST[:1] * 8, delay_s=0.15)
    times = [request.time for request in server.log]
    # single requests may reach a busy machine's log late, the whole row of them not
    assert times[-1] - times[0] > 0.9 * 0.15 * (len(times) - 1)
    assert min(b - a for a, b in pairwise(times)) > 0.03


def test_a_crawl_delay_is_obeyed(tmp_path):
    robots = Reply(body=b"User-agent: *\nCrawl-delay: 0.25\n")
    server, _ = go(tmp_path, {FAST[0]: {"/robots.txt": robots, PATH: Reply(body=PICTURE)}}, FAST[:1] * 5)
    times = [request.time for request in server.log if request.path.startswith(PATH)]
    assert times[-1] - times[0] > 0.9 * 0.25 * (len(times) - 1)
    assert min(b - a for a, b in pairwise(times)) > 0.1


def test_no_more_requests_at_once_to_a_host_than_allowed(tmp_path):
    running, most = 0, 0

    async def counting(request, writer):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await Reply(body=PICTURE, delay=0.05)(request, writer)
        running -= 1

    go(tmp_path, {FAST[0]: {PATH: counting}}, FAST[:1] * 30, per_host=3)
    assert most == 3


def test_a_host_that_asks_for_rest_gets_it(tmp_path):
    answers = iter([Reply(429, headers=(("Retry-After", "1"),))])

    async def limited(request, writer):
        await next(answers, Reply(body=PICTURE))(request, writer)

    server, rows = go(tmp_path, {FAST[0]: {PATH: limited}}, FAST[:1] * 3, per_host=1)
    times = [request.time for request in server.log if request.path.startswith(PATH)]
    assert times[1] - times[0] > 0.9
    assert [row["reason"] for row in rows] == [None] * 3


def test_policies_are_asked_for_once_under_concurrency(tmp_path):
    hosts = {FAST[0]: {"/robots.txt": Reply(delay=0.2), PATH: Reply(body=PICTURE)}}
    server, _ = go(tmp_path, hosts, FAST[:1] * 200, rows_per_part=50, per_host=16)
    counts = server.counts()
    for path in ("/robots.txt", "/.well-known/tdmrep.json", "/ai.txt"):
        assert counts[(FAST[0], path)] == 1


def test_a_robots_txt_of_two_megabytes_does_not_stall_the_others(tmp_path):
    rules = b"User-agent: *\nAllow: /\n" + b"".join(b"Disallow: /*x%dq\n" % n for n in range(130_000))
    hosts = {name: {PATH: Reply(body=PICTURE, delay=0.02)} for name in FAST}
    hosts["long.test"] = {"/robots.txt": Reply(body=rules), PATH: Reply(body=PICTURE)}
    server, rows = go(tmp_path, hosts, ["long.test", *FAST * 25], deadline_s=20, policy_deadline_s=20)
    assert all(row["reason"] is None for row in rows)
    long = [request.time for request in server.log if request.host == "long.test"]
    others = [request.time for request in server.log if request.host in FAST]
    meanwhile = [long[0], *(at for at in others if long[0] < at < long[-1])]
    if max(others) > long[-1]:  # else they were through before the rules were, and nobody was left to wait
        meanwhile.append(long[-1])
    # however fast the machine reads the rules: nobody waited for a large part of that time
    assert len(meanwhile) > 20
    assert max(b - a for a, b in pairwise(meanwhile)) < 0.5 * (long[-1] - long[0])
