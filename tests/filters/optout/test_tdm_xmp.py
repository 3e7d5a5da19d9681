"""TDM reservation in XMP: a reservation counts, its absence permits nothing."""

from __future__ import annotations

import pytest
from metadata_files import itxt, png, xmp

from filters.optout.base import Evidence, Verdict
from filters.optout.tdm_xmp import TdmXmp


def read(value, namespace="http://www.w3.org/ns/tdmrep/"):
    packet = xmp(attributes=f'tdm:reservation="{value}"', namespaces=f'xmlns:tdm="{namespace}"')
    return [(s.verdict, s.unreadable) for s in TdmXmp().read(Evidence(image=png(itxt(packet))))]


@pytest.mark.parametrize(
    ("value", "verdict", "unreadable"),
    [
        ("1", Verdict.DENY, False),
        ("0", Verdict.UNKNOWN, False),
        ("true", Verdict.UNKNOWN, True),
        ("", Verdict.UNKNOWN, True),
    ],
)
def test_values(value, verdict, unreadable):
    assert read(value) == [(verdict, unreadable)]


@pytest.mark.parametrize("namespace", ["http://www.w3.org/ns/tdmrep#", "https://www.w3.org/ns/tdmrep"])
def test_namespaces_as_they_are_spelled(namespace):
    assert read("1", namespace) == [(Verdict.DENY, False)]


def test_another_namespace_is_nothing():
    assert read("1", "http://example.org/") == []
