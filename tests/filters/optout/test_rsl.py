"""RSL 1.0: what a licence says of training, under which conditions, and where it is named."""

from __future__ import annotations

import pytest

from filters.optout.base import Document, Evidence, Fetched, Verdict
from filters.optout.host_policy import HostChannels
from filters.optout.rsl import RslChannel
from filters.optout.rsl_links import MAX_LINKS, rsl_urls

D, A, U = Verdict.DENY, Verdict.ALLOW, Verdict.UNKNOWN
HOST = "https://example.org"
NAME = f"{HOST}/license.xml"
PERMIT = '<permits type="usage">ai-all</permits>'
NO_AI = '<license><prohibits type="usage">ai-all</prohibits></license>'


def rsl(*contents: str, attributes: str = 'xmlns="https://rslstandard.org/rsl"') -> bytes:
    return f"<rsl {attributes}>{''.join(contents)}</rsl>".encode()


def content(licences: str, url: str = "/", more: str = "") -> str:
    return f'<content url="{url}" {more}>{licences}</content>'


def read(body: bytes, path: str = "/a.jpg", state: Fetched = Fetched.FOUND):
    return RslChannel().read(Evidence(url=HOST + path, rsl=(Document(NAME, body, state),)))


def verdicts(licences: str, more: str = "") -> list[Verdict]:
    return [signal.verdict for signal in read(rsl(content(licences, more=more)))]


@pytest.mark.parametrize(
    ("licence", "verdict"),
    [
        ('<prohibits type="usage">ai-train</prohibits>', D),
        ('<prohibits type="usage">search ai-all</prohibits>', D),
        ('<prohibits type="usage">all</prohibits>', D),
        ('<prohibits type="usage">ai-input, AI-TRAIN</prohibits>', D),
        ('<prohibits type="usage">train-ai</prohibits>', D),
        ("<prohibits>ai-train</prohibits>", D),
        ('<prohibits type="usage">ai-input</prohibits>', U),
        ('<permits type="usage">search</permits>', D),
        ('<permits type="usage">train-ai</permits>', D),
        (PERMIT, A),
        ('<permits type="usage">all</permits><payment type="free"/>', A),
        (f"{PERMIT}<payment/>", A),
        (f'{PERMIT}<prohibits type="usage">ai-train</prohibits>', D),
        (f'{PERMIT}<payment type="training"><amount currency="USD">1</amount></payment>', D),
        (f'{PERMIT}<payment type="attribution"/>', D),
        (f"{PERMIT}<payment><standard>https://rslcollective.org/license</standard></payment>", D),
        (f"{PERMIT}<payment type='free'><amount currency='USD'>1</amount></payment>", D),
        (f'{PERMIT}<permits type="user">non-commercial</permits>', D),
        (f'{PERMIT}<prohibits type="geo">EU</prohibits>', D),
        (f'{PERMIT}<reporting type="telemetry" profile="https://x.example/p"/>', D),
        (f"{PERMIT}<permit>x</permit>", U),
        ('<payment type="crawl"/>', D),
        ("", U),
    ],
)
def test_one_licence(licence, verdict):
    assert verdicts(f"<license>{licence}</license>") == [verdict]


def test_licences_are_alternatives_but_a_prohibition_stands():
    search = '<license><permits type="usage">search</permits></license>'
    assert verdicts(f"{search}<license>{PERMIT}</license>") == [A]
    assert verdicts(f"{search}<license>{PERMIT}</license>{NO_AI}") == [D]


def test_licence_server_means_a_token_first():
    assert verdicts(f"<license>{PERMIT}</license>", 'server="https://pay.example"') == [D]


def test_narrower_content_takes_precedence():
    body = rsl(content(f"<license>{PERMIT}</license>"), content(NO_AI, "/art/*"), content("", "/art/x"))
    assert [s.verdict for s in read(body, "/art/x")] == [D]
    assert [s.verdict for s in read(body, "/b")] == [A]


def test_contents_of_other_hosts_do_not_apply():
    body = rsl(content(NO_AI, "https://other.example/"), content(f"<license>{PERMIT}</license>", f"{HOST}/*.jpg$"))
    assert [s.verdict for s in read(body)] == [A]
    assert read(body, "/a.png") == []
    assert [s.verdict for s in read(rsl(content(NO_AI, "https://*.org/")))] == [D]


@pytest.mark.parametrize(
    ("url", "stated"),
    [
        ("https://a.org/x.jpg", "https://a.org:443/"),
        ("https://a.org:443/x.jpg", "https://a.org/"),
        ("http://a.org/x.jpg", "HTTP://A.org:80"),
        ("https://a.org:8080/x.jpg", "https://a.org:8080/"),
        ("https://a.org/x.jpg", "https://user@a.org./"),
        ("https://a.org/x.jpg", "//a.org/"),
        ("https://xn--mnchen-3ya.de/x.jpg", "https://münchen.de/"),
        ("https://www.xn--mnchen-3ya.de/x.jpg", "https://*.münchen.de/"),
        ("https://[::1]/x.jpg", "https://[0::1]:443/"),
    ],
)
def test_one_host_in_two_spellings_is_one_host(url, stated):
    licence = Document(NAME, rsl(content(NO_AI, stated)))
    assert [s.verdict for s in RslChannel().read(Evidence(url=url, rsl=(licence,)))] == [D]
    for other in ("https://a.org:81/x.jpg", "https://a.org.example/x.jpg", "https://münchen.de.example/x.jpg"):
        assert RslChannel().read(Evidence(url=other, rsl=(licence,))) == []


def test_outside_its_namespace_a_licence_can_only_refuse():
    assert [s.verdict for s in read(rsl(content(NO_AI), attributes=""))] == [D]
    assert [s.verdict for s in read(rsl(content(f"<license>{PERMIT}</license>"), attributes=""))] == [U]
    foreign = rsl(content(NO_AI), attributes='xmlns="https://other.example/"')
    assert [s.unreadable for s in read(foreign)] == [True]


def test_feed_with_the_module():
    body = (
        '<rss xmlns:rsl="https://rslstandard.org/rsl"><item><rsl:content url="/a.jpg"><rsl:license>'
        '<rsl:prohibits type="usage">ai-train</rsl:prohibits></rsl:license></rsl:content></item></rss>'
    )
    assert [s.verdict for s in read(body.encode())] == [D]


BOMB = b'<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><rsl xmlns="https://rslstandard.org/rsl">&b;</rsl>'


@pytest.mark.parametrize("body", [b"", b"<rsl", b"<html/>", BOMB, b"\0", b"<?xml version='1.0' encoding='x'?><rsl/>"])
def test_what_is_no_document_is_unreadable(body):
    (signal,) = read(body)
    assert (signal.verdict, signal.unreadable) == (U, True)


def test_named_and_not_obtained_is_unlicensed():
    for state in (Fetched.ABSENT, Fetched.UNREACHABLE):
        assert [s.unreadable for s in read(b"", state=state)] == [True]
    robots = Document(f"{HOST}/robots.txt", f"License: {NAME}\n".encode())
    (signal,) = RslChannel().read(Evidence(url=HOST, robots=robots))
    assert (signal.unreadable, signal.raw) == (True, NAME)


@pytest.mark.parametrize(
    ("robots", "expected"),
    [
        ("License: https://a.example/l.xml\nUser-agent: *\nAllow: /\n", ["https://a.example/l.xml"]),
        ("License: /l.xml\n", [f"{HOST}/l.xml"]),
        ("License: /g\nUser-agent: assay\nAllow: /\nLicense: /own\nUser-agent: b\nLicense: /b\n", [f"{HOST}/own"]),
        ("License: /g\nUser-agent: b\nLicense: /b\nAllow: /\n", [f"{HOST}/g"]),
        ("User-agent: b\nDisallow: /\n\nLicense: /end\n", [f"{HOST}/end"]),
        ("License: /g\nUser-agent: GPTBot\nUser-agent: CCBot\nLicense: /d\nAllow: /\n", [f"{HOST}/g", f"{HOST}/d"]),
        ("User-agent: *\nLicense: /g\nAllow: /\nUser-agent: CCBot\nLicense: /d", [f"{HOST}/g", f"{HOST}/d"]),
        ("User-agent: assay\nAllow: /\nLicense: /own\nUser-agent: GPTBot\nLicense: /d\n", [f"{HOST}/own"]),
        ("License: ftp://a.example/x\nLicense: http://[\nLicense: javascript:x\n", []),
    ],
)
def test_licences_named_by_robots_txt(robots, expected):
    evidence = Evidence(url=HOST, robots=Document(f"{HOST}/robots.txt", robots.encode()))
    assert list(rsl_urls(evidence)) == expected


def test_a_licence_for_other_crawlers_refuses_and_does_not_permit():
    robots = Document(f"{HOST}/robots.txt", b"License: /g\nUser-agent: GPTBot\nLicense: /d\n")
    silent = rsl(content("<license></license>"))
    for licences, verdict in ((NO_AI, D), (f"<license>{PERMIT}</license>", U)):
        named = (Document(f"{HOST}/g", silent), Document(f"{HOST}/d", rsl(content(licences))))
        found = RslChannel().read(Evidence(url=HOST, robots=robots, rsl=named))
        assert [signal.verdict for signal in found] == [U, verdict]
        assert list(HostChannels().compile(robots, rsl=named, host=HOST).decide(HOST).signals) == found


def test_more_licences_than_are_read_count_as_unreadable():
    robots = Document(f"{HOST}/robots.txt", "".join(f"License: /{n}\n" for n in range(MAX_LINKS + 2)).encode())
    policy = HostChannels().compile(robots)
    assert policy.rsl_urls == tuple(f"{HOST}/{n}" for n in range(MAX_LINKS))
    assert [signal.unreadable for signal in policy.decide(HOST).signals] == [True]
    assert not policy.decide(HOST).allowed_to_fetch
    link = '; rel="license"; type="application/rsl+xml"'
    headers = tuple(("Link", f"</{n}>{link}") for n in range(MAX_LINKS + 2))
    fetched = tuple(Document(f"{HOST}/{n}", rsl(content(f"<license>{PERMIT}</license>"))) for n in range(MAX_LINKS))
    found = RslChannel().read(Evidence(url=HOST, headers=headers, rsl=fetched))
    assert [signal.unreadable for signal in found] == [False] * MAX_LINKS + [True]


def test_licences_named_by_headers_and_page():
    rel = 'rel="license"; type="application/rsl+xml"'
    page = b'<link rel="license" type="application/rsl+xml" href="/p.xml"><link rel="license" href="/cc">'
    evidence = Evidence(
        url=f"{HOST}/a.jpg",
        headers=(("Link", f'</x>; rel="next", <https://b.example/h.xml>; {rel}'), ("link", '</cc>; rel="license"')),
        page=Document(f"{HOST}/p", page),
        page_headers=(("LINK", f"</q.xml>;{rel}"),),
    )
    assert list(rsl_urls(evidence)) == ["https://b.example/h.xml", f"{HOST}/q.xml", f"{HOST}/p.xml"]


def test_inline_licence_on_the_page():
    script = f'<script type="application/rsl+xml">{rsl(content(NO_AI, "")).decode()}</script>'
    (signal,) = RslChannel().read(Evidence(url=HOST, page=Document(f"{HOST}/p", script.encode())))
    assert signal.verdict is D
