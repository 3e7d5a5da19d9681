"""The Spawning client speaks the documented protocol with a real server, and takes no answer for an allowance."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from filters.environment import SPAWNING_KEY
from filters.errors import BadInput
from filters.optout.entries import Kind
from pipelines.commands import main
from pipelines.registry import open_registry
from pipelines.registry import spawning as module
from pipelines.registry.spawning import SpawningClient

NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)


class Handler(BaseHTTPRequestHandler):
    """Answers as the opts API v2 does; what `server.answer` gives replaces the answer."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        urls = body.split("\n")
        self.server.calls.append((self.path, self.headers["Authorization"], self.headers["Content-Type"], urls))
        status, answer = self.server.answer(urls)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/other")
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self):
        self.server.calls.append((self.path, self.headers["Authorization"], "GET", []))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *details):
        pass


def usual(urls):
    rows = [{"url": url, "optOut": "jane" in url} for url in urls if "unknown" not in url]
    return 200, json.dumps({"urls": rows}).encode()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.calls, made.answer = [], usual
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def client(server, tmp_path):
    made = SpawningClient(
        "secret-key", tmp_path / "cache", f"http://127.0.0.1:{server.server_port}/api/v2/query/urls/"
    )
    yield made
    made.close()


def said(client, urls, at=NOW):
    return [answer.opt_out for answer in client.ask(urls, at)]


def test_urls_are_asked_about_as_documented(client, server):
    urls = ["https://x.org/jane.jpg", "https://x.org/b.jpg", "https://x.org/unknown.jpg", "https://x.org/b.jpg"]
    assert said(client, urls) == [True, False, None, False]
    assert server.calls == [("/api/v2/query/urls/", "API secret-key", "text/plain", urls[:3])]


def test_answers_are_cached_with_their_date(client, server):
    assert said(client, ["https://x.org/jane", "https://x.org/b"]) == [True, False]
    assert said(client, ["https://x.org/jane", "https://x.org/b"], NOW + timedelta(days=6)) == [True, False]
    assert len(server.calls) == 1
    answer = next(iter(client.ask(["https://x.org/b"], NOW + timedelta(days=6))))
    assert answer.at == NOW
    said(client, ["https://x.org/b"], NOW + timedelta(days=8))
    assert len(server.calls) == 2


def test_what_was_not_answered_is_asked_again(client, server):
    for _ in range(2):
        assert said(client, ["https://x.org/unknown"]) == [None]
    assert len(server.calls) == 2


def test_calls_hold_at_most_ten_thousand_urls(client, server, monkeypatch):
    monkeypatch.setattr(module, "MAX_URLS", 10)
    assert said(client, [f"https://x.org/{at}" for at in range(25)]) == [False] * 25
    assert [len(call[3]) for call in server.calls] == [10, 10, 5]


def test_a_url_with_a_line_break_cannot_ask_about_another(client, server):
    assert said(client, ["https://x.org/a\nhttps://x.org/jane", "", "https://x.org/b"]) == [None, None, False]
    assert server.calls[0][3] == ["https://x.org/b"]


def test_opted_out_urls_become_drafts(client):
    drafts = list(client.drafts(["https://x.org/jane", "https://x.org/b", "https://x.org/unknown"], NOW))
    assert [(draft.kind, draft.value, draft.requester) for draft in drafts] == [
        (Kind.URL, "https://x.org/jane", "Spawning Do-Not-Train")
    ]
    assert "2026-11-21" in drafts[0].note


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, b"", "check the key"),
        (429, b"", "try again later"),
        (500, b"", "try again later"),
        (302, b"", "answered 302"),
        (200, b"<html>", "documented form"),
        (200, b"[]", "documented form"),
        (200, b'{"urls": [5]}', "documented form"),
        (200, b"[" * 100_000, "documented form"),
        (200, b"\xff\xfe", "documented form"),
    ],
)
def test_an_answer_that_is_none_is_an_error_and_shows_no_key(client, server, status, body, message):
    server.answer = lambda urls: (status, body)
    with pytest.raises(BadInput, match=message) as caught:
        said(client, ["https://x.org/b"])
    assert "secret-key" not in str(caught.value)
    assert all(call[2] != "GET" for call in server.calls)


@pytest.mark.parametrize("value", ["false", 0, None, "no"])
def test_only_a_true_boolean_is_an_answer(client, server, value):
    server.answer = lambda urls: (200, json.dumps({"urls": [{"url": urls[0], "optOut": value}]}).encode())
    assert said(client, ["https://x.org/b"]) == [None]


def test_answers_about_other_urls_do_not_count_and_an_opt_out_wins(client, server):
    rows = [{"url": "https://x.org/b", "optOut": True}, {"url": "https://x.org/b", "optOut": False}]
    rows.append({"url": "https://x.org/c", "optOut": False})
    server.answer = lambda urls: (200, json.dumps({"urls": rows}).encode())
    assert said(client, ["https://x.org/b"]) == [True]
    server.answer = lambda urls: (200, b'{"urls": []}')
    assert said(client, ["https://x.org/c"]) == [None]


def test_what_came_before_a_failure_is_kept(client, server, monkeypatch):
    monkeypatch.setattr(module, "MAX_URLS", 2)
    server.answer = lambda urls: usual(urls) if len(server.calls) == 1 else (500, b"")
    urls = [f"https://x.org/{at}" for at in range(4)]
    with pytest.raises(BadInput):
        said(client, urls)
    server.answer = usual
    assert said(client, urls) == [False] * 4
    assert [call[3] for call in server.calls] == [urls[:2], urls[2:], urls[2:]]


def test_a_list_of_urls_comes_into_a_registry(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(main.COMMANDS, "optout", ("pipelines.commands.registry:registry_app", "Opt-outs."))
    monkeypatch.setenv(SPAWNING_KEY, "secret-key")
    (tmp_path / "urls.txt").write_text("https://x.org/jane\n\nhttps://x.org/b\n")
    path = str(tmp_path / "r.sqlite")
    more = ["--ask-spawning", str(tmp_path / "cache"), "--endpoint", f"http://127.0.0.1:{server.server_port}/"]
    assert main.invoke(["optout", "init", path]) == 0
    assert main.invoke(["optout", "import", path, str(tmp_path / "urls.txt"), *more]) == 0
    with open_registry(path) as registry:
        assert [entry.value for entry in registry.entries()] == ["https://x.org/jane"]
    assert main.invoke(["optout", "import", path, str(tmp_path / "missing.txt"), *more]) == 2
    server.answer = lambda urls: (500, b"")
    (tmp_path / "urls.txt").write_text("https://x.org/new\n")
    assert main.invoke(["optout", "import", path, str(tmp_path / "urls.txt"), *more]) == 2
    monkeypatch.delenv(SPAWNING_KEY)
    assert main.invoke(["optout", "import", path, str(tmp_path / "urls.txt"), *more]) == 2
    assert "secret-key" not in capsys.readouterr().err


def test_no_server_and_no_safe_endpoint_are_errors(tmp_path, server):
    port = server.server_port
    server.shutdown()
    server.server_close()
    client = SpawningClient("k", tmp_path / "cache", f"http://127.0.0.1:{port}/")
    with pytest.raises(BadInput, match="no answer"):
        said(client, ["https://x.org/b"])
    client.close()
    for endpoint in ("http://example.org/", "ftp://127.0.0.1/", "file:///etc/passwd"):
        with pytest.raises(BadInput, match="https only"):
            SpawningClient("k", tmp_path / "cache", endpoint)
    for key in ("", "a\nb", "ключ"):
        with pytest.raises(BadInput, match="SPAWNING_OPTS_KEY"):
            SpawningClient(key, tmp_path / "cache")
    (tmp_path / "text").write_text("hello " * 500)
    with pytest.raises(BadInput, match="no usable cache"):
        SpawningClient("k", tmp_path / "text")
