"""IPTC/PLUS Data Mining: which values deny, which allow, and what a permission needs to count."""

from __future__ import annotations

import pytest
from metadata_files import PLACES, PLUS, VOCAB, itxt, jpeg_xmp, png, xmp

from filters.optout.base import Evidence, Verdict, strongest
from filters.optout.plus import PlusDataMining

D, A, U = Verdict.DENY, Verdict.ALLOW, Verdict.UNKNOWN
PROHIBITED = [
    "DMI-PROHIBITED",
    "DMI-PROHIBITED-AIMLTRAINING",
    "DMI-PROHIBITED-GENAIMLTRAINING",
    "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING",
    "DMI-PROHIBITED-SEECONSTRAINT",
    "DMI-PROHIBITED-SEEEMBEDDEDRIGHTSEXPR",
    "DMI-PROHIBITED-SEELINKEDRIGHTSEXPR",
]


def signals(*packets):
    return PlusDataMining().read(Evidence(image=png(*(itxt(packet) for packet in packets))))


def said(value, namespaces=f'xmlns:plus="{PLUS}"'):
    return xmp(attributes=f'plus:DataMining="{value}"', namespaces=namespaces)


def read(*packets):
    found = signals(*packets)
    return strongest(s.verdict for s in found), any(s.unreadable for s in found)


@pytest.mark.parametrize("term", PROHIBITED)
@pytest.mark.parametrize("place", PLACES)
def test_every_prohibition_denies_in_every_place(term, place):
    image = PLACES[place](said(VOCAB + term))
    (signal,) = PlusDataMining().read(Evidence(image=image))
    assert signal.verdict is D
    assert term in signal.raw
    assert signal.evidence_sha256


@pytest.mark.parametrize(
    ("value", "verdict", "unreadable"),
    [
        (VOCAB + "DMI-ALLOWED", A, False),
        (VOCAB.replace("http:", "https:") + "DMI-ALLOWED", A, False),
        (VOCAB + "DMI-UNSPECIFIED", U, False),
        # spelled in other ways: a denial counts, a permission does not
        ("DMI-PROHIBITED-AIMLTRAINING", D, False),
        ("http://ns.useplus.org/ldf/value/DMI-PROHIBITED", D, False),
        ("Prohibited for AI/ML training", D, False),
        (VOCAB + "DMI-PROHIBITED-SOMETHINGNEW", D, False),
        (VOCAB.upper() + "dmi-prohibited", D, False),
        ("DMI-ALLOWED", U, True),
        ("http://ns.useplus.org/ldf/value/DMI-ALLOWED", U, True),
        (VOCAB + "DMI-ALLOWED-SOMETHINGNEW", U, True),
        (VOCAB + "DMI-ALLOWED\n", A, False),
        (VOCAB + "dmi-allowed", U, True),
        (VOCAB + "DMI-UNKNOWN-VALUE", U, True),
        ("", U, True),
        ("yes", U, True),
    ],
)
def test_values(value, verdict, unreadable):
    assert read(said(value)) == (verdict, unreadable)


@pytest.mark.parametrize(
    ("namespace", "denied"),
    [
        (PLUS, D),
        (PLUS.rstrip("/"), D),
        (PLUS.replace("http:", "https:"), D),
        ("http://iptc.org/std/Iptc4xmpExt/2008-02-29/", D),
        ("http://example.org/plus/", U),
        ("http://ns.useplus.org.example.org/ldf/xmp/1.0/", U),
    ],
)
def test_namespaces(namespace, denied):
    bound = f'xmlns:plus="{namespace}"'
    verdict, unreadable = read(said(VOCAB + "DMI-PROHIBITED", bound))
    assert (verdict, unreadable) == (denied, denied is U)
    assert read(said(VOCAB + "DMI-ALLOWED", bound))[0] is (A if namespace == PLUS else U)


def test_a_property_of_that_name_with_another_meaning_is_nothing():
    assert read(said("open pit", 'xmlns:plus="http://example.org/mines/"')) == (U, False)


@pytest.mark.parametrize(
    "inner",
    [
        f'=plus:DataMining rdf:resource="{VOCAB}DMI-PROHIBITED"/>',
        f"<!-- {VOCAB}DMI-PROHIBITED -->",
        f'<plus:DctaMining rdf:resource="{VOCAB}DROHIBITED-AIMLTRAINING"/>',
        f'<plus:DataMining rdf:rEsource="{VOCAB}DMI-PROHIBITED"/>',
        f'<plus:DataMining q:resource="{VOCAB}DMI-PROHIBITED" xmlns:q="urn:q"/>',
        f'<q:Text xmlns:q="urn:q">{VOCAB}DMI-PROHIBITED</q:Text>',
    ],
)
def test_a_term_that_no_property_holds_is_not_passed_over(inner):
    assert read(xmp(inner)) == (U, True)
    assert read(xmp(inner, f'plus:DataMining="{VOCAB}DMI-ALLOWED"')) == (U, True)


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_words_that_differ_the_denial_wins(order):
    both = [said(VOCAB + "DMI-ALLOWED"), said(VOCAB + "DMI-PROHIBITED")][::order]
    assert read(*both) == (D, False)
    inside = xmp(f"<plus:DataMining>{VOCAB}DMI-PROHIBITED</plus:DataMining>", f'plus:DataMining="{VOCAB}DMI-ALLOWED"')
    assert [s.verdict for s in signals(inside)].count(A) == 0
    assert read(inside) == (D, False)


@pytest.mark.parametrize("other", [VOCAB + "DMI-UNSPECIFIED", VOCAB + "DMI-OTHER"])
def test_a_permission_beside_another_word_does_not_count(other):
    assert read(said(VOCAB + "DMI-ALLOWED"), said(other))[0] is U


def test_a_permission_beside_a_packet_that_cannot_be_read_does_not_count():
    assert read(said(VOCAB + "DMI-ALLOWED"), b"<broken") == (U, True)


def test_a_permission_for_a_part_does_not_count_and_a_denial_does():
    part = '<q:Part rdf:parseType="Resource"><plus:DataMining>%s</plus:DataMining></q:Part>'
    names = f'xmlns:plus="{PLUS}" xmlns:q="urn:q"'
    assert read(xmp(part % (VOCAB + "DMI-ALLOWED"), namespaces=names)) == (U, False)
    assert read(xmp(part % (VOCAB + "DMI-PROHIBITED"), namespaces=names)) == (D, False)


def test_a_prohibition_in_a_broken_packet_still_denies():
    image = jpeg_xmp(said(VOCAB + "DMI-PROHIBITED-AIMLTRAINING")[:-100])
    found = PlusDataMining().read(Evidence(image=image))
    assert {s.verdict for s in found} == {D, U}
    assert [s.raw for s in found if s.verdict is D] == ["DMI-PROHIBITED-AIMLTRAINING"]


@pytest.mark.parametrize("image", [None, b"", b"\x89PNG", b"hello", b"\xff\xd8\xff"])
def test_no_picture_no_signal(image):
    assert PlusDataMining().read(Evidence(image=image)) == []
