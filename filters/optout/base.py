"""The words of the opt-out reader: captured evidence in, signals out.

A channel is a pure function of what was captured. It never opens a connection, never raises for what the
evidence contains (every byte of it is hostile), and never turns what it cannot read into an `allow`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Protocol

#: Most characters of a signal's raw text that are kept; the whole stands in the evidence, by its hash.
MAX_RAW = 2000

#: The channel whose signals say that a generative model made the picture.
SYNTHETIC_CHANNEL = "iptc:digital-source"


class Verdict(str, Enum):
    """What one signal, or all together, say about training a generative model on the picture."""

    DENY = "deny"
    ALLOW = "allow"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Signal:
    """One rights statement on one channel.

    `raw` is the statement as it was written, `spec` the specification and version that gave the verdict,
    `source` the URL or the part of the file that held it, `evidence_sha256` the SHA-256 of the body (64 hex
    digits), `detail` one sentence for people. `unreadable` marks evidence that was there and could not be
    read: its verdict is `unknown`, and a recipe that fails closed treats it as a `deny`.
    """

    channel: str
    verdict: Verdict
    raw: str
    spec: str
    source: str
    detail: str
    evidence_sha256: str | None = None
    fetched_at: datetime | None = None
    unreadable: bool = False


class Fetched(str, Enum):
    """What came of asking a host for a policy document."""

    FOUND = "found"
    #: The host answered that there is none (4xx, RFC 9309 §2.3.1.3).
    ABSENT = "absent"
    #: No answer, a server error or a body that broke off (RFC 9309 §2.3.1.4): nothing may be assumed.
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Document:
    """One policy document as it was fetched: body (cut at the fetcher's limit), where from, when."""

    url: str
    body: bytes = b""
    state: Fetched = Fetched.FOUND
    fetched_at: datetime | None = None
    http_status: int | None = None

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of the body, 64 hex digits."""
        return sha256(self.body).hexdigest()


#: HTTP header fields in the order in which they came, repeats included; names in any case.
Headers = tuple[tuple[str, str], ...]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Evidence:
    """All that was captured about one picture; None or empty where nothing was captured.

    `url` is the picture's address after redirects (the one that the headers and the policy documents belong
    to), `page` the HTML page that shows it, `rsl` the RSL documents that were named by robots.txt, a header
    or the page. `metadata` is the record's own JSON, `creator`, `licence` and `caption` its fields.
    """

    url: str | None = None
    headers: Headers = ()
    fetched_at: datetime | None = None
    robots: Document | None = None
    tdmrep: Document | None = None
    ai_txt: Document | None = None
    rsl: tuple[Document, ...] = ()
    page: Document | None = None
    page_headers: Headers = ()
    image: bytes | None = None
    caption: str | None = None
    creator: str | None = None
    licence: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


class Channel(Protocol):
    """Reads one kind of statement. Settings (agent tokens, policy switches) are fields of a frozen dataclass."""

    @property
    def name(self) -> str:
        """Return the name under which its signals are stored, e.g. `robots.txt`."""
        ...

    @property
    def spec(self) -> str:
        """Return the specification and version that it implements."""
        ...

    def read(self, evidence: Evidence) -> list[Signal]:
        """Return the signals that the evidence holds, `allow` and `unknown` ones too; empty for none."""
        ...


def clipped(raw: str) -> str:
    """Return `raw` as it may be stored: at most `MAX_RAW` characters, no lone surrogates."""
    return raw[:MAX_RAW].encode("utf-8", "backslashreplace").decode()


def header_values(headers: Headers, name: str) -> list[str]:
    """Return the values of all fields of that name (case-insensitive, RFC 9110 §5.1), in order."""
    return [value for field_name, value in headers if field_name.lower() == name.lower()]


def strongest(verdicts: Iterable[Verdict]) -> Verdict:
    """Return `deny` where any verdict is, else `allow` where any is, else `unknown`."""
    found = set(verdicts)
    return next((v for v in (Verdict.DENY, Verdict.ALLOW) if v in found), Verdict.UNKNOWN)
