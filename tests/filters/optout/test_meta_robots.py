"""Statements in HTML, and what only looks like one."""

from __future__ import annotations

import time

import pytest

from filters.optout.base import Document, Evidence, Fetched, Verdict
from filters.optout.html_tags import decoded_page, tags
from filters.optout.meta_robots import MetaRobotsChannel
from filters.optout.x_robots import DirectivePolicy

D, U = Verdict.DENY, Verdict.UNKNOWN


def read(page: str | bytes, noindex: bool = False, headers: tuple[tuple[str, str], ...] = ()):
    body = page.encode() if isinstance(page, str) else page
    evidence = Evidence(page=Document("https://example.org/p", body), page_headers=headers)
    return MetaRobotsChannel(DirectivePolicy(noindex=noindex)).read(evidence)


@pytest.mark.parametrize(
    "page",
    [
        '<meta name="robots" content="noai, noimageai">',
        "<META NAME=robots CONTENT=NoAI>",
        "<html><head><meta content='noimageai' name='ROBOTS'/></head>",
        '<meta name="GPTBot" content="noai">',
        '<meta name="assay" content="noai">',
        '<meta http-equiv="X-Robots-Tag" content="noai">',
        '<meta name="robots" content="no&#97;i">',
        '<body><p>x<meta name="robots" content="noai">',
        '<meta\nname = "robots"\n content = "noindex,noai" >',
        '<meta/name="robots"/content="noai">',
        "<!--> --><meta name=robots content=noai>",
        "<script>if (a < b) {}</script><meta name=robots content=noai>",
        "<title><!--</title><meta name=robots content=noai>",
        '<a title="x>y"><meta name=robots content=noai>',
        "<p <p><meta name=robots content=noai>",
    ],
)
def test_refusals(page):
    assert [signal.verdict for signal in read(page)] == [D]


@pytest.mark.parametrize(
    "page",
    [
        "<!-- <meta name=robots content=noai> -->",
        '<script>"<meta name=robots content=noai>"</script>',
        "<style><meta name=robots content=noai></style>",
        "<textarea><meta name=robots content=noai></textarea>",
        "<img alt='<meta name=robots content=noai>'>",
        '<meta name="description" content="noai">',
        '<meta name="googlebot" content="noai">',
        '<meta name="robots" content="noai',
        "<plaintext><meta name=robots content=noai>",
        "&lt;meta name=robots content=noai&gt;",
        "",
    ],
)
def test_what_is_no_statement(page):
    assert read(page) == []


def test_search_directives_refuse_by_policy():
    page = '<meta name="robots" content="noindex, unavailable_after: 2010-01-01">'
    assert [s.verdict for s in read(page)] == [U]
    assert [s.verdict for s in read(page, noindex=True)] == [D]


def test_page_in_utf_16():
    page = '<meta name="robots" content="noai">'
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        assert [s.verdict for s in read(page.encode(encoding))] == [D]
    declared = (("Content-Type", "text/html; charset=UTF-16LE"),)
    assert [s.verdict for s in read(page.encode("utf-16-le"), headers=declared)] == [D]


def test_licence_link_is_recorded():
    (signal,) = read('<link rel="license" href="https://creativecommons.org/licenses/by/4.0/">')
    assert signal.verdict is U
    assert "creativecommons" in signal.raw


def test_a_flood_of_elements_does_not_hide_a_refusal():
    page = '<link rel="license" href="x">' * 200 + '<meta name="robots" content="noai">'
    assert read(page)[0].verdict is D


def test_page_without_an_answer_is_unreadable():
    unreachable, absent = (Evidence(page=Document("p", state=s)) for s in (Fetched.UNREACHABLE, Fetched.ABSENT))
    assert [s.unreadable for s in MetaRobotsChannel().read(unreachable)] == [True]
    assert MetaRobotsChannel().read(absent) == []


def test_first_of_equal_attributes_counts():
    (tag,) = tags('<meta name="robots" name="x" content=a>')
    assert (tag.get("name"), tag.get("content"), tag.in_head) == ("robots", "a", True)


@pytest.mark.parametrize(
    "unit",
    ["<!--x-->", "<!--", "<a ", "<a b='", "<meta a=", "<script></script>", "</", "<style><!--", "<a " + " " * 99],
)
def test_hostile_page_takes_linear_time(unit):
    def seconds(size: int) -> float:
        page = decoded_page((unit * (size // len(unit))).encode())
        start = time.process_time()
        sum(1 for _ in tags(page))
        return time.process_time() - start

    # four times the page: sixteen times the time if it were quadratic
    assert seconds(400_000) < 10 * max(seconds(100_000), 0.02)
