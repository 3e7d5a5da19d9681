"""Pictures whose metadata names a generative model are marked; all others are not."""

from __future__ import annotations

import pytest
from metadata_files import itxt, plain, png, xmp
from signed_files import signed

from filters.optout.base import Evidence, Verdict
from filters.optout.digital_source import CHANNEL, DigitalSource, is_synthetic

TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
EXT = 'xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'


@pytest.mark.parametrize(
    ("term", "marked"),
    [
        ("trainedAlgorithmicMedia", True),
        ("compositeWithTrainedAlgorithmicMedia", True),
        ("compositeSynthetic", True),
        ("algorithmicMedia", False),
        ("digitalCapture", False),
        ("", False),
    ],
)
def test_source_type_in_xmp(term, marked):
    image = png(itxt(xmp(attributes=f'e:DigitalSourceType="{TERMS}{term}"', namespaces=EXT)))
    found = DigitalSource().read(Evidence(image=image))
    assert is_synthetic(found) is marked
    assert [(s.channel, s.verdict, s.raw) for s in found] == [(CHANNEL, Verdict.UNKNOWN, TERMS + term)] * marked


@pytest.mark.parametrize("term", ["trainedAlgorithmicMedia", "digitalCapture"])
def test_source_type_in_content_credentials(term):
    image = signed(plain("PNG"), source_type=TERMS + term)
    assert is_synthetic(DigitalSource().read(Evidence(image=image))) is (term != "digitalCapture")


def test_a_synthetic_part_marks_the_picture_and_a_synthetic_source_does_not():
    made = signed(plain("PNG"), source_type=TERMS + "trainedAlgorithmicMedia")
    for relation, marked in (("componentOf", True), ("inputTo", False)):
        image = signed(plain("PNG"), ingredients=((relation, made),))
        assert is_synthetic(DigitalSource().read(Evidence(image=image))) is marked
