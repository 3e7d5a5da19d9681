"""`assay optout check` tells every signal of an address or a file, and asks for no picture that is reserved."""

import json

import pytest
from behaviours import PATH, PICTURE
from many_hosts import Reply, Server

from filters.errors import BadInput
from filters.optout.base import Verdict
from pipelines.commands.main import invoke
from pipelines.fetch.addresses import Network
from pipelines.fetch.inspect import inspect_urls

HOSTS = {
    "open.test": {PATH: Reply(body=PICTURE)},
    "robots.test": {"/robots.txt": Reply(body=b"User-agent: GPTBot\nDisallow: /\n"), PATH: Reply(body=PICTURE)},
    "header.test": {PATH: Reply(body=PICTURE, headers=(("X-Robots-Tag", "noai"),))},
    "usage.test": {PATH: Reply(body=PICTURE, headers=(("Content-Usage", "train-ai=y"),))},
    "gone.test": {},
}


def test_each_address_gets_its_verdict_and_no_reserved_picture_is_asked_for():
    with Server(HOSTS) as server:
        network = Network(server.names(), frozenset({"127.0.0.1"}))
        found = inspect_urls([f"http://{host}{PATH}" for host in HOSTS], "ops@example.org", network=network)
    verdicts = {host: (seen.verdict, bool(seen.problem)) for host, seen in zip(HOSTS, found, strict=True)}
    assert verdicts == {
        "open.test": (Verdict.UNKNOWN, False),
        "robots.test": (Verdict.DENY, True),
        "header.test": (Verdict.DENY, True),
        "usage.test": (Verdict.ALLOW, False),
        "gone.test": (Verdict.UNKNOWN, True),
    }
    asked = [request.host for request in server.log if request.path == PATH]
    assert "robots.test" not in asked
    assert "open.test" in asked


def test_an_inside_address_is_refused_before_any_connection():
    found = inspect_urls(["http://127.0.0.1:80/x.png", "file:///etc/hostname"], "ops@example.org")
    assert [seen.problem.split(":")[0] for seen in found if seen.problem] == ["URL_REFUSED", "URL_REFUSED"]


def test_without_a_contact_no_host_is_asked(capsys, monkeypatch):
    monkeypatch.delenv("ASSAY_CONTACT", raising=False)
    assert invoke(["optout", "check", "http://example.org/x.png"]) == 2
    assert "--contact" in capsys.readouterr().err
    with pytest.raises(BadInput, match="--contact"):
        inspect_urls(["http://example.org/x.png"], "nobody")


def test_a_file_is_read_and_a_missing_one_is_one_line(tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(PICTURE)
    assert invoke(["optout", "check", str(tmp_path / "a.png"), "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert [(b["verdict"], b["reason"], b["signals"]) for b in body] == [("unknown", None, [])]
    assert invoke(["optout", "check", str(tmp_path / "none.png")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
