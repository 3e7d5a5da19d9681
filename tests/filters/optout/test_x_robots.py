"""X-Robots-Tag: any case, agents, repeats, and the colons and commas of dates."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from filters.optout.agents import obeyed
from filters.optout.base import Document, Evidence, Verdict
from filters.optout.directives import parse_directives, parsed_date
from filters.optout.x_robots import DirectivePolicy, XRobotsChannel

D, U = Verdict.DENY, Verdict.UNKNOWN
NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)


def read(*values: str, noindex: bool = False, at: datetime | None = NOW, name: str = "X-Robots-Tag"):
    channel = XRobotsChannel(DirectivePolicy(obeyed(("ourbot",)), noindex))
    return channel.read(Evidence(url="https://example.org/a", headers=tuple((name, v) for v in values), fetched_at=at))


def verdicts(*values: str, **settings: object) -> list[Verdict]:
    return [signal.verdict for signal in read(*values, **settings)]


@pytest.mark.parametrize(
    "value",
    [
        "noai",
        "NOAI",
        "noimageai",
        "noai, noimageai",
        "noai;",
        " noindex ,NoAI",
        '"noai"',
        "noindex noai",
        "assay: noai",
        "ASSAY:noai",
        "GPTBot: noindex, noai",
        "ourbot: noai",
        "*: noai",
        "otherbot: noindex, assay: noai",
        "unavailable_after: 25 Jun 2010 15:00:00 PST, noai",
        "unavailable_after: Friday, 25-Jun-10 15:00:00 UTC, noai",
        "max-snippet: 20, noai",
        "max-image-preview:large noai",
        "unavailable_after: noai",
        "noai: true",
        "rating: adult, noai",
        "rating: noai",
        "indexifembedded: noai",
        "noindex, indexifembedded: noai",
        "noodp: x, noai",
        "all, noai",
    ],
)
def test_refusals(value):
    assert verdicts(value) == [D]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "all",
        "noindex",
        "none",
        "noimageindex",
        "otherbot: noai",
        "otherbot: noindex, noai",
        "noairs",
        "no ai",
        ":",
    ],
)
def test_what_refuses_nothing_here(value):
    assert verdicts(value) == [U]


@pytest.mark.parametrize("name", ["x-robots-tag", "X-ROBOTS-TAG", "Robots-Tag"])
def test_field_name_in_any_case(name):
    assert verdicts("noai", name=name) == [D]


def test_repeated_fields_are_read_apart():
    assert sorted(verdicts("otherbot: noindex", "noai")) == [D, U]
    assert verdicts(*["all"] * 500, "noai")[0] is D


def test_fields_of_the_page_count():
    evidence = Evidence(page=Document("https://example.org/p"), page_headers=(("x-robots-tag", "noimageai"),))
    (signal,) = XRobotsChannel().read(evidence)
    assert (signal.verdict, signal.source) == (D, "https://example.org/p (header X-Robots-Tag)")


@pytest.mark.parametrize("value", ["noindex", "NONE", "noimageindex", "assay: noindex", "nofollow, noindex"])
def test_search_directives_refuse_by_policy(value):
    assert verdicts(value, noindex=True) == [D]
    assert verdicts(value) == [U]


@pytest.mark.parametrize(
    ("date", "verdict"),
    [
        ("25 Jun 2010 15:00:00 PST", D),
        ("Friday, 25-Jun-10 15:00:00 UTC", D),
        ("Fri, 25 Jun 2010 15:00:00 GMT", D),
        ("2010-06-25T15:00:00Z", D),
        ("2010-06-25", D),
        ("25 Jun 2030 15:00:00 PST", U),
        ("2030-01-01T00:00:00+02:00", U),
    ],
)
def test_unavailable_after_by_policy(date, verdict):
    assert verdicts(f"unavailable_after: {date}", noindex=True) == [verdict]
    assert verdicts(f"noarchive, unavailable_after: {date}, nofollow", noindex=True) == [verdict]
    assert verdicts(f"unavailable_after: {date}") == [U]


def test_a_date_that_cannot_be_judged_is_unreadable():
    for value, at in (("unavailable_after: soon", NOW), ("unavailable_after: 2010-06-25", None)):
        (signal,) = read(value, noindex=True, at=at)
        assert (signal.verdict, signal.unreadable) == (U, True)


def test_dates_end_where_directives_begin():
    found = parse_directives("unavailable_after: Friday, 25-Jun-10 15:00:00 UTC, noai, otherbot: noindex")
    assert [(d.agent, d.name, d.value) for d in found] == [
        (None, "unavailable_after", "Friday, 25-Jun-10 15:00:00 UTC"),
        (None, "noai", ""),
        ("otherbot", "noindex", ""),
    ]


@pytest.mark.parametrize("text", ["", "x", "99 Jun 99999999 99:99:99", "0000-00-00", "1 Jan 1 00:00:00 +9999", "\0"])
def test_no_date_is_none_or_a_time(text):
    when = parsed_date(text)
    assert when is None or when.tzinfo is not None
