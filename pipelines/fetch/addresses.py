"""Which addresses may be connected to: public ones only, whatever a list, a redirect or a DNS answer says.

An address is checked three times: as text before anything else, in every DNS answer, and once more where
the socket for it is made. The socket is made for the checked address itself, so a name that changes its
answer between check and use (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from types import MappingProxyType
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

#: Most characters of an address that is requested.
MAX_URL = 8192

#: IPv4 blocks of the IANA special-purpose registry (RFC 6890 and its successors) and multicast (RFC 5771).
_REFUSED_V4 = tuple(
    (IPv4Network(block), name)
    for block, name in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)

#: Global unicast (RFC 4291 §2.4): the only IPv6 block that hosts live in; all else is refused.
_GLOBAL_V6 = IPv6Network("2000::/3")

#: Blocks of it that are no plain hosts (IANA special-purpose registry).
_REFUSED_V6 = tuple(
    (IPv6Network(block), name)
    for block, name in (
        ("2001::/23", "protocol assignments (Teredo, ORCHID, benchmarking)"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
    )
)

#: The well-known prefix of NAT64 (RFC 6052 §2.1): its last 32 bits are the IPv4 address that is meant.
_NAT64 = IPv6Network("64:ff9b::/96")

#: A last label from which on a host counts as an IPv4 address in an odd form (WHATWG URL §3.5).
_NUMBER = re.compile(r"(?:\d+|0x[0-9a-f]*)\Z")

_NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")

#: Threads for DNS look-ups of one loop: a slow name server must not hold up the names of others.
_LOOKUPS = 64


class Refused(OSError):
    """An address that Assay does not connect to; the message says why."""

    def __init__(self, why: str) -> None:
        super().__init__(errno.EACCES, why)
        self.why = why

    def __str__(self) -> str:
        return self.why


@dataclass(frozen=True)
class Network:
    """The network as a fetcher sees it. Production code uses the default, which has no exceptions.

    `hosts` maps names to (address, port); where it is not empty, no other name exists. `allowed` names
    addresses that may be connected to although they are not public, at any port. Both exist for tests with
    servers of their own on 127.0.0.1; no recipe, environment variable or command can set them.
    """

    hosts: Mapping[str, tuple[str, int]] = field(default_factory=lambda: MappingProxyType({}))
    allowed: frozenset[str] = frozenset()

    def __reduce__(self) -> tuple[Any, ...]:
        return Network, (dict(self.hosts), self.allowed)

    def check(self, address: str) -> None:
        """Raise `Refused` unless `address`, an IP address as text, may be connected to."""
        if address in self.allowed:
            return
        why = why_refused(address)
        if why:
            raise Refused(f"{address} is no public address ({why})")

    def socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Make the socket for an address of `getaddrinfo`'s form: the last check before a connection."""
        family, kind, protocol, _, where = info
        self.check(str(where[0]))
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made


def why_refused(address: str) -> str | None:
    """Return why `address` may not be connected to, None for a public one. Odd forms are no addresses."""
    try:
        found = ip_address(address)
    except ValueError:
        return "not an IP address"
    if isinstance(found, IPv6Address):
        if found in _NAT64:
            return why_refused(str(IPv4Address(int(found) & 0xFFFFFFFF)))
        if found.scope_id or found not in _GLOBAL_V6:
            return "not global unicast"
        return next((name for block, name in _REFUSED_V6 if found in block), None)
    return next((name for block, name in _REFUSED_V4 if found in block), None)


def checked_url(text: str, network: Network, ports: frozenset[int]) -> URL:
    """Return the URL that `text` names, ready to be requested, without its fragment.

    Raises `Refused` for everything but a plain http or https URL with a host name or public IP address, no
    credentials, and a port of `ports`.
    """
    if len(text) > MAX_URL:
        raise Refused(f"longer than {MAX_URL} characters")
    text = text.strip(" \t\r\n")
    if any(c < "!" or c in '\\\x7f"<>' for c in text.replace(" ", "")):
        raise Refused("has control characters, quotes or a backslash")
    if not text.lower().startswith(("http://", "https://")):
        raise Refused("not an http or https address")
    try:
        url = URL(text).with_fragment(None)
        host, port, secret = url.raw_host, url.port, url.raw_user or url.raw_password
    except (ValueError, TypeError, UnicodeError) as error:
        raise Refused(f"not a URL ({type(error).__name__})") from None
    if not host:
        raise Refused("has no host")
    if secret is not None or "@" in (url.raw_authority or ""):
        raise Refused("holds a user name or password")
    literal = _check_host(host, network)
    if port not in ports and not (literal and host in network.allowed):
        raise Refused(f"port {port} is not one of {', '.join(map(str, sorted(ports)))} (fetch.ports)")
    if len(str(url)) > 4 * MAX_URL:
        raise Refused(f"longer than {4 * MAX_URL} characters once escaped")
    return url


def _check_host(host: str, network: Network) -> bool:
    """Check a host as yarl gives it (lower case, IDNA); tell whether it is an IP address."""
    if ":" in host:
        network.check(host)
        return True
    name = host.removesuffix(".")
    if _NUMBER.match(name.rpartition(".")[2]):
        try:
            IPv4Address(host)
        except ValueError:
            raise Refused(f"{host[:60]} is an unusual way to write an IP address") from None
        network.check(host)
        return True
    if len(name) > 253 or not _NAME.match(name):
        raise Refused(f"{host[:60]!r} is no host name")
    return False


class VettingResolver(AbstractResolver):
    """DNS whose answers are checked: one refused address in an answer refuses the whole name."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._threads = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="assay-dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host`. Raises `Refused`, or OSError where there are none."""
        if self._network.hosts:
            mapped = self._network.hosts.get(host)
            if mapped is None:
                raise OSError(errno.EHOSTUNREACH, f"{host} is no name of the test network")
            answers = [(socket.AF_INET6 if ":" in mapped[0] else socket.AF_INET, mapped[0], mapped[1])]
        else:
            loop = asyncio.get_running_loop()
            infos = await loop.run_in_executor(self._threads, _look_up, host, port, family)
            answers = [(info[0], str(info[4][0]), port) for info in infos]
        for _, address, _ in answers:
            self._network.check(address)
        if not answers:
            raise OSError(errno.EHOSTUNREACH, f"{host} has no address")
        return [
            ResolveResult(hostname=host, host=address, port=where, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for kind, address, where in answers
        ]

    async def close(self) -> None:
        """Let go of the threads; look-ups that hang end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[tuple[Any, ...]]:
    try:
        return list(socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM))
    except UnicodeError:
        raise OSError(errno.EINVAL, f"{host[:60]!r} is no host name") from None
