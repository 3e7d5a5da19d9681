"""The registry's entries: what is opted out (or granted), by whom, since when; chained by SHA-256."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from enum import Enum
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _text
from types import MappingProxyType
from typing import Any

import numpy as np

from filters.errors import BadInput
from filters.iso_time import read_time
from filters.optout.names import name_entry
from filters.optout.urls import domain_entry, prefix_entry, refuse_wildcards, url_entry

#: Longest value (an embedding of 4,096 dimensions fits), longest other text, most aliases.
MAX_VALUE = 65_536
MAX_TEXT = 4_000
MAX_ALIASES = 100

#: Version of the entry's JSON; part of what is hashed.
FORMAT = 1


class Kind(str, Enum):
    """What an entry names."""

    URL = "url"
    URL_PREFIX = "url_prefix"
    DOMAIN = "domain"
    CREATOR = "creator"
    SHA256 = "sha256"
    PDQ = "pdq"
    EMBEDDING = "embedding"
    GRANT = "grant"


@dataclass(frozen=True)
class Draft:
    """One entry before it is in a registry.

    `value` by kind: an address; a domain; a name (others in `aliases`); 64 hex digits; one PDQ hash of 64 hex
    digits or all eight of the picture's flips and turns with commas between; `embedding_value`;
    `filters.optout.grants.sign_grant`. `requester`, `basis` (law, contract, form) and `note` are free text.
    """

    kind: Kind
    value: str
    aliases: tuple[str, ...] = ()
    requester: str = ""
    basis: str = ""
    note: str = ""


@dataclass(frozen=True)
class Entry:
    """One entry of a registry. `keys` are what samples are compared by, each as `kind:key`.

    `hash` is the SHA-256 over the canonical JSON of all other fields, `previous` (the hash of the entry before)
    included; both have 64 hex digits. `created_at` is in UTC, to the millisecond.
    """

    seq: int
    kind: Kind
    value: str
    keys: tuple[str, ...]
    aliases: tuple[str, ...]
    requester: str
    basis: str
    note: str
    created_at: datetime
    previous: str
    hash: str


def make_entry(draft: Draft, seq: int, previous: str, created_at: datetime) -> Entry:
    """Check and normalise a draft, and chain it behind the hash `previous`. Raises `BadInput`."""
    check_texts(draft)
    keys = entry_keys(draft)
    at, text = _moment(created_at)
    own = chain_hash(seq, draft, keys, text, previous)
    return Entry(
        seq,
        draft.kind,
        draft.value,
        keys,
        draft.aliases,
        draft.requester,
        draft.basis,
        draft.note,
        at,
        previous,
        own,
    )


@lru_cache(maxsize=8)
def _moment(at: datetime) -> tuple[datetime, str]:
    """Return a time in UTC to the millisecond, and as text. One call appends many entries at one time."""
    utc = at.astimezone(timezone.utc)
    utc = utc.replace(microsecond=utc.microsecond // 1000 * 1000)
    return utc, stamp(utc)


def chain_hash(seq: int, draft: Draft | Entry, keys: tuple[str, ...], created_at: str, previous: str) -> str:
    """Return the SHA-256 over the entry's canonical JSON (sorted keys, no spaces, ASCII), 64 hex digits."""
    return hashlib.sha256(canonical_json(seq, draft, keys, created_at, previous)).hexdigest()


def canonical_json(seq: int, draft: Draft | Entry, keys: tuple[str, ...], created_at: str, previous: str) -> bytes:
    """Return what is hashed: `json.dumps(…, sort_keys=True, separators=(",", ":"))` at a tenth of its time."""
    return (
        f'{{"aliases":{_texts(draft.aliases)},"basis":{_text(draft.basis)},"created_at":{_text(created_at)},'
        f'"format":{FORMAT},"keys":{_texts(keys)},"kind":{_text(draft.kind.value)},"note":{_text(draft.note)},'
        f'"previous":{_text(previous)},"requester":{_text(draft.requester)},"seq":{seq:d},'
        f'"value":{_text(draft.value)}}}'
    ).encode("ascii")


def _texts(values: tuple[str, ...]) -> str:
    return f"[{','.join(map(_text, values))}]"


def true_hash(entry: Entry) -> str:
    """Return the hash that the entry's fields give; `entry.hash` is only what it claims."""
    return chain_hash(entry.seq, entry, entry.keys, stamp(entry.created_at), entry.previous)


def entry_body(entry: Entry) -> dict[str, Any]:
    """Return an entry's fields for JSON."""
    return {**asdict(entry), "kind": entry.kind.value, "created_at": stamp(entry.created_at)}


def stamp(at: datetime) -> str:
    """Return a time as text: UTC, milliseconds, `Z`."""
    return f"{at.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def read_stamp(text: str) -> datetime:
    """Return the time of a text that `stamp` gave. Raises `BadInput`."""
    try:
        at = read_time(text)
    except ValueError:
        raise BadInput(f"{text[:50]!r}: no time; write it as 2026-01-31T12:00:00Z") from None
    return (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)


def check_texts(draft: Draft) -> None:
    """Refuse texts that are too long or hold control characters, and wildcards that are none. Raises `BadInput`."""
    if draft.aliases and draft.kind is not Kind.CREATOR:
        raise BadInput(f"only a creator has aliases, not a {draft.kind.value}")
    if len(draft.aliases) > MAX_ALIASES:
        raise BadInput(f"{len(draft.aliases)} aliases, at most {MAX_ALIASES} are taken")
    if any("|" in alias for alias in draft.aliases):
        raise BadInput("an alias has no | in it: CSV files separate aliases by it")
    if not draft.value.strip():
        raise BadInput("no value")
    _check_text(draft.value)
    for text in (draft.requester, draft.basis, *draft.aliases):
        _check_text(text, MAX_TEXT)
    _check_text(draft.note, MAX_TEXT, "\n\t")
    if draft.kind in (Kind.URL, Kind.URL_PREFIX) and "*" in draft.value:
        refuse_wildcards(draft.value, draft.kind is Kind.URL_PREFIX)


def _check_text(text: str, limit: int = MAX_VALUE, allowed: str = "") -> None:
    if len(text) > limit:
        raise BadInput(f"too long: a text has at most {limit} characters")
    if text.isprintable():
        return
    for character in text:
        code = ord(character)
        if (code < 32 and character not in allowed) or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000:
            raise BadInput(f"control character U+{code:04X} in a text")


def entry_keys(draft: Draft) -> tuple[str, ...]:
    """Return the keys of a draft, each as `kind:key`. Raises `BadInput`."""
    if draft.kind is Kind.GRANT:
        from filters.optout.grants import parse_grant

        return parse_grant(draft.value).covers
    if draft.kind is Kind.CREATOR:
        return tuple(dict.fromkeys(f"creator:{name_entry(name)}" for name in (draft.value, *draft.aliases)))
    if draft.kind is Kind.PDQ:
        return tuple(f"pdq:{code}" for code in _pdq_codes(draft.value))
    return (f"{draft.kind.value}:{_KEY_OF[draft.kind](draft.value)}",)


def _sha256_key(value: str) -> str:
    return _hex(value, "SHA-256").hex()


def _hex(value: str, what: str) -> bytes:
    text = value.strip()
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(text) != 64 or len(found) != 32:
        raise BadInput(f"{value[:80]!r}: no {what}; it has 64 hex digits")
    return found


def _pdq_codes(value: str) -> list[str]:
    from filters.optout.look_alike import dihedral

    codes = [_hex(part, "PDQ hash") for part in value.split(",")]
    if len(codes) == 1:
        codes = dihedral(codes[0])
    elif len(codes) != 8:
        raise BadInput(f"{len(codes)} PDQ hashes: give one, or all eight of the picture's flips and turns")
    return [code.hex() for code in dict.fromkeys(codes)]


def embedding_value(model_id: str, vector: np.ndarray) -> str:
    """Return the value of an `embedding` entry: the encoder's model id and the unit vector (n,) in half precision."""
    data = base64.b64encode(vector.astype("<f2").tobytes()).decode()
    return json.dumps({"encoder": model_id, "vector": data}, separators=(",", ":"), sort_keys=True)


def read_embedding(value: str) -> tuple[str, np.ndarray]:
    """Return model id and unit vector float32 (n,) of an `embedding` entry. Raises `BadInput`."""
    try:
        body = json.loads(value)
        encoder, data = body["encoder"], base64.b64decode(body["vector"], validate=True)
        vector = np.frombuffer(data, dtype="<f2").astype(np.float32)
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError):
        raise BadInput('no embedding; it is written {"encoder": MODEL_ID, "vector": base64 of float16}') from None
    if not isinstance(encoder, str) or not encoder or len(vector) == 0 or not np.isfinite(vector).all():
        raise BadInput("no embedding: the encoder has no name, or the vector holds no numbers")
    length = float(np.linalg.norm(vector))
    if not 0.9 < length < 1.1:
        raise BadInput(f"no embedding: the vector's length is {length:.3f}, not 1")
    return encoder, vector / np.float32(length)


def _embedding_key(value: str) -> str:
    encoder, vector = read_embedding(value)
    return hashlib.sha256(encoder.encode() + b"\0" + vector.tobytes()).hexdigest()


_KEY_OF: Mapping[Kind, Callable[[str], str]] = MappingProxyType(
    {
        Kind.URL: url_entry,
        Kind.URL_PREFIX: prefix_entry,
        Kind.DOMAIN: domain_entry,
        Kind.SHA256: _sha256_key,
        Kind.EMBEDDING: _embedding_key,
    }
)
