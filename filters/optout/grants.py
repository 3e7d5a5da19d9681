"""Licence grants: the one thing that overrides an opt-out. Signed with Ed25519, by keys that the reader trusts.

A grant covers what it names and what lies inside of it, never more: a grant for a domain does not speak for an
artist whose work is shown there.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from filters.errors import BadInput
from filters.optout.entries import Draft, Kind, entry_keys, read_stamp, stamp
from filters.optout.urls import prefix_keys

#: What a grant may name.
COVERABLE = (Kind.URL, Kind.URL_PREFIX, Kind.DOMAIN, Kind.CREATOR, Kind.SHA256)

_FORMAT = "assay-grant-1"
_FIELDS = {"format", "covers", "licensor", "licensee", "terms", "issued_at", "expires_at"}


@dataclass(frozen=True)
class Grant:
    """A grant as its document states it; `verified` tells whether it counts.

    `covers` holds keys as `kind:key`, `public_key` is the signer's raw key (32 bytes), `payload` what was signed.
    """

    covers: tuple[str, ...]
    licensor: str
    licensee: str
    terms: str
    issued_at: datetime
    expires_at: datetime | None
    public_key: bytes
    signature: bytes
    payload: bytes


def raw_key(key: Ed25519PublicKey) -> bytes:
    """Return the 32 bytes by which a public key is trusted."""
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def sign_grant(
    covers: Iterable[tuple[Kind, str]],
    key: Ed25519PrivateKey,
    *,
    licensor: str,
    licensee: str,
    terms: str = "",
    issued_at: datetime | None = None,
    expires_at: datetime | None = None,
) -> str:
    """Return the value of a `grant` entry: the document and its signature as JSON. Raises `BadInput`."""
    issued = issued_at or datetime.now(timezone.utc)
    body: dict[str, Any] = {
        "format": _FORMAT,
        "covers": [[kind.value, value] for kind, value in covers],
        "licensor": licensor,
        "licensee": licensee,
        "terms": terms,
        "issued_at": stamp(issued),
        "expires_at": stamp(expires_at) if expires_at else None,
    }
    _read_body(body)
    signed = {
        "grant": body,
        "public_key": base64.b64encode(raw_key(key.public_key())).decode(),
        "signature": base64.b64encode(key.sign(_payload(body))).decode(),
    }
    return json.dumps(signed, sort_keys=True, separators=(",", ":"))


def parse_grant(value: str) -> Grant:
    """Read a grant's JSON; its signature is not judged here. Raises `BadInput`."""
    try:
        document = json.loads(value)
        body = document["grant"]
        public_key = base64.b64decode(document["public_key"], validate=True)
        signature = base64.b64decode(document["signature"], validate=True)
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError):
        raise BadInput("no grant; make one with assay optout grant") from None
    covers, issued, expires = _read_body(body)
    return Grant(
        covers,
        body["licensor"],
        body["licensee"],
        body["terms"],
        issued,
        expires,
        public_key,
        signature,
        _payload(body),
    )


def verified(grant: Grant, trusted: Collection[bytes], at: datetime) -> bool:
    """Tell whether a trusted key signed exactly this grant, and whether it holds at the time `at`."""
    if grant.public_key not in trusted:
        return False
    if at < grant.issued_at or (grant.expires_at is not None and at >= grant.expires_at):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(grant.public_key).verify(grant.signature, grant.payload)
    except (InvalidSignature, ValueError):
        return False
    return True


def overrides(granted: str, kind: Kind, key: str) -> bool:
    """Tell whether a grant that names `granted` (`kind:key`) overrides a denial of `kind` by `key` on a sample that
    both fit.

    One picture (`sha256`) overrides every denial of it; one address (`url`) those by creator; and an address, a
    prefix or a domain those by the same place or one around it; a creator those by the same name.
    """
    what, _, named = granted.partition(":")
    if what == Kind.SHA256.value:
        return True
    if kind is Kind.CREATOR:
        return what == Kind.URL.value or key == granted
    around = key.partition(":")[2]
    if kind is Kind.DOMAIN:
        return what in _PLACES and f".{_host(named)}".endswith(f".{around}")
    if kind is Kind.URL_PREFIX:
        return what in _PLACES[:2] and around in prefix_keys(named)
    return kind is Kind.URL and key == granted


_PLACES = (Kind.URL.value, Kind.URL_PREFIX.value, Kind.DOMAIN.value)


def _host(place: str) -> str:
    authority = place.partition("?")[0].partition("/")[0]
    return authority.partition("]")[0] + "]" if authority.startswith("[") else authority.partition(":")[0]


def _payload(body: object) -> bytes:
    return f"{_FORMAT}\n{json.dumps(body, sort_keys=True, separators=(',', ':'))}".encode()


def _read_body(body: object) -> tuple[tuple[str, ...], datetime, datetime | None]:
    if not isinstance(body, dict) or set(body) != _FIELDS or body["format"] != _FORMAT:
        raise BadInput(f"no grant of the form {_FORMAT}: it has the fields {', '.join(sorted(_FIELDS))}")
    texts = (body["licensor"], body["licensee"], body["terms"], body["issued_at"])
    if not all(isinstance(text, str) for text in texts) or not isinstance(body["expires_at"], str | None):
        raise BadInput("a grant's licensor, licensee, terms and times are texts")
    if not body["licensor"].strip() or not body["licensee"].strip():
        raise BadInput("a grant names who grants (licensor) and to whom (licensee)")
    issued = read_stamp(body["issued_at"])
    expires = read_stamp(body["expires_at"]) if body["expires_at"] else None
    if expires is not None and expires <= issued:
        raise BadInput("a grant expires after it was issued")
    return _covers(body["covers"]), issued, expires


def _covers(named: object) -> tuple[str, ...]:
    if not isinstance(named, list) or not named:
        raise BadInput("a grant names at least one url, url_prefix, domain, creator or sha256")
    keys: list[str] = []
    for pair in named:
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            raise BadInput("a grant covers pairs of kind and value")
        if pair[0] not in (kind.value for kind in COVERABLE):
            raise BadInput(f"a grant cannot name a {pair[0][:40]!r}; it names {', '.join(k.value for k in COVERABLE)}")
        keys += entry_keys(Draft(Kind(pair[0]), pair[1]))
    return tuple(dict.fromkeys(keys))
