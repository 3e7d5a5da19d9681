"""Path patterns: RFC 9309's own examples, spellings of one path, and an index that agrees with trying all patterns."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.optout.patterns import PathIndex, Pattern, canonical, path_of

#: RFC 9309 §2.2.2 and §2.2.3, and what Google's documentation adds: pattern, path, does it match.
EXAMPLES = [
    ("/foo/bar?baz=quz", "/foo/bar?baz=quz", True),
    ("/foo/bar?baz=https://foo.bar", "/foo/bar?baz=https://foo.bar", True),
    ("/foo/bar/ツ", "/foo/bar/%E3%83%84", True),
    ("/foo/bar/%E3%83%84", "/foo/bar/ツ", True),
    ("/foo/bar/%62%61%7A", "/foo/bar/baz", True),
    ("/path/file-with-a-%2A.html", "/path/file-with-a-*.html", True),
    ("/path/foo-%24", "/path/foo-$", True),
    ("/this/path/exactly$", "/this/path/exactly", True),
    ("/this/path/exactly$", "/this/path/exactly.", False),
    ("/this/*/exactly", "/this/that/exactly?x", True),
    ("/this/*/exactly", "/this/exactly", False),
    ("/fish", "/fish.html", True),
    ("/fish", "/Fish.asp", False),
    ("/fish*", "/fishheads/yummy.html", True),
    ("/fish/", "/fish", False),
    ("/*.php", "/folder/filename.php?parameters", True),
    ("/*.php", "/windows.PHP", False),
    ("/*.php$", "/filename.php?parameters", False),
    ("/*.php$", "/folder/a.php.php", True),
    ("/fish*.php", "/fishheads/catfish.php?parameters", True),
    ("/a*$", "/abc", True),
    ("/*", "/", True),
    ("/a$b", "/a$bc", True),
    ("/a%2fb", "/a%2Fb", True),
    ("/a%2Fb", "/a/b", False),
    ("", "/anything", True),
]


@pytest.mark.parametrize(("pattern", "path", "expected"), EXAMPLES)
def test_pattern_matches_as_the_rfc_says(pattern, path, expected):
    assert Pattern.parse(pattern).matches(path_of(f"https://example.org{path}")) is expected


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://example.org", "/"),
        ("https://example.org?q=1", "/?q=1"),
        ("https://example.org/a#b?c", "/a"),
        ("HTTPS://user@example.org:8443/A/b?C=d", "/A/b?C=d"),
        ("https://example.org/open/../private/a.jpg", "/private/a.jpg"),
        ("https://example.org/open/%2e%2E/private/a.jpg", "/private/a.jpg"),
        ("https://example.org/a/./b/..", "/a/"),
        ("https://example.org/../../x?y=/../z", "/x?y=/../z"),
        ("https://example.org/a b%zz", "/a%20b%25zz"),
        (" https://example.org/pri\nva\tte/ ", "/private/"),
        ("https://example.org/\ud800\udcff", "/%ED%A0%80%ED%B3%BF"),
        ("//example.org/x", "/x"),
        ("x/y", "/x/y"),
        ("", "/"),
    ],
)
def test_path_is_the_one_that_a_client_asks_for(url, path):
    assert path_of(url) == path


@given(st.text(max_size=40))
def test_canonical_spelling_is_stable(text):
    assert canonical(canonical(text)) == canonical(text)


atoms = st.lists(st.sampled_from(["a", "b", "/", "*", "ab", "abc", "$", "%41", "ü", "?"]), max_size=8).map("".join)


@settings(max_examples=200, deadline=None)
@given(patterns=st.lists(atoms, max_size=40), path=atoms)
def test_index_finds_the_first_match(patterns, path):
    parsed = [Pattern.parse(f"/{pattern}") for pattern in patterns]
    asked = path_of(f"https://example.org/{path}")
    expected = next((place for place, pattern in enumerate(parsed) if pattern.matches(asked)), -1)
    assert PathIndex(parsed).first(asked) == expected


def test_wildcards_take_linear_time():
    index = PathIndex([Pattern.parse("/" + "a*" * 20 + f"b{number}$") for number in range(2000)])
    start = time.process_time()
    assert index.first("/" + "a" * 4000) == -1
    assert time.process_time() - start < 1
