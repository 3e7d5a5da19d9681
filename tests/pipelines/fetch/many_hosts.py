"""A server on 127.0.0.1 that plays many hosts by name, well-behaved and not, and keeps a log of every request."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    host: str
    path: str
    headers: dict[str, str]
    time: float


@dataclass
class Reply:
    """A plain answer; `length` lies about the body's size where it is given."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None
    delay: float = 0.0

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.delay)
        writer.write(self.head())
        writer.write(self.body)
        await writer.drain()

    def head(self) -> bytes:
        length = len(self.body) if self.length is None else self.length
        fields = [f"HTTP/1.1 {self.status} X", f"Content-Length: {length}", "Connection: close"]
        fields += [f"{name}: {value}" for name, value in self.headers]
        return ("\r\n".join(fields) + "\r\n\r\n").encode()


Handler = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """Hosts by name, each with handlers by path; anything else is a 404. Use as a context manager."""

    hosts: dict[str, dict[str, Handler]]
    log: list[Request] = field(default_factory=list)
    port: int = 0

    def __enter__(self) -> "Server":
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def names(self, *more: str) -> dict[str, tuple[str, int]]:
        """The names as a test network maps them."""
        return dict.fromkeys((*self.hosts, *more), ("127.0.0.1", self.port))

    def asked(self, host: str) -> list[str]:
        """Paths that were asked of a host, in order."""
        return [request.path for request in self.log if request.host == host]

    def counts(self) -> Counter[tuple[str, str]]:
        """How often each path of each host was asked for."""
        return Counter((request.host, request.path) for request in self.log)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._main())

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name
            }
            host = headers.get("host", "").partition(":")[0]
            request = Request(host, first.split(" ")[1], headers, time.monotonic())
            self.log.append(request)
            handler = self.hosts.get(host, {}).get(request.path.partition("?")[0], Reply(404))
            await handler(request, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ValueError):
            pass
        finally:
            writer.close()
            self._tasks.discard(asyncio.current_task())


def silent(seconds: float = 60.0) -> Handler:
    """Takes the request and never answers."""

    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)

    return handler


def drip(body: bytes, pause: float = 0.2) -> Handler:
    """Sends one byte after the other, slowly."""

    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(Reply(length=100_000).head())
        for at in range(len(body)):
            writer.write(body[at : at + 1])
            await writer.drain()
            await asyncio.sleep(pause)

    return handler


def endless(first: bytes) -> Handler:
    """Never stops sending."""

    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + first)
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    return handler


def endless_header() -> Handler:
    """Never comes to the body."""

    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-More: " + b"y" * 1000 + b"\r\n")
            await writer.drain()

    return handler


def raw(data: bytes) -> Handler:
    """Sends these bytes and hangs up."""

    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return handler


def chunked(body: bytes) -> Handler:
    """Sends a body in chunks."""

    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        for at in range(0, len(body), 100):
            piece = body[at : at + 100]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    return handler


def in_turn(*handlers: Handler) -> Handler:
    """Answers the first request by the first handler and so on; the last one answers all that follow."""
    count = iter(range(1_000_000))

    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        await handlers[min(next(count), len(handlers) - 1)](request, writer)

    return handler


def reset(after: bytes) -> Handler:
    """Breaks the connection off with a reset."""

    async def handler(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(after)
        await writer.drain()
        writer.transport.abort()

    return handler


def redirect(place: str, status: int = 302, *headers: tuple[str, str]) -> Reply:
    """Leads elsewhere."""
    return Reply(status, headers=(("Location", place), *headers))
