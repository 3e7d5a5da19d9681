"""A read that fails goes on from the same byte; what stays broken is told, and answers are not asked for twice."""

import errno
import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipelines.run import steady

BODY = bytes(range(256)) * 2000


class Breaking(io.BytesIO):
    """A stream whose reads fail as `fails` says; some bytes are lost each time."""

    def __init__(self, fails):
        super().__init__(BODY)
        self._fails = fails
        self.size = len(BODY)

    def read(self, size=-1):
        fail = self._fails.pop(0) if self._fails else None
        if fail == "short":
            super().read()
            return b""
        if fail:
            super().read(77)
            raise fail
        return super().read(size)


class Store(MemoryFileSystem):
    """Opens `Breaking` streams; `fails` is for all of them together."""

    cachable = False

    def __init__(self, *fails):
        super().__init__()
        self.fails, self.opened = list(fails), 0

    def open(self, path, mode="rb", **settings):
        self.opened += 1
        return Breaking(self.fails)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(steady, "PAUSES", (0.0, 0.0, 0.0))


def reset():
    return ConnectionResetError(errno.ECONNRESET, "reset by peer")


def test_reads_go_on_from_the_byte_where_the_connection_broke():
    store = Store(None, reset(), reset(), None, "short", reset())
    with steady.Steady(store).open("x") as stream:
        found = stream.read(70_000) + stream.read(10)
        assert stream.seek(-1000, io.SEEK_END) == len(BODY) - 1000
        stream.seek(70_010)
        found += stream.read()
        assert (found, stream.read(1)) == (BODY, b"")
    assert store.opened == 5


def test_a_whole_read_that_ends_too_early_is_done_again():
    with steady.Steady(Store("short", reset())).open("x") as stream:
        assert stream.read() == BODY


def test_a_read_that_goes_on_failing_is_one_line():
    with (
        steady.Steady(Store(*(reset() for _ in range(4)))).open("bucket/x.tar") as stream,
        pytest.raises(steady.StoreFailed, match=r"bucket/x.tar: the store fails .*reset by peer.*, 4 times in a row"),
    ):
        stream.read(10)


def test_a_refusal_of_a_store_is_told_at_once_and_an_impossible_offset_is_an_answer():
    store = Store(PermissionError("ExpiredToken"))
    with (
        steady.Steady(store).open("x") as stream,
        pytest.raises(steady.StoreRefused, match=r"refuses this .ExpiredToken.; check keys and permissions"),
    ):
        stream.read(10)
    assert store.opened == 1
    with (
        steady.Steady(Store(OSError(errno.EINVAL, "Invalid argument"))).open("x") as stream,
        pytest.raises(OSError, match="Invalid argument"),
    ):
        stream.read(10)


def test_a_file_that_was_replaced_is_never_mixed_with_the_old_one():
    class Replaced(Store):
        def open(self, path, mode="rb", **settings):
            stream = super().open(path)
            stream.details = {"ETag": self.opened}
            return stream

    with steady.Steady(Replaced(None, reset())).open("x") as stream:
        assert stream.read(10) == BODY[:10]
        with pytest.raises(steady.StoreFailed, match="replaced while it was read"):
            stream.read()


def test_a_store_that_cannot_be_asked_does_not_say_that_nothing_is_there():
    class Silent(MemoryFileSystem):
        cachable = False

        def info(self, path, **settings):
            raise TimeoutError("no answer")

    assert Silent().exists("x") is False  # fsspec's own answer
    with pytest.raises(steady.StoreFailed, match="no answer"):
        steady.Steady(Silent()).exists("x")


def test_a_web_server_that_is_busy_does_not_say_that_nothing_is_there():
    statuses = [503] * 5 + [200] * 5

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self):
            status = 404 if "none" in self.path else statuses.pop(0)
            self.send_response(status)
            body = b"found" if status == 200 else b""
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *words):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    try:
        store = steady.Steady(fsspec.filesystem("http", skip_instance_cache=True))
        with store.open(f"{base}/there") as stream:
            assert stream.read() == b"found"
        assert store.exists(f"{base}/none") is False
        statuses[:] = [503] * 30
        with pytest.raises(steady.StoreFailed, match="503"):
            store.info(f"{base}/there")
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(steady.StoreFailed, match="4 times in a row"):
        store.info(f"{base}/there")
