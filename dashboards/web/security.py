"""What stands before every page: who may ask, what may be asked, and what a browser may do with the answer.

Captions and metadata are hostile, so the policy allows no inline script or style and no other origin: even text
that slipped through escaping could not run. A page of another site that has its name point at this machine (DNS
rebinding) is refused by the Host header.
"""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboards.web.settings import Settings, is_loopback

COOKIE = "assay_token"

#: Pages may be asked for with these; only paths of `UPLOADS` take a body.
METHODS = ("GET", "HEAD")

#: Ends of paths that take an uploaded picture (search). An upload is looked at and forgotten.
UPLOADS = ("/search",)

HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

#: Longest query string that is parsed, characters.
_MAX_QUERY = 8000


class Guard:
    """ASGI middleware: Host check, token, methods, and the headers of every answer."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        refused = self._refusal(Request(scope))

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await (refused or self._app)(scope, receive, guarded)

    def _refusal(self, request: Request) -> Response | None:
        if not self._host_known(request.headers):
            return _refuse(421, "this dashboard does not answer for that host name")
        if self._settings.token is not None and not self._allowed(request):
            return self._sign_in(request)
        upload = request.method == "POST" and request.url.path.endswith(UPLOADS)
        if request.method not in METHODS and not upload:
            return _refuse(405, "the dashboard only reads", {"allow": ", ".join(METHODS)})
        if upload and not _same_site(request.headers):
            return _refuse(403, "an upload must come from the dashboard's own page")
        if upload and _length(request.headers) > self._settings.max_upload:
            return _refuse(413, f"an upload may have at most {self._settings.max_upload:,} bytes")
        if "\0" in request.scope["path"]:  # before Python 3.11 looking for such a file is an error
            return _refuse(404, "there is no such page")
        if len(request.url.query) > _MAX_QUERY:
            return _refuse(414, f"a query may have at most {_MAX_QUERY} characters")
        return None

    def _host_known(self, headers: Headers) -> bool:
        """Tell whether the Host header names this server. Where a token is asked for, other names may lead here."""
        name = _host_name(headers.get("host", ""))
        if name == self._settings.host or is_loopback(name):
            return True
        return self._settings.token is not None and not self._settings.loopback

    def _allowed(self, request: Request) -> bool:
        given = _bearer(request.headers) or _cookie(request.headers)
        return given is not None and self._is_token(given)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), (self._settings.token or "").encode())

    def _sign_in(self, request: Request) -> Response:
        """Take the token from the address once, keep it in a cookie, and lead to the address without it."""
        pairs = parse_qsl(request.url.query[:_MAX_QUERY], keep_blank_values=True)
        given = next((value for name, value in pairs if name == "token"), None)
        if request.method == "GET" and given is not None and self._is_token(given):
            rest = urlencode([pair for pair in pairs if pair[0] != "token"])
            # a path of two slashes would lead to another host
            target = "/" + request.url.path.lstrip("/") + (f"?{rest}" if rest else "")
            answer = RedirectResponse(target, 303)
            answer.set_cookie(COOKIE, given, httponly=True, samesite="strict", path="/")
            return answer
        return _refuse(401, "this dashboard asks for its token: open the address that assay serve printed")


def _refuse(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(text + "\n", status, headers)


def _host_name(host: str) -> str:
    """Return the name of a Host header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _bearer(headers: Headers) -> str | None:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" and value else None


def _cookie(headers: Headers) -> str | None:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return found.value if found else None


def _same_site(headers: Headers) -> bool:
    """Tell whether an upload comes from our own page. A client that is no browser sends neither field."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site in ("same-origin", "none")
    return origin is None or origin.partition("://")[2] == headers.get("host")


def _length(headers: Headers) -> int:
    value = headers.get("content-length", "")
    return int(value) if value.isdigit() and len(value) < 19 else 1 << 62
