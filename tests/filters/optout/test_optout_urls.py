"""Addresses that are the same place have the same key, and others have not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.errors import BadInput
from filters.optout.urls import (
    _USUAL,
    MAX_SEGMENTS,
    canonical_host,
    domain_entry,
    domain_keys,
    prefix_entry,
    prefix_keys,
    read_address,
    url_entry,
)


@pytest.mark.parametrize(
    "spelling",
    [
        "https://example.org/Art/a%20b.jpg?x=1",
        "http://example.org/Art/a%20b.jpg?x=1",
        "HTTPS://EXAMPLE.ORG:443/Art/a%20b.jpg?x=1#top",
        "http://example.org:80/Art/a%20b.jpg?x=1",
        " https://example.org./Art/a b.jpg?x=1\n",
        "https://user:secret@example.org/Art/a%20b.jpg?x=1",
        "https://example.org/Art/./x/../a%20b.jpg?x=1",
        "https://example.org/%41rt/a%20b%2ejpg?x=1",
        "https:\\\\example.org\\Art\\a%20b.jpg?x=1",
        "//example.org/Art/a%20b.jpg?x=1",
        "example.org/Art/a%20b.jpg?x=1",
        "https://ex%61mple.org/Art/a%20b.jpg?x=1",
        "https://exa\tmple.org/Art/a%20b.jpg?x=1",
    ],
)
def test_spellings_of_one_address_have_one_key(spelling):
    address = read_address(spelling)
    assert address is not None
    assert (address.host, address.key) == ("example.org", "example.org/Art/a%20b.jpg?x=1")


@pytest.mark.parametrize(
    "other",
    [
        "https://example.org/art/a%20b.jpg?x=1",
        "https://example.org/Art/a%20b.jpg?x=2",
        "https://example.org/Art/a%20b.jpg",
        "https://example.org:8080/Art/a%20b.jpg?x=1",
        "https://www.example.org/Art/a%20b.jpg?x=1",
        "https://example.org/Art%2Fa%20b.jpg?x=1",
        "ftp://example.org/Art/a%20b.jpg?x=1",
        "https://example.org@evil.net/Art/a%20b.jpg?x=1",
    ],
)
def test_other_addresses_have_other_keys(other):
    address = read_address(other)
    assert address is not None
    assert address.key != "example.org/Art/a%20b.jpg?x=1"


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("Bücher.Example", "xn--bcher-kva.example"),
        ("xn--BCHER-kva.example.", "xn--bcher-kva.example"),
        ("ｅｘａｍｐｌｅ。org", "example.org"),
        ("0x7f.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("[::FFFF:0:1]", "[::ffff:0:1]"),
        ("a_b.example.org", "a_b.example.org"),
        ("999.1.1.1", None),
        ("", None),
    ],
)
def test_hosts_have_one_form(name, canonical):
    assert canonical_host(name) == canonical


def test_hosts_that_only_browsers_take_have_the_browsers_form():
    assert canonical_host("☃.net") == "xn--n3h.net"


@pytest.mark.parametrize("text", ["", "   ", "no address", "http://", "http://[::1", "data:image/png;base64,AA", "//"])
def test_texts_without_a_host_are_no_address(text):
    assert read_address(text) is None


@given(st.text(max_size=80) | st.from_regex(r"https?://[^/]{1,20}/.{0,40}", fullmatch=True))
@settings(max_examples=100, deadline=None)
def test_no_text_raises_and_a_key_is_its_own_key(text):
    address = read_address(text)
    if address is not None and "://" not in address.key:
        again = read_address("http://" + address.key)
        assert again is not None
        assert again.key == address.key


@given(st.from_regex(_USUAL, fullmatch=True))
@settings(max_examples=60, deadline=None)
def test_the_short_way_for_usual_addresses_gives_the_key_of_the_long_way(url):
    # A leading space takes the long way.
    assert read_address(url.strip("\n")) == read_address(" " + url.strip("\n"))


def test_prefixes_end_on_boundaries():
    assert prefix_keys("h.org/a/b.jpg?x=1&y=2") == [
        "h.org",
        "h.org/a",
        "h.org/a/b.jpg",
        "h.org/a/b.jpg?x=1",
        "h.org/a/b.jpg?x=1&y=2",
    ]
    assert prefix_keys("h.org/") == ["h.org"]
    assert prefix_keys("h.org/a//b/") == ["h.org", "h.org/a", "h.org/a//b"]
    assert prefix_keys("ftp://h.org/a") == ["ftp://h.org", "ftp://h.org/a"]


@pytest.mark.parametrize(
    ("entry", "inside", "outside"),
    [
        ("https://h.org/gallery", "http://h.org/gallery/1.jpg", "http://h.org/gallery2/1.jpg"),
        ("https://h.org/gallery/*", "http://h.org/gallery", "http://h.org/Gallery/1.jpg"),
        ("https://h.org/", "http://h.org/x?y", "http://www.h.org/x"),
        ("https://h.org/view?user=7", "http://h.org/view?user=7&n=1", "http://h.org/view?user=71"),
        ("https://h.org:8080/a", "https://h.org:8080/a/b", "https://h.org/a/b"),
    ],
)
def test_prefix_entries_cover_what_lies_inside(entry, inside, outside):
    key = prefix_entry(entry)
    assert key in prefix_keys(read_address(inside).key)
    assert key not in prefix_keys(read_address(outside).key)


def test_a_prefix_too_long_to_be_looked_up_is_refused_and_the_longest_is_found():
    longest = "https://h.org" + "/a" * (MAX_SEGMENTS - 1)
    deeper = read_address(longest + "/b" * 500).key
    assert prefix_entry(longest) in prefix_keys(deeper)
    assert len(prefix_keys(deeper)) < 2 * MAX_SEGMENTS
    with pytest.raises(BadInput, match="path segments"):
        prefix_entry(longest + "/a/a")


@pytest.mark.parametrize("piece", ["a.", "/", "a/", "?a&", "%41", "é", "é.", "xn--", ":", "[", "\\", "..", "/../"])
def test_long_hostile_addresses_take_little_time_and_memory(piece):
    began = time.process_time()
    for start in ("http://", "http://h.org/", "http://h.org/?", ""):
        address = read_address(start + piece * (200_000 // len(piece)))
        if address is not None:
            assert sum(map(len, domain_keys(address.host))) < 100_000
            assert len(prefix_keys(address.key)) <= 2 * MAX_SEGMENTS + 2
    assert time.process_time() - began < 2


def test_domains_cover_their_subdomains():
    assert domain_entry("Example.ORG.") == domain_entry("*.example.org") == domain_entry("https://example.org/")
    assert domain_keys("a.b.example.org") == ["a.b.example.org", "b.example.org", "example.org"]
    assert domain_keys("127.0.0.1") == ["127.0.0.1"]
    assert domain_keys("[::1]") == ["[::1]"]
    assert domain_entry("bücher.de") == "xn--bcher-kva.de"
    assert domain_entry("127.0.0.1") == "127.0.0.1"
    assert domain_entry("artist.github.io") == "artist.github.io"


@pytest.mark.parametrize(
    "value",
    [
        *("com", "co.uk", "xn--p1ai", "рф", "kobe.jp", "localhost", "", ".", "*", "a..org", "exa*mple.org", "http://"),
        *("example.org/path", "example.org:8080", "https://example.org/?x", "a b.org", "x" * 64 + ".org"),
    ],
)
def test_a_domain_entry_is_the_domain_of_one_owner(value):
    with pytest.raises(BadInput):
        domain_entry(value)


@pytest.mark.parametrize(
    "value", ["", "ftp://example.org/x", "javascript:alert(1)", "not a url", "https://localhost/x"]
)
def test_url_entries_are_web_addresses(value):
    with pytest.raises(BadInput):
        url_entry(value)
