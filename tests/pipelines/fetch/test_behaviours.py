"""End to end against one server that plays more than a hundred hosts: what comes of each row, and what was asked."""

import json
from collections import Counter

import pytest
from behaviours import CASES, PAGES, PATH, PICTURE, Case
from many_hosts import Reply, Server
from url_runs import ENGINE, url_run, write_list

from pipelines.fetch.addresses import Network
from pipelines.fetch.evidence import EvidenceStore
from pipelines.fetch.table import evidence_of
from pipelines.jobs.fetch import fetch
from pipelines.jobs.ingest import ingest
from pipelines.run.directory import Run
from pipelines.run.storage import sha256_stream

NAMES = [case.name for case in CASES]


def network(server: Server) -> Network:
    hosts = server.names()
    hosts.pop("no-such-name.test", None)
    hosts["inside.test"] = ("10.0.0.7", 80)
    hosts["closed-port.test"] = ("127.0.0.1", 9)
    return Network(hosts, frozenset({"127.0.0.1"}))


def fetched(folder, cases: list[Case], **settings: object) -> tuple[Server, Run, dict[str, dict]]:
    rows = [
        {"key": c.name, "url": c.address, "caption": f"a picture of {c.name}", "page_url": c.page or ""} for c in cases
    ]
    with Server({case.host: case.routes for case in cases}) as server:
        run = url_run(folder, write_list(folder / "list.csv", rows), **settings)
        fetch(run, ENGINE, network(server))
    ingest(run, ENGINE)
    table = [row for part in run.tables("downloads") for row in part.to_pylist()]
    return server, run, {row["key"]: row for row in table}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return fetched(tmp_path_factory.mktemp("behaviours"), CASES, rows_per_part=50)


def test_there_are_enough_behaviours():
    assert len({case.host for case in CASES}) >= 120
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_each_row_gets_its_status(done, case):
    _server, _, rows = done
    row = rows[case.name]
    assert (row["reason"], row["attempts"]) == (case.reason, case.attempts), row["detail"]
    assert (row["sha256"] is not None) == (case.reason is None)


@pytest.mark.parametrize("case", [c for c in CASES if c.routes], ids=lambda case: case.name)
def test_each_picture_is_requested_as_often_as_it_may(done, case):
    server, _, _ = done
    direct = [r for r in server.log if r.host == case.host and r.path == PATH]
    others = sum(f"//{case.host}/" in str(getattr(h, "headers", "")) for c in CASES for h in c.routes.values())
    assert len(direct) == case.asked if not others else case.asked <= len(direct) <= case.asked + 4 * others
    if case.never:
        assert case.never[1] not in server.asked(case.never[0])


def test_no_opted_out_picture_was_requested_where_that_was_known(done):
    server, _, _rows = done
    known = [case.host for case in CASES if case.asked == 0]
    assert len(known) > 40
    assert [r for r in server.log if r.host in known and r.path == PATH] == []


def test_each_policy_document_was_asked_for_once(done):
    server, _, _ = done
    retried = {"robots-503-then-200.test", *(f"{n}.test" for n in NAMES if n.startswith("robots-"))}
    again = {
        key: count
        for key, count in server.counts().items()
        if key[1] in ("/robots.txt", "/ai.txt", "/.well-known/tdmrep.json") and count > 1 and key[0] not in retried
    }
    # what answered 5xx, broke off or gave no answer was tried three times
    assert all(count == 3 for count in again.values())
    assert {host for host, _ in again} <= {"tdmrep-500.test", "tdmrep-broken.test", "ai-txt-503.test"}


def test_every_row_of_the_list_is_a_sample_in_order(done):
    _, run, rows = done
    samples = [row for part in run.tables("samples") for row in part.to_pylist()]
    assert [sample["key"] for sample in samples] == NAMES
    for sample, case in zip(samples, CASES, strict=True):
        assert sample["failure"] == case.reason
        assert (sample["fetched_at"] is not None) == (rows[case.name]["fetched_at"] is not None)
        assert sample["caption"] == f"a picture of {case.name}"


def test_kept_bytes_are_the_original_ones(done):
    _, run, rows = done
    assert all(row["nbytes"] == len(PICTURE) for row in rows.values() if row["sha256"])
    marker = run.marker("downloads", 0)
    for name, record in marker.files.items():
        with run.store.open(name) as stream:
            assert sha256_stream(stream) == record.sha256


def test_signals_say_who_denied_and_their_evidence_is_kept(done):
    _, run, rows = done
    store = EvidenceStore(run.store)
    for name, channel in (
        ("robots-ai-agents-only", "robots.txt"),
        ("tdmrep", "tdmrep"),
        ("x-robots-noai", "x-robots-tag"),
        ("content-signal", "content-signal"),
    ):
        denials = [s for s in rows[name]["signals"] if s["verdict"] == "deny"]
        assert denials, name
        assert channel.split("-")[0].split(".")[0] in denials[0]["channel"].lower()
        if denials[0]["evidence_sha256"]:
            assert store.body(denials[0]["evidence_sha256"])
    evidence = evidence_of(rows["robots-other-path"], store)
    assert evidence.robots is not None
    assert evidence.robots.body.startswith(b"User-agent: *")
    assert rows["robots-other-path"]["robots_sha256"] == evidence.robots.sha256


def test_every_request_is_honest_and_carries_nothing_else(done):
    server, _, _ = done
    for request in server.log:
        assert request.headers["user-agent"].startswith("assay/")
        assert "ops@example.org" in request.headers["user-agent"]
        assert request.headers["accept-encoding"] == "identity"
        assert "cookie" not in request.headers
        assert "authorization" not in request.headers
        assert "referer" not in request.headers
        assert "x-injected" not in request.headers


def test_response_headers_are_kept_but_no_cookies(done):
    _, _, rows = done
    headers = dict(json.loads(rows["lying-type"]["headers"]))
    assert headers["Content-Type"] == "text/html"
    assert "cookie" not in rows["cookie"]["headers"].lower()


def test_pages_are_read_where_the_recipe_asks_for_it(tmp_path):
    server, _, rows = fetched(tmp_path, PAGES, pages=True)
    found = {case.name: rows[case.name]["reason"] for case in PAGES}
    assert found == {case.name: case.reason for case in PAGES}
    pictures = Counter(request.host for request in server.log if request.path == PATH)
    assert pictures == Counter(case.host for case in PAGES if case.asked)
    assert "/page" not in server.asked("page-barred.test")


def test_pages_are_left_alone_otherwise(tmp_path):
    server, _, _ = fetched(tmp_path, PAGES[:2])
    assert not [request for request in server.log if request.path == "/page"]


def test_a_page_permits_pictures_of_its_own_origin_only(tmp_path):
    page = '<html><head><meta name="tdm-reservation" content="0"></head></html>'
    routes = {PATH: Reply(body=PICTURE), "/page": Reply(body=page.encode(), headers=(("Content-Type", "text/html"),))}
    cases = [Case("own", routes, page="http://own.test/page"), Case("cdn", routes, page="http://own.test/page")]
    server, _, rows = fetched(tmp_path, cases, pages=True)
    verdicts = {name: {signal["verdict"] for signal in rows[name]["signals"]} for name in ("own", "cdn")}
    assert "allow" in verdicts["own"]
    assert "allow" not in verdicts["cdn"]
    assert server.asked("own.test").count("/page") == 1
