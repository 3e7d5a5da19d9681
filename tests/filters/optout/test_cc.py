"""Licences and notices: only CC0 is a permission, nothing is an opt-out."""

from __future__ import annotations

import pytest
from metadata_files import chunk, itxt, png, xmp

from filters.optout.base import Evidence, Verdict
from filters.optout.cc import CreativeCommons, RightsNotices

CC = 'xmlns:cc="http://creativecommons.org/ns#"'
ZERO = "http://creativecommons.org/publicdomain/zero/1.0/"


def licence(value):
    (signal,) = CreativeCommons().read(Evidence(licence=value))
    return signal.verdict


@pytest.mark.parametrize(
    "value", [ZERO, ZERO.replace("http:", "https:"), ZERO.rstrip("/"), ZERO + "deed.en", "CC0", "CC0-1.0", "cc0 1.0"]
)
def test_cc0_is_a_permission(value):
    assert licence(value) is Verdict.ALLOW


@pytest.mark.parametrize(
    "value",
    [
        "https://creativecommons.org/licenses/by/4.0/",
        "https://creativecommons.org/licenses/by-nc-nd/4.0/",
        "https://creativecommons.org/publicdomain/mark/1.0/",
        "http://creativecommons.org/licenses/publicdomain/",
        "http://web.resource.org/cc/PublicDomain",
        "http://creativecommons.org.example.org/publicdomain/zero/1.0/",
        "http://example.org/?http://creativecommons.org/publicdomain/zero/1.0/",
        ZERO + "but-not-for-training",
        "not CC0",
        "CC0 except for training",
        "MIT",
        "\ud800",
    ],
)
def test_every_other_licence_is_unknown(value):
    assert licence(value) is Verdict.UNKNOWN


def test_the_detail_names_the_conditions():
    (signal,) = CreativeCommons().read(Evidence(licence="https://creativecommons.org/licenses/by-nc-nd/4.0/"))
    assert "non-commercial" in signal.detail
    assert "no derivatives" in signal.detail


@pytest.mark.parametrize("namespace", ["http://creativecommons.org/ns#", "http://web.resource.org/cc/"])
def test_cc_licence_in_the_picture(namespace):
    packet = xmp(f'<cc:license rdf:resource="{ZERO}"/>', namespaces=f'xmlns:cc="{namespace}"')
    (signal,) = CreativeCommons().read(Evidence(image=png(itxt(packet))))
    assert (signal.verdict, signal.raw) == (Verdict.ALLOW, ZERO)


def test_two_licences_that_differ_permit_nothing():
    packet = xmp('<cc:license rdf:resource="https://creativecommons.org/licenses/by/4.0/"/>', namespaces=CC)
    found = CreativeCommons().read(Evidence(image=png(itxt(packet)), licence=ZERO))
    assert [s.verdict for s in found] == [Verdict.UNKNOWN, Verdict.UNKNOWN]


def test_no_licence_no_signal():
    assert CreativeCommons().read(Evidence(licence=" ")) == []


def test_notices_are_kept_word_by_word_and_decide_nothing():
    packet = xmp(
        '<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">(c) A</rdf:li></rdf:Alt></dc:rights>',
        'xmpRights:Marked="True" xmpRights:UsageTerms="No use"',
        'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/"',
    )
    found = RightsNotices().read(Evidence(image=png(itxt(packet), chunk(b"tEXt", b"Copyright\0(c) B"))))
    assert {s.verdict for s in found} == {Verdict.UNKNOWN}
    assert {s.raw for s in found} == {"Marked = True", "UsageTerms = No use", "rights = (c) A", "(c) B"}
    assert not any(s.unreadable for s in found)
