"""A sample's identity, which stays the same across runs, shards and machines."""

from __future__ import annotations

import hashlib
import re
from ipaddress import IPv6Address
from urllib.parse import urlsplit, urlunsplit

#: Ports that a URL need not name.
_DEFAULT_PORTS = {"http": 80, "https": 443}
_BRACKETS = re.compile(r"(?:[^\[\]]*@)?\[([^\[\]]*)\](?::[0-9]*)?")


def canonical_url(url: str) -> str:
    """Return `url` with lower-case scheme and host, no default port and no fragment.

    The syntax-based normalisation of RFC 3986 §6.2.2 that is safe for identity: path and query are kept
    as they are. A string that is no URL comes back unchanged.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        return url
    if not parts.scheme or not parts.hostname or _odd_brackets(parts.netloc):
        return url
    host = parts.hostname
    if ":" in host:
        host = f"[{host}]"
    if port is not None and port != _DEFAULT_PORTS.get(parts.scheme.lower()):
        host = f"{host}:{port}"
    return urlunsplit((parts.scheme.lower(), host, parts.path or "/", parts.query, ""))


def _odd_brackets(netloc: str) -> bool:
    """Tell whether there are brackets around no IPv6 address: versions of Python differ in which of them they take."""
    if "[" not in netloc and "]" not in netloc:
        return False
    found = _BRACKETS.fullmatch(netloc)
    try:
        return found is None or not IPv6Address(found[1])
    except ValueError:
        return True


def sample_uid(image_sha256: bytes, caption: str, url: str | None) -> str:
    """Return the sample's uid: 32 hex digits, BLAKE2b-128 over picture, caption and canonical URL.

    Each field is preceded by its length (eight bytes), so that no two different triples collide by
    moving characters from one field to the next.
    """
    digest = hashlib.blake2b(digest_size=16, person=b"assay-uid-1")
    for field in (image_sha256, caption.encode("utf-8", "surrogatepass"), canonical_url(url or "").encode()):
        digest.update(len(field).to_bytes(8, "big"))
        digest.update(field)
    return digest.hexdigest()
