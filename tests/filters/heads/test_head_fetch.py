"""Downloads of small files: checked, atomic, cached; over a real HTTP server on this machine."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from filters.errors import BadInput
from filters.heads.fetch import cache_folder, fetch

BODY = bytes(range(256)) * 40
SHA256 = hashlib.sha256(BODY).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    requests: list[str]

    def do_GET(self):
        self.requests.append(self.path)
        if self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("Location", {"/away-http": "http://localhost/x.pth"}.get(self.path, "file:///etc/passwd"))
            self.end_headers()
            return
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "/head.pth")
            self.end_headers()
            return
        if self.path != "/head.pth" and self.path != "/cut.pth":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[:100] if self.path == "/cut.pth" else BODY)

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    handler = type("Handler", (_Handler,), {"requests": []})
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}", handler.requests
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def left_behind(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".fetch")] if folder.exists() else []


def test_fetches_once_and_again_where_the_cache_is_damaged(server, tmp_path):
    url, requests = server
    path = fetch(f"{url}/head.pth", SHA256, tmp_path / "heads", local=True)
    assert path.read_bytes() == BODY
    assert path == tmp_path / "heads" / f"{SHA256}.pth"
    assert fetch(f"{url}/head.pth", SHA256, tmp_path / "heads", local=True) == path
    assert requests == ["/head.pth"]
    path.write_bytes(BODY[:-1])
    assert fetch(f"{url}/head.pth", SHA256, tmp_path / "heads", local=True).read_bytes() == BODY
    assert fetch(f"{url}/moved.pth", SHA256, tmp_path / "other", local=True).read_bytes() == BODY
    assert not left_behind(tmp_path / "heads")


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("head.pth", {"sha256": "0" * 64}, "expected 0000000000000000..."),
        ("head.pth", {"limit": 1000}, "more than 1000 bytes"),
        ("missing.pth", {}, "the server answers 404"),
        ("cut.pth", {}, "cannot be reached|SHA-256"),
        ("away-http", {}, "over https only"),
        ("away-file", {}, "not allowed"),
    ],
)
def test_refuses_what_is_not_the_published_file_and_keeps_nothing(server, tmp_path, path, options, message):
    url, _ = server
    with pytest.raises(BadInput, match=message) as refused:
        fetch(f"{url}/{path}", **{"sha256": SHA256, "cache": tmp_path, "local": True, **options})
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x.pth", "http://example.org/x", "ftp://a.b/x", "file:///x", "x"])
def test_only_https_unless_a_test_says_otherwise(url, tmp_path):
    with pytest.raises(BadInput, match="https only"):
        fetch(url, SHA256, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_network_is_one_line_that_says_what_to_do(tmp_path):
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/head.pth"
        with pytest.raises(BadInput, match=r"127\.0\.0\.1 cannot be reached \(.*file:/path") as refused:
            fetch(url, SHA256, tmp_path, local=True, timeout=5)
    assert "\n" not in str(refused.value)


def test_a_folder_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match="cannot keep"):
        fetch(f"{server[0]}/head.pth", SHA256, tmp_path / "file", local=True)


def test_the_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("ASSAY_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "assay" / "heads"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder().parts[-3:] == (".cache", "assay", "heads")
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own" / "heads"
