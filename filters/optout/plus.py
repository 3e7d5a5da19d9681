"""IPTC/PLUS Data Mining: the property `plus:DataMining` in a picture's XMP (PLUS LDF, IPTC Photo Metadata 2023.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from filters.optout.base import Evidence, Signal, Verdict, clipped
from filters.optout.embedded import Embedded, Packet, read_embedded
from filters.optout.xmp import Statement

_NAMESPACE = "http://ns.useplus.org/ldf/xmp/1.0/"
_VOCABULARY = re.compile(r"https?://ns\.useplus\.org/ldf/vocab/(DMI-[A-Z-]+)\Z")
#: The same namespace as careless writers spell it (https, other case, no slash), and IPTC's extension schema.
_LOOSE = re.compile(r"https?://(?:ns\.useplus\.org/ldf/xmp/1\.0|iptc\.org/std/iptc4xmpext/2008-02-29)[/#]?\Z", re.I)

#: What a packet that is no XML still says, in plain bytes.
_RAW_DENIAL = re.compile(rb"DMI-PROHIBITED[A-Z-]{0,60}", re.I)

#: A term of the vocabulary, or what is left of one. In a damaged packet that is still XML it may stand anywhere.
_TERM = re.compile(rb"DMI-[A-Z]*|HIBITED-[A-Z]")


@dataclass(frozen=True)
class PlusDataMining:
    """Every `DMI-PROHIBITED*` is a denial for a trainer of generative models, whatever exception it names.

    A permission counts only in the exact namespace and vocabulary, about the picture itself, and where the
    whole file could be read and holds no other word on data mining; a denial counts however it is spelled.
    """

    name: str = "iptc:data-mining"
    spec: str = "PLUS LDF Data Mining (IPTC Photo Metadata 2023.1)"

    def read(self, evidence: Evidence) -> list[Signal]:
        """Return the signals of the picture's XMP."""
        return self.judge(read_embedded(evidence.image))

    def judge(self, embedded: Embedded) -> list[Signal]:
        """Return the signals: one a statement, one a packet that cannot be read."""
        signals: list[Signal] = []
        for packet in embedded.packets:
            signals += self._packet(packet)
        if embedded.doubt or any(signal.verdict is not Verdict.ALLOW for signal in signals):
            signals = [_withheld(signal, embedded.doubt) for signal in signals]
        return list(dict.fromkeys(signals))

    def _packet(self, packet: Packet) -> list[Signal]:
        """Return the signals of one packet; a term that none of its statements holds is one that was not read."""
        terms = len(_TERM.findall(packet.data))
        found = [
            self._statement(packet, statement)
            for statement in packet.statements
            if statement.name.lower() == "datamining" or (terms and _terms(statement))
        ]
        if packet.problem:
            return [*found, *self._unreadable(packet)]
        if terms and terms > sum(_terms(statement) for statement in packet.statements):
            found.append(self._signal(packet, "A term of the PLUS vocabulary stands where no property holds it."))
        return found

    def _statement(self, packet: Packet, statement: Statement) -> Signal:
        verdict, detail, unreadable = _judge(statement)
        raw = clipped(f"{{{statement.namespace}}}{statement.name} = {statement.value}")
        return Signal(self.name, verdict, raw, self.spec, packet.source, detail, packet.sha256, unreadable=unreadable)

    def _unreadable(self, packet: Packet) -> list[Signal]:
        broken = self._signal(packet, f"The XMP packet cannot be read: {packet.problem}.")
        denial = _RAW_DENIAL.search(packet.data) if not packet.statements else None
        if denial is None:
            return [broken]
        detail = "The XMP packet cannot be read, and a prohibition of data mining stands in it."
        raw = denial[0].decode("ascii")
        return [broken, Signal(self.name, Verdict.DENY, raw, self.spec, packet.source, detail, packet.sha256)]

    def _signal(self, packet: Packet, detail: str) -> Signal:
        """Return the signal of a packet whose word on data mining, if it has one, is not known."""
        told = clipped(detail)
        return Signal(self.name, Verdict.UNKNOWN, "", self.spec, packet.source, told, packet.sha256, unreadable=True)


def _terms(statement: Statement) -> int:
    """Count the terms of the vocabulary in a value, misspelled ones too."""
    return len(_TERM.findall(statement.value.encode("utf-8", "replace")))


def _judge(statement: Statement) -> tuple[Verdict, str, bool]:
    """Return verdict, words, and whether the statement could not be understood."""
    if statement.name.lower() != "datamining" or not _LOOSE.match(statement.namespace):
        # Somebody meant to say something; it is neither a denial by PLUS nor nothing.
        meant = _terms(statement) > 0 or "PROHIBITED" in statement.value.upper()
        return Verdict.UNKNOWN, "A word on data mining in a property that is not the one of PLUS.", meant
    if "PROHIBITED" in statement.value.upper():
        return Verdict.DENY, "The rights holder prohibits data mining or training with the picture.", False
    known = _VOCABULARY.match(statement.value)
    term = known[1] if known else ""
    if term == "DMI-UNSPECIFIED":
        return Verdict.UNKNOWN, "The rights holder states neither permission nor prohibition.", False
    if term == "DMI-ALLOWED" and statement.namespace == _NAMESPACE:
        if statement.top:
            return Verdict.ALLOW, "The rights holder allows data mining and training with the picture.", False
        return Verdict.UNKNOWN, "A permission that belongs to a part of a structure, not to the picture.", False
    return Verdict.UNKNOWN, "A value that is not in the PLUS vocabulary.", True


def _withheld(signal: Signal, doubt: str | None) -> Signal:
    """Return the signal, a permission as `unknown`."""
    if signal.verdict is not Verdict.ALLOW:
        return signal
    why = f"something could not be read ({doubt})" if doubt else "the file says other things on data mining as well"
    return replace(signal, verdict=Verdict.UNKNOWN, detail=clipped(f"A permission that does not count: {why}."))
