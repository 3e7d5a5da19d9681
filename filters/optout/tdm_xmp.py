"""TDM reservation inside a picture: the properties `tdm:reservation` and `tdm:policy` in XMP.

TDMRep (W3C Community Group report of 10 May 2024) defines them for PDF only. People put them into
pictures as well; a reservation is honoured there, and a 0 is no permission because no specification says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from filters.optout.base import Evidence, Signal, Verdict, clipped
from filters.optout.embedded import Embedded, read_embedded

_NAMESPACE = re.compile(r"https?://www\.w3\.org/ns/tdmrep[/#]?\Z", re.I)
_NAMES = ("reservation", "tdm-reservation")


@dataclass(frozen=True)
class TdmXmp:
    """`1` is a denial, `0` unknown; any other value is one that could not be understood."""

    name: str = "tdmrep:xmp"
    spec: str = "TDMRep CG Final Report 2024-05-10, PDF metadata, by analogy"

    def read(self, evidence: Evidence) -> list[Signal]:
        """Return the signals of the picture's XMP."""
        return self.judge(read_embedded(evidence.image))

    def judge(self, embedded: Embedded) -> list[Signal]:
        """Return one signal a statement."""
        signals = []
        for packet in embedded.packets:
            for statement in packet.statements:
                if statement.name not in _NAMES or not _NAMESPACE.match(statement.namespace):
                    continue
                verdict, detail = {
                    "1": (Verdict.DENY, "Text and data mining rights are reserved."),
                    "0": (
                        Verdict.UNKNOWN,
                        "The file says that mining rights are not reserved; that is no permission.",
                    ),
                }.get(statement.value, (Verdict.UNKNOWN, "A TDM reservation that is neither 0 nor 1."))
                raw = clipped(f"tdm:{statement.name} = {statement.value}")
                odd = statement.value not in ("0", "1")
                signals.append(
                    Signal(self.name, verdict, raw, self.spec, packet.source, detail, packet.sha256, unreadable=odd)
                )
        return list(dict.fromkeys(signals))
