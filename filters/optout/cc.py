"""Licences and rights notices: Creative Commons licence, usage terms, copyright lines of XMP, EXIF and IPTC.

A licence is no statement on training. CC0 waives every right, so it counts as a permission; every other
Creative Commons licence grants use under conditions whose bearing on training is disputed, and the Public
Domain Mark and the old public domain certificates are only somebody's opinion: all of them are `unknown`
here, and the recipe's list of allowed licences decides. A copyright line ("All rights reserved") reserves
nothing beyond what the law gives anyway; it is kept as `unknown`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from filters.optout.base import Evidence, Signal, Verdict, clipped
from filters.optout.embedded import Embedded, read_embedded
from filters.optout.xmp import DC, DCTERMS, XMP_RIGHTS

_CC = frozenset({"http://creativecommons.org/ns#", "http://web.resource.org/cc/"})
_LICENCE_URI = re.compile(
    r"https?://(?:www\.)?creativecommons\.org/(publicdomain|licenses)/([A-Za-z+-]{1,20})(?:/([\d.]{1,5}))?(?:[/?#]|\Z)",
    re.I,
)
_CC0_NAME = re.compile(r"cc[ -]?(?:0|zero)(?:[ -]1\.0)?\Z", re.I)
_CC0_URI = re.compile(
    r"https?://(?:www\.)?creativecommons\.org/publicdomain/zero/1\.0(?:/(?:(?:deed|legalcode)(?:\.[a-z-]{2,7})?)?)?\Z",
    re.I,
)

_RIGHTS = (
    (XMP_RIGHTS, "UsageTerms"),
    (XMP_RIGHTS, "WebStatement"),
    (XMP_RIGHTS, "Marked"),
    (DC, "rights"),
    (DCTERMS, "license"),
    (DCTERMS, "rights"),
    ("http://ns.useplus.org/ldf/xmp/1.0/", "OtherConstraints"),
)


@dataclass(frozen=True)
class CreativeCommons:
    """`cc:license` in the picture's XMP and the record's own licence: CC0 is a permission, all else unknown."""

    name: str = "cc:licence"
    spec: str = "Creative Commons ccREL; XMP cc:license"

    def read(self, evidence: Evidence) -> list[Signal]:
        """Return the signals of XMP and record."""
        return self.judge(read_embedded(evidence.image), evidence.licence)

    def judge(self, embedded: Embedded, licence: str | None) -> list[Signal]:
        """Return one signal a licence."""
        found = [
            self._signal(statement.value, packet.source, packet.sha256, embedded.doubt is None and statement.top)
            for packet, statement in embedded.values(_CC, "license")
        ]
        if licence and licence.strip():
            sha = sha256(licence.encode("utf-8", "backslashreplace")).hexdigest()
            found.append(self._signal(licence.strip(), "record:licence", sha, True))
        grants = {signal.raw for signal in found if signal.verdict is Verdict.ALLOW}
        if len({signal.raw for signal in found} - grants) and grants:
            # Two licences that differ: one of them is wrong, and nobody knows which.
            found = [self._signal(s.raw, s.source, s.evidence_sha256, False) for s in found]
        return list(dict.fromkeys(found))

    def _signal(self, value: str, source: str, sha: str | None, may_grant: bool) -> Signal:
        verdict, detail = _judge(value)
        if verdict is Verdict.ALLOW and not may_grant:
            verdict, detail = (
                Verdict.UNKNOWN,
                "CC0, which does not count: the file has other or unreadable statements.",
            )
        return Signal(self.name, verdict, clipped(value), self.spec, source, detail, sha)


def _judge(value: str) -> tuple[Verdict, str]:
    """Return what a licence means for training, and in words."""
    if _CC0_URI.match(value) or _CC0_NAME.match(value):
        return Verdict.ALLOW, "CC0: the maker waives all rights."
    known = _LICENCE_URI.match(value)
    code = known[2].lower() if known else ""
    if known is None or (known[1].lower() == "publicdomain" and code != "mark"):
        return Verdict.UNKNOWN, "A licence; it says nothing on training."
    if code in ("mark", "publicdomain"):
        return Verdict.UNKNOWN, "Marked as public domain by somebody; it says nothing on training."
    conditions = {"nc": "non-commercial use only", "nd": "no derivatives", "sa": "share alike"}
    told = [words for part, words in conditions.items() if part in code.split("-")]
    return Verdict.UNKNOWN, f"A Creative Commons licence ({', '.join(['attribution', *told])}), not an opt-out."


@dataclass(frozen=True)
class RightsNotices:
    """Copyright lines and usage terms in XMP, EXIF, IPTC IIM and PNG text: kept for people, verdict `unknown`."""

    name: str = "rights:notice"
    spec: str = "XMP part 2; EXIF 3.0; IPTC IIM 4.2"

    def read(self, evidence: Evidence) -> list[Signal]:
        """Return the notices of the picture."""
        return self.judge(read_embedded(evidence.image))

    def judge(self, embedded: Embedded) -> list[Signal]:
        """Return one signal a notice."""
        found = [
            Signal(self.name, Verdict.UNKNOWN, clipped(raw), self.spec, source, "A notice for people.", sha)
            for raw, source, sha in (*_in_xmp(embedded), *_outside(embedded))
        ]
        return list(dict.fromkeys(found))


def _in_xmp(embedded: Embedded) -> Iterator[tuple[str, str, str]]:
    for namespace, name in _RIGHTS:
        for packet, statement in embedded.values(frozenset({namespace}), name):
            if statement.value:
                yield f"{name} = {statement.value}", packet.source, packet.sha256


def _outside(embedded: Embedded) -> Iterator[tuple[str, str, str]]:
    for text in embedded.texts:
        yield text.value, text.source, sha256(text.value.encode()).hexdigest()
