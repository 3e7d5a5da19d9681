"""An entry's hash covers all of it, and what is no entry is refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from filters.errors import BadInput
from filters.optout.entries import (
    Draft,
    Kind,
    canonical_json,
    embedding_value,
    entry_body,
    make_entry,
    read_embedding,
    read_stamp,
    stamp,
    true_hash,
)
from filters.optout.grants import sign_grant

AT = datetime(2026, 11, 21, 12, 0, 0, 123_456, tzinfo=timezone.utc)
ZERO = "0" * 64


def entry(kind=Kind.DOMAIN, value="example.org", **more):
    return make_entry(Draft(kind, value, **more), 1, ZERO, AT)


def test_the_hash_is_that_of_the_documented_json():
    made = entry(Kind.CREATOR, "Doë, Jane", aliases=("J. D.",), requester="Jane", basis="Art. 4 CDSM", note="a\nb")
    body = {
        **{"seq": 1, "kind": "creator", "value": "Doë, Jane", "keys": ["creator:jane doe", "creator:j d"]},
        **{"aliases": ["J. D."], "requester": "Jane", "basis": "Art. 4 CDSM", "note": "a\nb"},
        **{"created_at": "2026-11-21T12:00:00.123Z", "previous": ZERO, "format": 1},
    }
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    assert made.hash == hashlib.sha256(text.encode()).hexdigest() == true_hash(made)
    assert json.loads(json.dumps(entry_body(made)))["keys"] == ["creator:jane doe", "creator:j d"]


@given(st.lists(st.text(max_size=20), min_size=5, max_size=5))
def test_the_quick_json_is_that_of_the_json_module(texts):
    draft = Draft(Kind.CREATOR, texts[0], (texts[1],), texts[2], texts[3], texts[4])
    body = {
        **{"seq": 7, "kind": "creator", "value": texts[0], "keys": ["k"], "aliases": [texts[1]], "format": 1},
        **{"requester": texts[2], "basis": texts[3], "note": texts[4], "created_at": "t", "previous": "p"},
    }
    quick = canonical_json(7, draft, ("k",), "t", "p")
    assert quick == json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "change",
    [
        *({"seq": 2}, {"value": "example.com"}, {"keys": ("domain:x",)}, {"aliases": ("x",)}, {"requester": "x"}),
        *({"basis": "x"}, {"note": "x"}, {"previous": "1" * 64}, {"kind": Kind.URL}),
        {"created_at": AT + timedelta(seconds=1)},
    ],
)
def test_every_field_changes_the_hash(change):
    made = entry()
    assert true_hash(replace(made, **change)) != made.hash


def test_times_are_kept_in_utc_to_the_millisecond():
    made = make_entry(Draft(Kind.DOMAIN, "example.org"), 1, ZERO, AT.astimezone(timezone(timedelta(hours=9))))
    assert stamp(made.created_at) == "2026-11-21T12:00:00.123Z"
    assert read_stamp("2026-11-21T12:00:00.123Z") == made.created_at
    with pytest.raises(BadInput):
        read_stamp("yesterday")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Kind.SHA256, "ab"),
        (Kind.SHA256, "g" * 64),
        (Kind.SHA256, "a b" * 22),
        (Kind.PDQ, "0" * 63),
        (Kind.PDQ, ",".join(["0" * 64] * 3)),
        (Kind.EMBEDDING, "{}"),
        (Kind.EMBEDDING, "[" * 50_000),
        (Kind.GRANT, "{}"),
        (Kind.CREATOR, "!!!"),
        (Kind.CREATOR, "Jane\x00Doe"),
        (Kind.CREATOR, "Jane \ud800"),
        (Kind.CREATOR, "Jane\nDoe"),
        (Kind.CREATOR, "Jane \x9b2J"),
        (Kind.DOMAIN, " "),
        (Kind.URL, "https://example.org/" + "a" * 70_000),
        (Kind.URL, "https://*.example.org/a.jpg"),
        (Kind.URL_PREFIX, "https://example.org/img*"),
        (Kind.URL_PREFIX, "https://example.org/*/x"),
        (Kind.URL_PREFIX, "https://example.org/**"),
        (Kind.URL_PREFIX, "https://example.org/view?id=*"),
        (Kind.URL_PREFIX, "https://*.example.org/x/"),
        (Kind.URL_PREFIX, "https://example.org*"),
    ],
)
def test_what_is_no_entry_is_refused(kind, value):
    with pytest.raises(BadInput):
        entry(kind, value)


@pytest.mark.parametrize(
    ("kind", "value", "key"),
    [
        (Kind.URL, "https://example.org/*.jpg", "url:example.org/*.jpg"),
        (Kind.URL_PREFIX, "https://example.org/a/*", "url_prefix:example.org/a"),
        (Kind.URL_PREFIX, "https://example.org/a?*", "url_prefix:example.org/a"),
        (Kind.URL_PREFIX, "https://example.org/a?b=1&*", "url_prefix:example.org/a?b=1"),
    ],
)
def test_a_star_that_ends_a_prefix_or_belongs_to_one_address_is_taken(kind, value, key):
    assert entry(kind, value).keys == (key,)


def test_a_grant_that_names_a_pattern_stays_readable():
    covers = [(Kind.URL_PREFIX, "https://example.org/img*")]
    value = sign_grant(covers, Ed25519PrivateKey.generate(), licensor="A", licensee="B")
    assert entry(Kind.GRANT, value).keys == ("url_prefix:example.org/img",)


def test_texts_are_bounded_and_aliases_belong_to_creators():
    for more in ({"note": "x" * 5000}, {"aliases": ("x",)}, {"requester": "\x1b[2J"}):
        with pytest.raises(BadInput):
            entry(**more)
    with pytest.raises(BadInput, match="CSV"):
        entry(Kind.CREATOR, "Jane Doe", aliases=("a|b",))


def test_one_pdq_hash_stands_for_all_turns_and_eight_for_themselves():
    one = entry(Kind.PDQ, "D8F8F0CCE0F4A84F0E370A22028F67F0B36E2ED596623E1D33E6B39C4E9C9B22")
    assert len(one.keys) == 8
    assert one.keys[0] == "pdq:d8f8f0cce0f4a84f0e370a22028f67f0b36e2ed596623e1d33e6b39c4e9c9b22"
    eight = entry(Kind.PDQ, ",".join(f"{at:064x}" for at in range(8)))
    assert eight.keys == tuple(f"pdq:{at:064x}" for at in range(8))


def test_embeddings_come_back_as_unit_vectors_of_their_encoder():
    vector = np.array([0.6, 0.8, 0.0], dtype=np.float32)
    encoder, found = read_embedding(embedding_value("mini@1", vector))
    assert encoder == "mini@1"
    np.testing.assert_allclose(found, vector, atol=1e-3)
    for bad in (vector * 3, vector * np.nan, vector[:0]):
        with pytest.raises(BadInput):
            read_embedding(embedding_value("mini@1", bad))
