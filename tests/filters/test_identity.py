"""A uid depends on picture, caption and canonical URL, and on nothing else."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from filters.identity import canonical_url, sample_uid

PICTURE = hashlib.sha256(b"picture").digest()


def test_uid_is_fixed_for_ever():
    # a change of this value would orphan every ledger and every registry entry
    assert sample_uid(PICTURE, "a cat", "https://example.org/cat.png") == "cc9a673dd6bf05ea8b924c65f85e0062"


def test_brackets_around_no_address_leave_a_url_as_it_is():
    """Versions of Python differ in which of them they refuse, and a uid must not."""
    for url in (
        "http://[foo]/A",
        "HTTP://[1.2.3.4]/x#f",
        "HTTP://a[::1]/",
        "HTTP://[v1.x]/",
        "HTTP://[::1]a/",
        "HTTP://]/",
    ):
        assert canonical_url(url) == url
    assert canonical_url("HTTP://me@[2001:DB8::1]:80/x#f") == "http://[2001:db8::1]/x"


def test_equal_urls_in_other_spelling_give_the_same_uid():
    assert sample_uid(PICTURE, "a", "HTTPS://Example.org:443/x#y") == sample_uid(PICTURE, "a", "https://example.org/x")
    assert sample_uid(PICTURE, "a", None) == sample_uid(PICTURE, "a", "")


def test_fields_cannot_flow_into_each_other():
    assert sample_uid(PICTURE, "ab", "c") != sample_uid(PICTURE, "a", "bc")


@given(st.text())
def test_any_text_is_an_acceptable_url_and_caption(text):
    assert canonical_url(canonical_url(text)) == canonical_url(text)
    assert len(sample_uid(PICTURE, text, text)) == 32
