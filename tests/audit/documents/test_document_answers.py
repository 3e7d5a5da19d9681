"""Rules of the law's templates, and how numbers, times and licences are written."""

import pytest
from made_facts import full_facts

from audit.documents import answers as a
from audit.documents import answers_rights as r
from audit.documents.facts import Domain, Domains, Fact, Facts, Material
from audit.documents.licences import spdx_id, web_address
from audit.documents.provider import Provider, YesNo
from audit.documents.text import block, clean, counted, markdown, share, size, when


def domains(count: int) -> Domains:
    """`count` domains, the smallest first."""
    return Domains(tuple(Domain(f"d{n:05d}.example", 1, n + 1) for n in range(count)), 0)


@pytest.mark.parametrize(
    ("count", "sme", "listed"),
    [
        (0, False, 0),
        (1, False, 1),
        (10, False, 1),
        (11, False, 2),
        (100, False, 10),
        (100, True, 5),
        (30_000, True, 1000),
    ],
)
def test_the_largest_tenth_of_the_domains_is_listed(count, sme, listed):
    found = r.top_domains(domains(count), sme)
    assert len(found) == listed
    if listed:
        assert min(d.nbytes for d in found) > max([d.nbytes for d in domains(count).found[: count - listed]] or [0])


def test_equal_domains_are_listed_by_name():
    twins = Domains((Domain("b.example", 1, 5), Domain("a.example", 9, 5)), 0)
    assert [d.name for d in r.top_domains(twins, False)] == ["a.example"]


@pytest.mark.parametrize(
    ("pictures", "band"),
    [
        (999_999, "less than 1 million images"),
        (1_000_000, "1 million to 1 billion images"),
        (10**9, "more than 1 billion images"),
    ],
)
def test_the_band_of_pictures_is_that_of_the_template(pictures, band):
    made = Material(1, 1, None, {"png": pictures}, {}, None, 0, 0, None, None)
    (image, text) = a.modalities(full_facts(material=Fact(made, "x"))).value.rows
    assert image[2] == band
    assert text[2] == "less than 1 billion tokens"


def test_the_band_of_text_is_not_guessed():
    """A billion bytes may be more or fewer than a billion tokens."""
    made = Material(1, 10**9, None, {"png": 1}, {}, None, 0, 0, None, None)
    assert "not determined" in a.modalities(full_facts(material=Fact(made, "x"))).value.rows[1][2]


def test_languages_are_open_where_none_was_detected():
    made = Material(1, 1, None, {"png": 1}, {}, None, 0, 0, None, None)
    fact = a.languages(full_facts(material=Fact(made, "x")))
    assert fact.value is None
    assert "did not run" in fact.why


def test_many_values_are_counted_together_at_the_end():
    licences = {f"licence {n:02d}": 100 - n for n in range(40)}
    made = Material(1, 1, None, {"png": 1}, licences, None, 0, 0, None, None)
    rows = a.licences(full_facts(material=Fact(made, "x"))).value.rows
    assert len(rows) == a.MOST_ROWS + 1
    assert sum(row[1] for row in rows) == sum(licences.values())


def test_a_crawl_is_stated_by_the_run_and_not_by_the_provider():
    denied = full_facts(provider=Provider(crawled_data=YesNo(False)))
    assert r.crawled(denied).value[0].startswith("Yes.")
    here = full_facts(crawl=Facts().crawl)
    assert r.crawled(here).value == "Yes. as told"
    silent = full_facts(crawl=Facts().crawl, provider=Provider())
    assert r.crawled(silent).value is None
    assert "does not apply" in r.crawler(silent).value.lower()
    assert r.crawl_purpose(silent).value is None
    nobody = full_facts(crawl=Facts().crawl, provider=Provider(crawled_data=YesNo(False)))
    assert "Does not apply" in r.crawl_purpose(nobody).value


@pytest.mark.parametrize(
    ("licence", "known"),
    [
        ("CC0-1.0", "CC0-1.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("http://creativecommons.org/licenses/by-nc-sa/2.5/", "CC-BY-NC-SA-2.5"),
        ("https://spdx.org/licenses/MIT.html", "MIT"),
        ("CC0", None),
        ("http://web.resource.org/cc/PublicDomain", None),
        ("https://creativecommons.org/publicdomain/mark/1.0/", None),
        ("https://creativecommons.org/licenses/by/9.9/", None),
        ("https://evil.example/?https://creativecommons.org/licenses/by/4.0/", None),
        ("GPL-3.0-only OR MIT", None),
    ],
)
def test_a_licence_gets_an_identifier_only_where_it_is_certain(licence, known):
    assert spdx_id(licence) == known


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("https://example.org/a?b=c#d", True),
        ("http://localhost:8000/", True),
        ("javascript:alert(1)", False),
        ("https://example.org/ x", False),
        ("https://user@example.org/", False),
        ("ftp://example.org/", False),
        ('https://example.org/"><script>', False),
    ],
)
def test_only_plain_web_addresses_are_addresses(text, fine):
    assert web_address(text) is fine


def test_text_of_the_data_becomes_one_plain_line():
    assert clean(" a\r\n\tb\u2028c\x00d\u202e ") == "a b c d"
    assert clean("x" * 10, 5) == "xxxx…"
    assert markdown("<b>&") == "&lt;b&gt;&amp;"
    assert markdown("a_b|c") == "a\\_b\\|c"
    assert block("1. x") == "1\\. x"
    assert block("- x") == "\\- x"
    assert block("---") == "\\---"
    assert block("12.6 % of it") == "12.6 % of it"
    assert markdown("1.1 Provider") == "1.1 Provider"


def test_numbers_are_written_without_a_false_zero():
    assert share(1, 10_000) == "under 0.1 %"
    assert share(9_999, 10_000) == "over 99.9 %"
    assert share(0, 10) == "0.0 %"
    assert share(1, 0) == "–"
    assert counted(1, "entry") == "1 entry"
    assert counted(2_000, "entry") == "2,000 entries"
    assert size(999) == "999 bytes"
    assert size(82_728_812) == "82.7 MB (82,728,812 bytes)"
    assert when("2026-11-21T10:00:00+00:00") == "2026-11-21 10:00:00 UTC"
    assert when("yesterday") == "yesterday"
