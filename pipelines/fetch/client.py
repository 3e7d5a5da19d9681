"""One HTTP request with every limit: address, time, header size, body size. Never follows a redirect itself."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, cast

import aiohttp
from yarl import URL

from filters import __version__
from filters.errors import first_line
from filters.optout.agents import OWN_TOKEN
from filters.optout.base import Headers
from filters.reasons import Reason
from pipelines.fetch.addresses import Network, Refused, VettingResolver, checked_url
from pipelines.fetch.failures import Failure
from pipelines.run.recipe_fetch import Fetch

_CHUNK = 1 << 16

#: Bytes of a body that stay in memory; larger ones wait in an unnamed file.
_IN_MEMORY = 1 << 18

#: Bytes of all header fields of an answer together.
_MAX_HEADERS = 1 << 16

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def user_agent(contact: str) -> str:
    """Return the user agent: the project by its robots.txt token, its purpose, and who runs it."""
    return (
        f"{OWN_TOKEN}/{__version__} (fetches pictures for AI training datasets; obeys opt-outs; operator: {contact})"
    )


@dataclass(frozen=True)
class Answer:
    """An answer as it came in: address, status, header fields in order, body (cut where `cut` is set)."""

    url: URL
    status: int
    headers: Headers
    body: IO[bytes]
    nbytes: int
    sha256: str
    cut: bool = False

    def header(self, name: str) -> str | None:
        """Return the first field of that name (lower case), None where there is none."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    def redirect(self) -> URL | None:
        """Return where a redirect leads to (not checked yet), None where it is none or names no place."""
        place = self.header("location")
        if self.status not in _REDIRECTS or not place:
            return None
        try:
            return self.url.join(URL(place.encode("latin-1", "replace").decode("utf-8", "replace").strip()))
        except (ValueError, TypeError, UnicodeError):
            raise Failure(Reason.HTTP_ERROR, "redirects to what is no address", self.status, self.headers) from None


@dataclass(frozen=True)
class Bounds:
    """Limits of one request: bytes and seconds. `cut` keeps what fits of a larger body, else that is a failure."""

    nbytes: int
    seconds: float
    cut: bool = False
    #: Called with the status and header fields before any of the body is read; raises `Failure` to stop there.
    heads: Callable[[int, Headers], None] | None = None
    #: Called with the first 4,096 bytes (or all); raises `Failure` to stop the download there.
    look: Callable[[bytes], None] | None = None


class _DiskError(Exception):
    """A body could not be written to this machine's disk, which is no fault of the host."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Client:
    """Sends requests. Use as an async context manager, inside the loop that it works in.

    A request whose connection is dropped without a word is repeated once by aiohttp itself (RFC 9112 §9.5).
    """

    def __init__(self, settings: Fetch, network: Network, folder: str | None = None, on_disk: bool = True) -> None:
        """`folder` is where large bodies wait, unnamed; without `on_disk` none is ever written to a disk."""
        self._settings = settings
        self._folder = folder
        self._in_memory = _IN_MEMORY if on_disk else 0  # 0: without bounds
        self._network = network
        self._ports = frozenset(settings.ports)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Client:
        self._resolver = VettingResolver(self._network)
        connector = aiohttp.TCPConnector(
            resolver=self._resolver,
            socket_factory=self._network.socket,
            limit=0,
            ttl_dns_cache=300,
            dns_cache_max_size=10_000,
        )
        mail = _mail(self._settings.contact)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={
                "User-Agent": user_agent(self._settings.contact),
                "Accept-Encoding": "identity",
                **({"From": mail} if mail else {}),
            },
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            await self._resolver.close()

    def checked(self, text: str) -> URL:
        """Return the URL of `text`. Raises `Failure` with URL_REFUSED where it may not be requested."""
        try:
            return checked_url(text, self._network, self._ports)
        except Refused as error:
            raise Failure(Reason.URL_REFUSED, str(error)) from None

    async def get(self, url: URL, bounds: Bounds, accept: str = "*/*") -> Answer:
        """Return the host's answer to one GET, whatever its status. Raises `Failure` where there is none."""
        assert self._session is not None, "use the client in an async with block"
        # what is requested is checked here again, so that no path leads around the check
        url = self.checked(str(url))
        timeout = aiohttp.ClientTimeout(total=bounds.seconds, connect=min(self._settings.connect_s, bounds.seconds))
        reached = False
        try:
            async with self._session.get(
                url, timeout=timeout, allow_redirects=False, headers={"Accept": accept}
            ) as response:
                reached = True
                return await self._read(url, response, bounds)
        except _DiskError as error:
            raise error.cause from None
        except asyncio.TimeoutError as error:
            what = "the answer was not complete in time" if reached else _timeout(error)
            raise Failure(Reason.FETCH_TIMEOUT, what, reached=reached) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _failure(error, reached) from None

    async def _read(self, url: URL, response: aiohttp.ClientResponse, bounds: Bounds) -> Answer:
        status, headers = response.status, _headers(response)
        if sum(len(name) + len(value) for name, value in headers) > _MAX_HEADERS:
            raise Failure(Reason.HTTP_ERROR, f"header larger than {_MAX_HEADERS} bytes", status)
        if bounds.heads is not None:
            bounds.heads(status, headers)
        wants_body = status == 200 or (200 < status < 300 and bounds.cut)
        if not wants_body:
            # the body of an error page is of no use to anyone; the connection is dropped with it
            response.close()
            return Answer(url, status, headers, tempfile.SpooledTemporaryFile(), 0, hashlib.sha256().hexdigest())
        if not bounds.cut and (response.content_length or 0) > bounds.nbytes:
            raise Failure(
                Reason.BODY_TOO_LARGE, f"announces {response.content_length} bytes, {bounds.nbytes} allowed", status
            )
        # closed by whoever takes the answer
        body = cast(IO[bytes], tempfile.SpooledTemporaryFile(max_size=self._in_memory, dir=self._folder))  # noqa: SIM115
        digest, size, first, looked = hashlib.sha256(), 0, b"", bounds.look is None
        async for chunk in response.content.iter_chunked(_CHUNK):
            chunk = chunk[: bounds.nbytes + 1 - size]
            size += len(chunk)
            if size > bounds.nbytes:
                if not bounds.cut:
                    body.close()
                    raise Failure(Reason.BODY_TOO_LARGE, f"more than {bounds.nbytes} bytes", status, headers)
                chunk, size = chunk[:-1], bounds.nbytes
                digest.update(chunk)
                _write(body, chunk)
                response.close()
                return Answer(url, status, headers, body, size, digest.hexdigest(), cut=True)
            digest.update(chunk)
            _write(body, chunk)
            if not looked:
                first += chunk[: 4096 - len(first)]
                if len(first) == 4096:
                    looked = True
                    _look(bounds, first, status, headers)
        if not looked:
            _look(bounds, first, status, headers)
        return Answer(url, status, headers, body, size, digest.hexdigest())


def _write(body: IO[bytes], chunk: bytes) -> None:
    try:
        body.write(chunk)
    except OSError as error:
        raise _DiskError(error) from None


def _look(bounds: Bounds, first: bytes, status: int, headers: Headers) -> None:
    if bounds.look is not None:
        try:
            bounds.look(first)
        except Failure as failure:
            raise Failure(failure.reason, failure.detail, status, headers) from None


def _headers(response: aiohttp.ClientResponse) -> Headers:
    """Return the fields in order with repeats, as text; cookies are none of our business and left out."""
    pairs = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers)
    return tuple((name, value) for name, value in pairs if name.lower() != "set-cookie")


def _timeout(error: BaseException) -> str:
    return "no connection in time" if isinstance(error, aiohttp.ConnectionTimeoutError) else "no answer in time"


def _failure(error: Exception, reached: bool) -> Failure:
    """Turn an error of the library into a failure; a refused address may hide in its causes."""
    cause: BaseException | None = error
    while cause is not None:
        hidden = getattr(cause, "os_error", None)
        for found in (cause, hidden):
            if isinstance(found, Refused):
                return Failure(Reason.URL_REFUSED, str(found), reached=False)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, aiohttp.InvalidURL):
        return Failure(Reason.URL_REFUSED, f"not a URL: {first_line(error)}", reached=False)
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientSSLError):
        return Failure(Reason.NETWORK_ERROR, first_line(error), reached=False)
    answered = reached or isinstance(error, aiohttp.ClientResponseError)
    return Failure(Reason.NETWORK_ERROR, f"{type(error).__name__}: {first_line(error)}", reached=answered)


def _mail(contact: str) -> str:
    """Return the mail address of a contact for the From field (RFC 9110 §10.1.2), empty where it has none."""
    words = (word.strip("<>,;") for word in contact.split())
    return next((word for word in words if "@" in word and "://" not in word), "")


def remaining(deadline: float) -> float:
    """Return the seconds until `deadline` (of `time.monotonic`). Raises `Failure` where it has passed."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise Failure(Reason.FETCH_TIMEOUT, "the answer was not complete in time")
    return left
