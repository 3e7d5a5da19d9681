"""What fits a sample, and what of it stands once grants are weighed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from filters.optout.entries import Draft, Kind, make_entry
from filters.optout.grants import parse_grant, sign_grant
from filters.optout.matching import COLUMNS, KeyFinder, hits_of, resolve
from pipelines.run.schema import MATCHES

NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KINDS = [kind.value for kind in Kind]


def table(**columns):
    return pa.table({name: pa.array([columns.get(name, "a" * 32 if name == "uid" else None)]) for name in COLUMNS})


def grant(*covers):
    return Draft(Kind.GRANT, sign_grant(covers, KEY, licensor="A", licensee="B", issued_at=NOW - timedelta(days=1)))


def outcomes(samples, drafts, trusted=True):
    """Return (entry, method, outcome) of each row."""
    entries = [make_entry(draft, number, "0" * 64, NOW) for number, draft in enumerate(drafts, 1)]
    by_key = {}
    for entry in entries:
        for key in entry.keys:
            by_key.setdefault(key, []).append(entry)
    grants = {e.seq: parse_grant(e.value) for e in entries if e.kind is Kind.GRANT and trusted}
    hits = hits_of(KeyFinder(KINDS).find(samples), by_key)
    found = resolve(hits, samples.column("uid").to_pylist(), grants, MATCHES)
    assert found.schema.equals(MATCHES)
    return [(row["entry"], row["method"], row["outcome"]) for row in found.to_pylist()]


@pytest.mark.parametrize(
    ("draft", "columns", "method"),
    [
        (Draft(Kind.URL, "http://x.org/a.jpg"), {"url": "https://X.org/a.jpg#b"}, "url"),
        (Draft(Kind.URL, "http://x.org/page"), {"page_url": "https://x.org/page"}, "url"),
        (Draft(Kind.URL_PREFIX, "http://x.org/jane"), {"url": "https://x.org/jane/1.jpg"}, "url_prefix"),
        (Draft(Kind.DOMAIN, "x.org"), {"url": "https://img.x.org/1.jpg"}, "domain"),
        (Draft(Kind.DOMAIN, "x.org"), {"page_url": "https://x.org/p", "url": "https://cdn.net/1"}, "domain"),
        (Draft(Kind.DOMAIN, "x.org"), {"domain": "WWW.X.ORG"}, "domain"),
        (Draft(Kind.CREATOR, "Doe, Jane"), {"creator": "jane DOE"}, "creator"),
        (Draft(Kind.CREATOR, "Jane Doe", ("J.D. Art",)), {"creator": "J. D. Art; John Roe"}, "creator"),
        (Draft(Kind.CREATOR, "Jane Doe"), {"caption": "a cat in the style of Jane Doe"}, "caption"),
        (Draft(Kind.SHA256, "AB" * 32), {"sha256": "ab" * 32}, "sha256"),
    ],
)
def test_each_kind_denies_what_it_names(draft, columns, method):
    assert outcomes(table(**columns), [draft]) == [(1, method, "deny")]
    other = {"url": "https://y.org/a", "caption": "a cat by John Roe", "creator": "John Roe", "sha256": "0" * 64}
    assert outcomes(table(**other), [draft]) == []


def test_a_name_in_field_and_caption_is_told_apart():
    found = outcomes(table(creator="Jane Doe", caption="by Jane Doe"), [Draft(Kind.CREATOR, "Jane Doe")])
    assert found == [(1, "caption", "deny"), (1, "creator", "deny")]


def test_every_entry_that_fits_is_reported():
    drafts = [Draft(Kind.DOMAIN, "x.org"), Draft(Kind.DOMAIN, "a.x.org"), Draft(Kind.DOMAIN, "x.org")]
    found = outcomes(table(url="https://a.x.org/1"), drafts)
    assert found == [(1, "domain", "deny"), (2, "domain", "deny"), (3, "domain", "deny")]


SAMPLE = {"url": "https://x.org/jane/1.jpg", "creator": "Jane Doe", "sha256": "ab" * 32}


def test_a_grant_that_covers_every_denial_overrides_and_the_denials_stay_on_record():
    drafts = [Draft(Kind.DOMAIN, "x.org"), grant((Kind.DOMAIN, "x.org"))]
    assert outcomes(table(**SAMPLE), drafts) == [(1, "domain", "deny"), (2, "domain", "grant")]


def test_a_grant_that_is_not_verified_counts_for_nothing():
    drafts = [Draft(Kind.DOMAIN, "x.org"), grant((Kind.DOMAIN, "x.org"))]
    assert outcomes(table(**SAMPLE), drafts, trusted=False) == [(1, "domain", "deny")]
    assert outcomes(table(**SAMPLE), drafts[1:], trusted=False) == []


def test_a_site_cannot_grant_for_an_artist():
    drafts = [Draft(Kind.CREATOR, "Jane Doe"), Draft(Kind.DOMAIN, "x.org"), grant((Kind.DOMAIN, "x.org"))]
    assert outcomes(table(**SAMPLE), drafts) == [(1, "creator", "deny"), (2, "domain", "deny")]


def test_two_grants_may_cover_two_denials():
    drafts = [Draft(Kind.CREATOR, "Jane Doe"), Draft(Kind.DOMAIN, "x.org")]
    drafts += [grant((Kind.DOMAIN, "x.org")), grant((Kind.CREATOR, "Jane Doe"))]
    assert [row[2] for row in outcomes(table(**SAMPLE), drafts)] == ["deny", "deny", "grant", "grant"]


def test_a_grant_alone_is_reported_for_what_other_channels_deny():
    assert outcomes(table(**SAMPLE), [grant((Kind.SHA256, "ab" * 32))]) == [(1, "sha256", "grant")]


@pytest.mark.parametrize(
    ("columns", "cover"),
    [
        ({"page_url": "https://x.org/p", "url": "https://cdn.net/1"}, (Kind.DOMAIN, "x.org")),
        ({"domain": "x.org"}, (Kind.DOMAIN, "x.org")),
        ({"creator": "Jane Doe; John Roe"}, (Kind.CREATOR, "Jane Doe")),
        ({"caption": "in the style of Jane Doe"}, (Kind.CREATOR, "Jane Doe")),
    ],
)
def test_a_page_a_part_of_the_creators_or_a_caption_is_not_enough_for_a_grant(columns, cover):
    assert outcomes(table(**columns), [grant(cover)]) == []


def test_a_name_in_a_caption_does_not_count_where_its_creator_granted():
    sample = table(caption="in the style of Jane Doe", url="https://x.org/1")
    drafts = [Draft(Kind.CREATOR, "Jane Doe"), grant((Kind.CREATOR, "Jane Doe")), Draft(Kind.DOMAIN, "x.org")]
    assert outcomes(sample, drafts) == [(3, "domain", "deny")]


def test_a_table_that_would_match_nothing_is_refused():
    with pytest.raises(ValueError, match="no column caption"):
        KeyFinder(KINDS).find(table().drop_columns(["caption"]))


def test_kinds_that_the_registry_does_not_hold_are_not_looked_up():
    sample = table(**SAMPLE, caption="by Jane Doe")
    assert {key.key.partition(":")[0] for key in KeyFinder(["sha256"]).find(sample)} == {"sha256"}
    assert KeyFinder([]).find(sample) == []
