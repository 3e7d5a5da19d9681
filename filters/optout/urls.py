"""Keys by which addresses are compared: URL, path prefix, domain and its parents.

A key names no scheme for http and https: an opt-out made for one of them counts for the other. Otherwise the
normalisation is the syntax-based one of RFC 3986 §6.2.2, with host names by UTS #46 (IDNA 2008).
"""

from __future__ import annotations

import re
import socket
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

import idna

from filters.errors import BadInput
from filters.identity import canonical_url

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

#: Most path segments, and most query parameters, by which a prefix entry may be long. Samples are looked up
#: under so many prefixes, so that no longer entry could ever match.
MAX_SEGMENTS = 64

#: Longest key of an entry in characters.
MAX_KEY = 65_536
#: Longest host name (RFC 1035 §2.3.4); longer ones cannot be reached. Before it is normalised it may be longer.
_MAX_HOST = 253
_MAX_RAW_HOST = 1_000

#: What browsers take out of an address before they read it (WHATWG URL §4.4).
_IGNORED = str.maketrans("", "", "\t\r\n")
_NO_SCHEME = re.compile(r"[^\s/?#:@]+\.[^\s/?#:@.]{2,63}\.?(?::\d{1,5})?(?:[/?#]|\Z)")
#: Most addresses: nothing in them needs another spelling. (No port, escape, dot segment or backslash.)
_USUAL = re.compile(
    r"https?://((?:[a-z0-9_-]+\.)+[a-z][a-z0-9-]*)((?:/(?!\.)[A-Za-z0-9:@!$&'()*+,;=~._|^-]*)+)"
    r"(\?[A-Za-z0-9/?:@!$&'()*+,;=~._|^-]+)?\Z"
)
_SAFE_HOST = re.compile(r"[a-z0-9._-]+")
_IMPOSSIBLE = re.compile(r"[\s/?#@:\[\]\\%\x00-\x20\x7f\ud800-\udfff]")
_NUMBERS = re.compile(r"(?:.*\.)?(?:0x[0-9a-f]*|\d+)")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_PLAIN = re.compile(r"[A-Za-z0-9/?:@!$&'()*+,;=~._\[\]|^-]*")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@dataclass(frozen=True)
class Address:
    """One address taken apart: canonical host, and `key` = host, port, path and query (no scheme for http/https)."""

    host: str
    key: str


def read_address(url: str) -> Address | None:
    """Return the address, None where the text names no host. Never raises."""
    usual = _USUAL.match(url)
    if usual and len(usual[1]) <= _MAX_HOST:
        return Address(usual[1], usual[1] + usual[2] + (usual[3] or ""))
    text = url.strip().translate(_IGNORED)
    if "\\" in text:
        head, mark, query = text.partition("?")
        text = head.replace("\\", "/") + mark + query
    if text.startswith("//"):
        text = "http:" + text
    elif "://" not in text.partition("?")[0] and _NO_SCHEME.match(text):
        text = "http://" + text
    try:
        parts = urlsplit(canonical_url(text))
        name = parts.hostname
    except ValueError:
        return None
    host = canonical_host(name) if name else None
    if host is None:
        return None
    try:
        port = parts.port
    except ValueError:  # no number, or above 65535: no such place, but its host still counts
        port = None
    place = host if port is None else f"{host}:{port}"
    if parts.scheme not in ("http", "https"):
        place = f"{parts.scheme}://{place}"
    query = f"?{_canonical(parts.query)}" if parts.query else ""
    return Address(host, place + _without_dots(_canonical(parts.path or "/")) + query)


def canonical_host(name: str) -> str | None:
    """Return a host name in lower case, punycode and without a trailing dot; IP addresses in their usual form."""
    host = name.strip().strip("[]")
    if len(host) > _MAX_RAW_HOST:
        return None
    if ":" in host:
        try:
            return f"[{IPv6Address(host.partition('%')[0]).compressed}]"
        except AddressValueError:
            return None
    host = (unquote(host) if "%" in host else host).lower()
    if not _SAFE_HOST.fullmatch(host):
        host = _ascii_host(host)
    host = host.rstrip(".")
    if _NUMBERS.fullmatch(host):
        try:  # also 127.1 and 0x7f000001, as browsers do
            return socket.inet_ntoa(socket.inet_aton(host))
        except OSError:
            return None
    return host if 0 < len(host) <= _MAX_HOST else None


def _ascii_host(host: str) -> str:
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except UnicodeError:
        # No valid name by IDNA 2008, and yet browsers find some such hosts (☃.net is xn--n3h.net).
        plain = unicodedata.normalize("NFKC", host).casefold().replace("。", ".")
        if _IMPOSSIBLE.search(plain):
            return ""
        labels = [f"xn--{punycode(label)}" if not label.isascii() else label for label in plain.split(".")]
        return ".".join(labels)


def punycode(label: str) -> str:
    """Return a label in punycode (RFC 3492), without its prefix."""
    return label.encode("punycode").decode("ascii")


def _canonical(text: str) -> str:
    """Return path or query with every escape in its one canonical form (RFC 3986 §6.2.2.1 and §6.2.2.2)."""
    if _PLAIN.fullmatch(text):
        return text
    escaped = quote(text.encode("utf-8", "replace"), safe="/?:@!$&'()*+,;=~-._[]|^%")
    return _ESCAPE.sub(_unescape, escaped)


def _unescape(found: re.Match[str]) -> str:
    character = chr(int(found[0][1:], 16))
    return character if character in _UNRESERVED else found[0].upper()


def _without_dots(path: str) -> str:
    """Remove `.` and `..` segments (RFC 3986 §5.2.4)."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def prefix_keys(key: str) -> list[str]:
    """Return the keys of all prefixes of an address's key that end on a boundary of path or query, shortest first.

    At most 130: no entry is longer than `MAX_SEGMENTS` or `MAX_KEY`.
    """
    start = key.find("://") + 3 if "://" in key else 0
    path, _, query = key.partition("?")
    keys: list[str] = []
    at = path.find("/", start)
    while 0 <= at <= MAX_KEY and len(keys) < MAX_SEGMENTS:
        if path[at - 1] != "/":
            keys.append(path[:at])
        at = path.find("/", at + 1)
    if not path.endswith("/") and len(path) <= MAX_KEY:
        keys.append(path)
    base = len(path) + 1
    at = query.find("&")
    for _ in range(MAX_SEGMENTS):
        if not 0 <= at <= MAX_KEY - base:
            break
        keys.append(f"{path}?{query[:at]}")
        at = query.find("&", at + 1)
    if query and base + len(query) <= MAX_KEY:
        keys.append(f"{path}?{query}")
    return keys


def domain_keys(host: str) -> list[str]:
    """Return a canonical host and its parent domains of two labels or more; an IP address has no parents."""
    if host.startswith("[") or host.rpartition(".")[2].isdigit():
        return [host]
    keys = [host]
    while host.count(".") > 1:
        host = host.partition(".")[2]
        keys.append(host)
    return keys


def url_entry(value: str) -> str:
    """Return the key of a `url` entry. Raises `BadInput`."""
    return _entry_address(value).key


def prefix_entry(value: str) -> str:
    """Return the key of a `url_prefix` entry; a trailing `*` and slashes say nothing more. Raises `BadInput`."""
    text = value.strip()
    key = _entry_address(text[:-1] if text.endswith("*") else text).key
    path, mark, query = key.partition("?")
    if mark:
        if query.count("&") >= MAX_SEGMENTS:
            raise BadInput(f"{_shown(value)}: more than {MAX_SEGMENTS} query parameters")
        return key.rstrip("&")
    path = path.rstrip("/")
    if path.count("/") >= MAX_SEGMENTS:
        raise BadInput(f"{_shown(value)}: more than {MAX_SEGMENTS} path segments")
    return path


def refuse_wildcards(value: str, prefix: bool) -> None:
    """Refuse a `*` that reads as a wildcard and is none: such an entry would never match. Raises `BadInput`.

    A prefix may end with one behind a slash (or `?`, `&`), where it says nothing more. In the path of one address it
    is a character like any other. New entries are asked, keys are not: what is in a registry must stay readable.
    """
    if prefix:
        text = value.strip()
        text = text[:-1] if text.endswith(("/*", "?*", "&*")) else text
        if "*" in text:
            raise BadInput(
                f"{_shown(value)}: * is no wildcard here, and such a prefix would match nothing; "
                "name a folder (https://host/path/) or a domain"
            )
        return
    address = read_address(value)
    if address is not None and "*" in address.host:
        raise BadInput(f"{_shown(value)}: * is no wildcard here; for a host with all below it name its domain")


def _entry_address(value: str) -> Address:
    address = read_address(value)
    if address is None or "://" in address.key:
        raise BadInput(f"{_shown(value)}: no http or https address; write it as https://host/path")
    if "." not in address.host and not address.host.startswith("["):
        raise BadInput(f"{_shown(value)}: {address.host} is no public host name")
    return address


def domain_entry(value: str) -> str:
    """Return the key of a `domain` entry: `example.org`, also written `*.example.org` or `https://example.org/`.

    Raises `BadInput` for a bare public suffix (`com`, `co.uk`, `localhost`; the ICANN part of the Public Suffix
    List): it has no one owner. A suffix of the list's private part (`github.io`) has one, and may opt out.
    """
    text = value.strip()
    text = text[2:] if text.startswith("*.") else text.removeprefix(".")
    address = read_address(text if "://" in text else f"http://{text}" + ("" if "/" in text else "/"))
    if address is None or not address.key.startswith(address.host):
        raise BadInput(f"{_shown(value)}: no domain name; write it as example.org")
    host = address.host
    if address.key != f"{host}/":
        raise BadInput(f"{_shown(value)}: a domain has no port or path; use url_prefix for part of a site")
    if "*" in host or not all(0 < len(label) <= 63 for label in host.strip("[]").split(".")):
        raise BadInput(f"{_shown(value)}: no domain name; write it as example.org")
    is_address = host.startswith("[") or host.rpartition(".")[2].isdigit()
    if not is_address and (not _SAFE_HOST.fullmatch(host) or public_suffixes().is_public(host)):
        raise BadInput(f"{_shown(value)}: {host} is a public suffix or under none; name the domain of one owner")
    return host


@lru_cache(maxsize=1)
def public_suffixes() -> PublicSuffixList:
    """Return the ICANN part of the Public Suffix List, as the package of that name brings it."""
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList(only_icann=True)


def _shown(value: str) -> str:
    return repr(value if len(value) <= 200 else value[:200] + "…")
