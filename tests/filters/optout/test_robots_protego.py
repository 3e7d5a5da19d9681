"""Generated robots.txt files: the same answer as Protego, wherever Protego is right.

Left out of the generated files is what Protego reads otherwise than RFC 9309 or than we do on purpose:

- agents whose name is the beginning of the one asked for: Protego takes `ass` for `assay` (it has no boundary behind);
- lines of unknown keys between two User-agent lines: Protego lets them split the group, §2.2.4 does not;
- Unicode line separators, which end a line for Protego only;
- `$` in paths: Protego reads a final `$` in a rule also as the character itself, and any in the middle too;
- escapes of reserved characters (`%2F`, `%3D`): Protego decodes some of them, §2.2.2 keeps them apart;
- a `*` between the escapes of one character: Protego decodes before it matches, the RFC compares octets;
- paths with `.` or `..` segments, which we resolve as clients do, and rules without a leading slash;
- `Allow: …/index.html`, which Protego extends to the folder.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protego import Protego

from filters.optout.base import Document
from filters.optout.patterns import path_of
from filters.optout.readers import Voice
from filters.optout.robots import crawl_delay, parse_robots
from filters.optout.robots_channel import AccessReader

AGENTS = ("assay", "assay", "gptbot", "*", "*", "Assay", "otherbot", "assay-images", "img2dataset")
SEGMENTS = ("a", "b", "ab", "art", "%61", "%C3%BC", "ü", "a%20b", "x.jpg", "y.png", "q?w=1&h=2", "~me", "(1)", "A", "")

paths = st.lists(st.sampled_from(SEGMENTS), max_size=4).map(lambda parts: "/" + "/".join(parts))
patterns = st.builds(
    lambda path, stars, anchor: _with_stars(path, stars) + ("$" if anchor else ""),
    st.lists(st.sampled_from(SEGMENTS), max_size=2).map(lambda parts: "/" + "/".join(parts)),
    st.lists(st.integers(1, 6), max_size=2),
    st.booleans(),
)
keys = st.sampled_from(("Allow", "Disallow", "disallow", "ALLOW", "Dissallow", " Disallow "))
comments = st.sampled_from(("", "", " # why", "#x", "\t"))
values = st.one_of(patterns, patterns, patterns, st.sampled_from(("", "/", "/*", "/a", "/art*")))
rules = st.builds(lambda key, path, comment: f"{key}: {path}{comment}", keys, values, comments)
delays = st.sampled_from(("Crawl-delay: 3", "Crawl-delay: x"))
outside = st.sampled_from(("", "# note", "Sitemap: https://example.org/map.xml"))
names = st.lists(st.sampled_from(AGENTS), min_size=1, max_size=3).map(
    lambda found: [f"User-agent: {name}" for name in found]
)
groups = st.builds(
    lambda head, body: head + body, names, st.lists(st.one_of(rules, rules, outside, delays), max_size=6)
)
files = st.builds(
    lambda found, end: end.join(line for group in found for line in [*group, ""]),
    st.lists(groups, max_size=5),
    st.sampled_from(("\n", "\r\n", "\r")),
)


def _with_stars(path: str, places: list[int]) -> str:
    for place in places:
        if 0 < place <= len(path) and "%" not in path[max(0, place - 3) : place]:
            path = path[:place] + "*" + path[place:]
    return path


def ours(text: str, path: str, agent: str) -> bool:
    reader = AccessReader(parse_robots(text.encode()), (agent,), Voice("robots.txt", "", Document("")))
    return reader.may_crawl(reader.key(path_of(f"https://example.org{path}")))


lists = st.lists(paths, min_size=1, max_size=5)
asking = st.sampled_from(("assay", "gptbot", "nobody"))


@settings(max_examples=200, deadline=None)
@given(text=files, asked=lists, agent=asking)
def test_access_agrees_with_protego(text, asked, agent):
    agree(text, asked, agent)


@pytest.mark.hostile
@pytest.mark.timeout(1800)
@settings(max_examples=8_000, deadline=None)
@given(text=files, asked=lists, agent=asking)
def test_access_agrees_with_protego_at_length(text, asked, agent):
    agree(text, asked, agent)


def agree(text: str, asked: list[str], agent: str) -> None:
    reference = Protego.parse(text)
    for path in asked:
        expected = reference.can_fetch(f"https://example.org{path}", agent)
        assert ours(text, path, agent) is expected, (path, agent)


@settings(max_examples=60, deadline=None)
@given(text=files)
def test_crawl_delay_agrees_with_protego(text):
    assert crawl_delay(parse_robots(text.encode()), "assay") == Protego.parse(text).crawl_delay("assay")


def test_what_is_left_out_is_protegos_reading_and_not_ours():
    prefix = "User-agent: ass\nDisallow: /\n"
    split = "User-agent: assay\nUnknown: x\nUser-agent: b\nDisallow: /\n"
    literal = "User-agent: *\nDisallow: /a$\n"
    assert not Protego.parse(prefix).can_fetch("https://example.org/", "assay")
    assert ours(prefix, "/", "assay")
    assert Protego.parse(split).can_fetch("https://example.org/", "assay")
    assert not ours(split, "/", "assay")
    assert not Protego.parse(literal).can_fetch("https://example.org/a$b", "assay")
    assert ours(literal, "/a$b", "assay")
