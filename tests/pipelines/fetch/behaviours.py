"""What hosts do, and what must come of it. Each case is one host by name and one row of a list."""

import gzip
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from many_hosts import Handler, Reply, chunked, drip, endless, endless_header, in_turn, raw, redirect, reset, silent

PATH = "/pic.png"


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(seed: int) -> bytes:
    """A real PNG of 64 x 64 pixels, different for every seed."""
    row = b"\0" + bytes((seed * 7 + x) % 256 for x in range(64))
    header = struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)
    pixels = b"".join(bytes([0, *(byte ^ y * seed % 251 for byte in row[1:])]) for y in range(64))
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(pixels)) + _chunk(b"IEND", b"")
    )


PICTURE = png(1)


@dataclass(frozen=True)
class Case:
    """A host's behaviour. `reason` None means fetched; `asked` is how often the picture may be requested."""

    name: str
    routes: dict[str, Handler] = field(default_factory=dict)
    reason: str | None = None
    asked: int = 1
    url: str | None = None
    attempts: int = 1
    page: str | None = None
    #: Host and path that must not be requested at all.
    never: tuple[str, str] | None = None

    @property
    def host(self) -> str:
        return f"{self.name}.test"

    @property
    def address(self) -> str:
        return f"http://{self.host}{PATH}" if self.url is None else self.url


def _robots(text: str | bytes, **more: object) -> dict[str, Handler]:
    return {"/robots.txt": Reply(body=text.encode() if isinstance(text, str) else text, **more)}


def _picture(*headers: tuple[str, str], **more: object) -> dict[str, Handler]:
    return {PATH: Reply(body=PICTURE, headers=headers, **more)}


_OK = _picture(("Content-Type", "image/png"))
_NO = "OPTED_OUT"
_UNREAD = "OPT_OUT_UNREADABLE"
_DENY_ALL = "User-agent: *\nDisallow: /\n"


def _rsl_no(url: str) -> bytes:
    return (
        f'<rsl xmlns="https://rslstandard.org/rsl"><content url="{url}"><license>'
        '<prohibits type="usage">ai-train</prohibits></license></content></rsl>'
    ).encode()


_RSL_NO = _rsl_no("/")
_RSL_LINK = ("Link", '</license.xml>; rel="license"; type="application/rsl+xml"')


def known_beforehand() -> Iterator[Case]:
    """Opt-outs that policy documents state: the picture must never be requested."""

    def denied(name: str, routes: dict[str, Handler], reason: str = _NO) -> Case:
        return Case(name, {**_OK, **routes}, reason, asked=0)

    yield denied("robots-all", _robots(_DENY_ALL))
    yield denied("robots-own-token", _robots("User-agent: assay\nDisallow: /pic\n"))
    yield denied("robots-ai-agents-only", _robots("User-agent: GPTBot\nUser-agent: CCBot\nDisallow: /\n"))
    yield denied("robots-wildcard", _robots("User-agent: *\nDisallow: /*.png$\nAllow: /pic\n"))
    yield denied("robots-long", _robots("# x\n" * 150_000 + _DENY_ALL))
    yield denied("robots-larger-than-read", _robots(_DENY_ALL + "# x\n" * 800_000))
    yield denied("robots-redirected", {"/robots.txt": redirect("/r2"), "/r2": Reply(body=_DENY_ALL.encode())})
    yield denied("robots-elsewhere", {"/robots.txt": redirect("http://robots-all.test/robots.txt", 301)})
    yield denied("robots-gzipped", _robots(gzip.compress(_DENY_ALL.encode()), headers=(("Content-Encoding", "gzip"),)))
    yield denied("robots-500", {"/robots.txt": Reply(500)}, _UNREAD)
    yield denied("robots-429", {"/robots.txt": Reply(429)}, _UNREAD)
    yield denied("robots-slow", {"/robots.txt": drip(_DENY_ALL.encode())}, _UNREAD)
    yield denied("robots-silent", {"/robots.txt": silent()}, "FETCH_TIMEOUT")
    yield denied("robots-loop", {"/robots.txt": redirect("/robots.txt")}, _UNREAD)
    yield denied("robots-to-private", {"/robots.txt": redirect("http://169.254.169.254/robots.txt")}, _UNREAD)
    yield denied("robots-broken-off", _robots("User-agent: *\nAllow: /\n", length=500), _UNREAD)
    yield denied("robots-brotli", _robots(b"\x0b\x02\x80", headers=(("Content-Encoding", "br"),)), _UNREAD)
    yield denied("robots-bad-gzip", _robots(b"\x1f\x8bnope", headers=(("Content-Encoding", "gzip"),)), _UNREAD)
    bomb = gzip.compress(b" " * 30_000_000)  # no line ends below the limit: nothing of it can be read
    yield denied("robots-bomb", _robots(bomb, headers=(("Content-Encoding", "gzip"),)))
    yield denied("aipref-robots", _robots("User-agent: *\nAllow: /\nContent-Usage: train-ai=n\n"))
    yield denied("aipref-path", _robots("User-agent: *\nAllow: /\nContent-Usage: /pic train-ai=n\n"))
    yield denied("content-signal", _robots("User-agent: *\nContent-Signal: search=yes, ai-train=no\nAllow: /\n"))
    yield denied("rsl", {**_robots("License: http://rsl.test/license.xml\n"), "/license.xml": Reply(body=_RSL_NO)})
    whole = Reply(body=_rsl_no("http://rsl-whole-url.test/"))
    yield denied("rsl-whole-url", {**_robots("License: /license.xml\n"), "/license.xml": whole})
    yield denied("rsl-gone", _robots("License: http://rsl-gone.test/license.xml\n"), _UNREAD)
    yield denied("rsl-private", _robots("License: http://10.0.0.1/license.xml\n"), _UNREAD)
    tdm = '[{"location": "/pic*", "tdm-reservation": 1}]'
    yield denied("tdmrep", {"/.well-known/tdmrep.json": Reply(body=tdm.encode())})
    yield denied("tdmrep-500", {"/.well-known/tdmrep.json": Reply(500)}, _UNREAD)
    yield denied("tdmrep-broken", {"/.well-known/tdmrep.json": Reply(body=b'[{"location"', length=400)}, _UNREAD)
    yield denied("ai-txt", {"/ai.txt": Reply(body=b"User-Agent: *\nDisallow: *.png\n")})
    yield denied("ai-txt-503", {"/ai.txt": Reply(503)}, _UNREAD)


def permitted() -> Iterator[Case]:
    """Hosts that let the picture be fetched."""
    yield Case("plain", _OK)
    yield Case("robots-empty", {**_OK, **_robots("")})
    yield Case("robots-403", {**_OK, "/robots.txt": Reply(403)})
    yield Case("robots-html", {**_OK, **_robots("<html><body>Not found</body></html>")})
    yield Case("robots-other-path", {**_OK, **_robots("User-agent: *\nDisallow: /private\n")})
    yield Case("robots-search-engine", {**_OK, **_robots("User-agent: Googlebot\nDisallow: /\n")})
    yield Case("robots-503-then-200", {**_OK, "/robots.txt": in_turn(Reply(503), Reply(body=b""))})
    bomb = gzip.compress(b"\n" * 30_000_000)
    yield Case("robots-bomb-of-lines", {**_OK, **_robots(bomb, headers=(("Content-Encoding", "gzip"),))})
    yield Case("crawl-delay", {**_OK, **_robots("User-agent: *\nCrawl-delay: 0.3\n")})
    yield Case("crawl-delay-of-a-year", {**_OK, **_robots("User-agent: *\nCrawl-delay: 31536000\n")})
    yield Case("aipref-yes", {**_OK, **_robots("User-agent: *\nAllow: /\nContent-Usage: train-ai=y\n")})
    yield Case("content-signal-yes", {**_OK, **_robots("User-agent: *\nContent-Signal: ai-train=yes\n")})
    tdm = b'[{"location": "/", "tdm-reservation": 0}]'
    yield Case("tdmrep-no", {**_OK, "/.well-known/tdmrep.json": Reply(body=tdm)})
    yield Case("ai-txt-yes", {**_OK, "/ai.txt": Reply(body=b"User-Agent: *\nAllow: *.png\n")})
    yield Case("x-robots-other-agent", _picture(("X-Robots-Tag", "otherbot: noai")))
    yield Case("lying-type", _picture(("Content-Type", "text/html")))
    yield Case("no-type", _picture())
    yield Case("chunked", {PATH: chunked(PICTURE)})
    yield Case("cookie", _picture(("Set-Cookie", "id=1; Path=/")))
    yield Case(
        "429-then-200",
        {PATH: in_turn(Reply(429, headers=(("Retry-After", "1"),)), Reply(body=PICTURE))},
        None,
        2,
        attempts=2,
    )
    yield Case("503-then-200", {PATH: in_turn(Reply(503), Reply(503), Reply(body=PICTURE))}, None, 3, attempts=3)
    # aiohttp itself repeats a request once whose connection was dropped without a word (RFC 9112 §9.5)
    yield Case("dropped-then-200", {PATH: in_turn(raw(b""), Reply(body=PICTURE))}, None, 2)
    yield Case(
        "reset-then-200", {PATH: in_turn(reset(Reply(length=500).head()), Reply(body=PICTURE))}, None, 2, attempts=2
    )
    yield Case("redirected", {PATH: redirect("/there", 301), "/there": Reply(body=PICTURE)})
    yield Case("redirected-elsewhere", {PATH: redirect("http://plain.test/pic.png", 307)})


def told_by_the_answer() -> Iterator[Case]:
    """Opt-outs that stand in the answer's header only: asked once, nothing of the body kept."""

    def header(name: str, *fields: tuple[str, str]) -> Case:
        return Case(name, _picture(*fields), _NO)

    yield header("x-robots-noai", ("X-Robots-Tag", "noai"))
    yield header("x-robots-upper-case", ("X-ROBOTS-TAG", "NOIMAGEAI"))
    yield header("x-robots-second-field", ("X-Robots-Tag", "all"), ("X-Robots-Tag", "noindex, noai"))
    yield header("x-robots-after-date", ("X-Robots-Tag", "unavailable_after: 25 Jun 2031 15:00:00 GMT, noai"))
    yield header("x-robots-agent", ("X-Robots-Tag", "GPTBot: noai"))
    yield header("tdm-header", ("tdm-reservation", "1"), ("tdm-policy", "https://x.test/policy.json"))
    yield header("tdm-header-twice", ("TDM-Reservation", "1, 1"))
    yield header("aipref-header", ("Content-Usage", "train-ai=n"))
    yield header("content-signal-header", ("Content-Signal", "ai-train=no"))
    yield Case("rsl-header", {**_picture(_RSL_LINK), "/license.xml": Reply(body=_RSL_NO)}, _NO)
    yield Case("noai-on-404", {PATH: Reply(404, headers=(("X-Robots-Tag", "noai"),))}, _NO)
    yield Case(
        "noai-on-redirect",
        {PATH: redirect("http://never-1.test/pic.png", 302, ("X-Robots-Tag", "noai"))},
        _NO,
        never=("never-1.test", PATH),
    )
    yield Case(
        "redirect-to-denied",
        {PATH: redirect("http://robots-ai-agents-only.test/pic.png")},
        _NO,
        never=("robots-ai-agents-only.test", PATH),
    )
    yield Case("redirect-to-tdmrep", {PATH: redirect("http://tdmrep.test/pic.png")}, _NO, never=("tdmrep.test", PATH))
    yield Case(
        "redirect-to-500-robots",
        {PATH: redirect("http://robots-500.test/pic.png")},
        _UNREAD,
        never=("robots-500.test", PATH),
    )


def failing() -> Iterator[Case]:
    """Answers that bring no picture."""
    yield Case("not-found", {PATH: Reply(404)}, "HTTP_ERROR")
    yield Case("gone", {PATH: Reply(410)}, "HTTP_ERROR")
    yield Case("forbidden", {PATH: Reply(403)}, "HTTP_ERROR")
    yield Case("no-content", {PATH: Reply(204)}, "HTTP_ERROR")
    yield Case("partial", {PATH: Reply(206, body=PICTURE)}, "HTTP_ERROR")
    yield Case("always-503", {PATH: Reply(503)}, "HTTP_ERROR", 3, attempts=3)
    yield Case("rest-for-a-day", {PATH: Reply(503, headers=(("Retry-After", "86400"),))}, "HTTP_ERROR")
    yield Case("redirect-loop", {PATH: redirect(PATH)}, "HTTP_ERROR", 4)
    yield Case("redirect-ping", {PATH: redirect("http://redirect-pong.test/pic.png")}, "HTTP_ERROR", 2)
    yield Case("redirect-pong", {PATH: redirect("http://redirect-ping.test/pic.png")}, "HTTP_ERROR", 4)
    yield Case("redirect-nowhere", {PATH: Reply(302)}, "HTTP_ERROR")
    yield Case(
        "huge-header", {PATH: Reply(body=PICTURE, headers=(("X-Much", "y" * 50_000),))}, "NETWORK_ERROR", 3, attempts=3
    )
    yield Case("many-headers", {PATH: Reply(body=PICTURE, headers=(("X-Much", "y" * 1000),) * 100)}, "HTTP_ERROR")
    yield Case("endless-header", {PATH: endless_header()}, "NETWORK_ERROR", 3, attempts=3)
    yield Case("no-http", {PATH: raw(b"220 mail.test ESMTP\r\n")}, "NETWORK_ERROR", 3, attempts=3)
    yield Case("hangs-up", {PATH: raw(b"")}, "NETWORK_ERROR", 6, attempts=3)
    yield Case("reset", {PATH: reset(Reply(length=5000).head() + PICTURE[:50])}, "NETWORK_ERROR", 3, attempts=3)
    yield Case("lying-length", _picture(length=100_000), "NETWORK_ERROR", 3, attempts=3)
    yield Case("early-end", {PATH: raw(Reply(length=300).head() + PICTURE)}, "NETWORK_ERROR", 3, attempts=3)
    yield Case(
        "broken-chunks",
        {PATH: raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx")},
        "NETWORK_ERROR",
        3,
        attempts=3,
    )
    yield Case("silent", {PATH: silent()}, "FETCH_TIMEOUT", 3, attempts=3)
    yield Case("drip", {PATH: drip(PICTURE)}, "FETCH_TIMEOUT", 3, attempts=3)
    yield Case("endless", {PATH: endless(PICTURE[:40])}, "BODY_TOO_LARGE")
    yield Case("announces-much", {PATH: Reply(body=PICTURE, length=10**12)}, "BODY_TOO_LARGE")
    yield Case(
        "html", {PATH: Reply(body=b"<html>no</html>", headers=(("Content-Type", "image/png"),))}, "NOT_A_PICTURE"
    )
    yield Case("endless-html", {PATH: endless(b"<html>")}, "NOT_A_PICTURE")
    yield Case("svg", {PATH: Reply(body=b'<svg xmlns="http://www.w3.org/2000/svg"/>')}, "NOT_A_PICTURE")
    bomb = gzip.compress(b"\x89PNG\r\n\x1a\n" + b"\0" * 50_000_000)
    yield Case("gzip-bomb", {PATH: Reply(body=bomb, headers=(("Content-Encoding", "gzip"),))}, "NOT_A_PICTURE")
    yield Case("empty", {PATH: Reply()}, "EMPTY_IMAGE")
    yield Case("tls-on-a-plain-port", _OK, "FETCH_TIMEOUT", 0, url="https://tls-on-a-plain-port.test/pic.png")
    yield Case("no-such-name", reason="NETWORK_ERROR", asked=0)
    yield Case("closed-port", reason="NETWORK_ERROR", asked=0)


#: Addresses that must never be connected to, as they may stand in a list.
REFUSED = {
    "file": "file:///etc/hostname",
    "data": "data:image/png;base64,iVBORw0KGgo=",
    "ftp": "ftp://plain.test/pic.png",
    "no-scheme": "plain.test/pic.png",
    "private": "http://10.0.0.1/pic.png",
    "metadata-service": "http://169.254.169.254/latest/meta-data/",
    "loopback-other": "http://127.0.0.2/pic.png",
    "decimal": "http://2130706433/pic.png",
    "hexadecimal": "http://0x7f.1/pic.png",
    "octal": "http://0177.0.0.1/pic.png",
    "full-width": "http://１０.0.0.1/pic.png",
    "mapped": "http://[::ffff:127.0.0.1]/pic.png",
    "v6-loopback": "http://[::1]/pic.png",
    "nat64": "http://[64:ff9b::7f00:1]/pic.png",
    "six-to-four": "http://[2002:7f00:1::]/pic.png",
    "credentials": "http://user:secret@plain.test/pic.png",
    "other-port": "http://plain.test:22/pic.png",
    "backslash": "http://plain.test\\@10.0.0.1/pic.png",
    "control": "http://plain.test/\r\nX-Injected: 1",
    "inside-name": "http://inside.test/pic.png",
    "no-host": "http:///pic.png",
    "nothing": "",
}


def refused() -> Iterator[Case]:
    """Addresses of the list itself, and redirects to each of them."""
    for name, url in REFUSED.items():
        yield Case(f"list-{name}", url=url, reason="URL_REFUSED", asked=0)
    for name in (
        "file",
        "private",
        "metadata-service",
        "decimal",
        "mapped",
        "v6-loopback",
        "credentials",
        "inside-name",
    ):
        yield Case(f"to-{name}", {PATH: redirect(REFUSED[name])}, "URL_REFUSED")


def with_pages() -> Iterator[Case]:
    """Pages that show a picture, read where the recipe asks for it."""

    def page(name: str, html: str, reason: str | None, **more: object) -> Case:
        routes = {**_OK, "/page": Reply(body=html.encode(), headers=(("Content-Type", "text/html"),), **more)}
        return Case(name, routes, reason, 0 if reason else 1, page=f"http://{name}.test/page")

    yield page("page-plain", "<html><title>x</title></html>", None)
    yield page("page-noai", '<meta name="robots" content="noai, noimageai">', _NO)
    yield page("page-tdm", '<meta name="tdm-reservation" content="1">', _NO)
    yield page("page-404", "", None, status=404)
    yield page("page-500", "", _UNREAD, status=500)
    html = '<link rel="license" type="application/rsl+xml" href="/license.xml">'
    rsl = page("page-rsl", html, _NO)
    yield Case(rsl.name, {**rsl.routes, "/license.xml": Reply(body=_RSL_NO)}, _NO, 0, page=rsl.page)
    barred = page("page-barred", '<meta name="robots" content="all">', _UNREAD)
    yield Case(
        barred.name, {**barred.routes, **_robots("User-agent: *\nDisallow: /page\n")}, _UNREAD, 0, page=barred.page
    )


CASES = [*known_beforehand(), *permitted(), *told_by_the_answer(), *failing(), *refused()]
PAGES = [*with_pages()]
