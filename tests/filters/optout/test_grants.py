"""A grant counts when a trusted key signed it, and reaches no further than what it names."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from filters.errors import BadInput
from filters.optout.entries import Kind
from filters.optout.grants import overrides, parse_grant, raw_key, sign_grant, verified

NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TRUSTED = {raw_key(KEY.public_key())}


def signed(covers=((Kind.DOMAIN, "Example.org"),), key=KEY, **more):
    settings = {"licensor": "Example", "licensee": "Us", "issued_at": NOW - timedelta(days=1), **more}
    return sign_grant(covers, key, **settings)


def test_a_grant_by_a_trusted_key_counts_and_by_any_other_not():
    grant = parse_grant(signed())
    assert grant.covers == ("domain:example.org",)
    assert verified(grant, TRUSTED, NOW)
    assert not verified(grant, set(), NOW)
    other = Ed25519PrivateKey.generate()
    assert not verified(parse_grant(signed(key=other)), TRUSTED, NOW)


@pytest.mark.parametrize("field", ["covers", "licensor", "licensee", "terms", "issued_at", "expires_at"])
def test_a_changed_grant_does_not_count(field):
    document = json.loads(signed())
    changed = {"covers": [["domain", "example.com"]], "expires_at": "2030-01-01T00:00:00.000Z"}
    changed |= {"issued_at": "2020-01-01T00:00:00.000Z"}
    document["grant"][field] = changed.get(field, "changed")
    assert not verified(parse_grant(json.dumps(document)), TRUSTED, NOW)


def test_a_signature_of_nothing_or_by_a_stated_key_of_another_does_not_count():
    document = json.loads(signed())
    for signature in ("", "AAAA"):
        assert not verified(parse_grant(json.dumps({**document, "signature": signature})), TRUSTED, NOW)
    forged = json.loads(signed(key=Ed25519PrivateKey.generate()))
    forged["public_key"] = document["public_key"]
    assert not verified(parse_grant(json.dumps(forged)), TRUSTED, NOW)


def test_a_grant_holds_from_its_issue_to_its_end():
    grant = parse_grant(signed(expires_at=NOW + timedelta(days=1)))
    assert verified(grant, TRUSTED, NOW)
    assert not verified(grant, TRUSTED, NOW + timedelta(days=1))
    assert not verified(grant, TRUSTED, NOW - timedelta(days=2))


@pytest.mark.parametrize(
    "more",
    [
        {"covers": []},
        {"covers": [(Kind.PDQ, "0" * 64)]},
        {"covers": [(Kind.DOMAIN, "co.uk")]},
        {"licensor": " "},
        {"licensee": ""},
        {"expires_at": NOW - timedelta(days=9)},
    ],
)
def test_a_grant_names_who_and_what(more):
    with pytest.raises(BadInput):
        signed(**more)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"grant": 1, "public_key": "", "signature": ""}', "[" * 30_000])
def test_what_is_no_grant_is_refused(text):
    with pytest.raises(BadInput):
        parse_grant(text)


@pytest.mark.parametrize(
    ("granted", "kind", "key", "expected"),
    [
        ("domain:example.org", Kind.DOMAIN, "domain:example.org", True),
        ("domain:art.example.org", Kind.DOMAIN, "domain:example.org", True),
        ("domain:example.org", Kind.DOMAIN, "domain:art.example.org", False),
        ("domain:example.org", Kind.DOMAIN, "domain:ample.org", False),
        ("domain:example.org", Kind.URL, "url:example.org/x", False),
        ("domain:example.org", Kind.URL_PREFIX, "url_prefix:example.org/x", False),
        ("domain:example.org", Kind.CREATOR, "creator:jane doe", False),
        ("url_prefix:example.org/a/b", Kind.URL_PREFIX, "url_prefix:example.org/a", True),
        ("url_prefix:example.org/a", Kind.URL_PREFIX, "url_prefix:example.org/a/b", False),
        ("url_prefix:example.org/ab", Kind.URL_PREFIX, "url_prefix:example.org/a", False),
        ("url_prefix:example.org:81/a", Kind.DOMAIN, "domain:example.org", True),
        ("url_prefix:cdn.net/a", Kind.DOMAIN, "domain:example.org", False),
        ("url:example.org/a", Kind.URL, "url:example.org/a", True),
        ("url:example.org/a", Kind.URL, "url:example.org/b", False),
        ("url:example.org/a", Kind.CREATOR, "creator:jane doe", True),
        ("url:example.org/a", Kind.SHA256, "sha256:" + "0" * 64, False),
        ("url:example.org/a", Kind.PDQ, "pdq:" + "0" * 64, False),
        ("creator:jane doe", Kind.CREATOR, "creator:jane doe", True),
        ("creator:jane doe", Kind.CREATOR, "creator:john roe", False),
        ("creator:jane doe", Kind.DOMAIN, "domain:example.org", False),
        ("sha256:" + "0" * 64, Kind.PDQ, "pdq:" + "1" * 64, True),
        ("sha256:" + "0" * 64, Kind.CREATOR, "creator:jane doe", True),
    ],
)
def test_a_grant_reaches_what_it_names_and_what_lies_around_it(granted, kind, key, expected):
    assert overrides(granted, kind, key) is expected
