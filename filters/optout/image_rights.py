"""All statements that a picture file makes about its own use: its metadata is read once, for every channel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256

from filters.optout.base import Evidence, Signal, Verdict, clipped
from filters.optout.c2pa_reader import Credentials, read_credentials
from filters.optout.cc import CreativeCommons, RightsNotices
from filters.optout.digital_source import DigitalSource
from filters.optout.embedded import Embedded, read_embedded
from filters.optout.plus import PlusDataMining
from filters.optout.tdm_xmp import TdmXmp
from filters.optout.training_mining import TrainingMining


@dataclass(frozen=True)
class ImageRights:
    """The in-file channels and their settings. `anchors` are PEM certificates whose C2PA signatures are trusted."""

    anchors: str = ""

    def read(self, evidence: Evidence) -> tuple[list[Signal], dict[str, bytes]]:
        """Return the signals of picture and record's licence, and the evidence of each by its SHA-256.

        Where one part of the file could not be read, or one signal denies, no other part of it allows, nor does
        the licence of the record.
        """
        embedded = read_embedded(evidence.image)
        credentials = read_credentials(evidence.image, embedded, self.anchors)
        signals = [
            *PlusDataMining().judge(embedded),
            *TdmXmp().judge(embedded),
            *TrainingMining(self.anchors).judge(embedded, credentials),
            *CreativeCommons().judge(embedded, evidence.licence),
            *RightsNotices().judge(embedded),
            *DigitalSource().judge(embedded, credentials),
        ]
        against = next((signal for signal in signals if _stands_against(signal)), None)
        if against is not None:
            told = "denies" if against.verdict is Verdict.DENY else "cannot be read or says another thing"
            signals = [_lowered(signal, f"{against.source} ({against.channel}) {told}") for signal in signals]
        elif embedded.doubt:
            signals = [_lowered(signal, f"the file is broken: {embedded.doubt}") for signal in signals]
        return signals, _evidence(signals, embedded, credentials, evidence.licence)


def read_image(evidence: Evidence) -> tuple[list[Signal], dict[str, bytes]]:
    """Return signals and evidence of all in-file channels with their default settings."""
    return ImageRights().read(evidence)


def _stands_against(signal: Signal) -> bool:
    """Tell whether no permission counts beside the signal: a denial, a thing unread, an undecided word on mining."""
    undecided = signal.verdict is Verdict.UNKNOWN and signal.channel == PlusDataMining().name
    return signal.verdict is Verdict.DENY or signal.unreadable or undecided


def _lowered(signal: Signal, why: str) -> Signal:
    """Return a permission as `unknown`, every other signal as it is."""
    if signal.verdict is not Verdict.ALLOW:
        return signal
    return replace(signal, verdict=Verdict.UNKNOWN, detail=clipped(f"{signal.detail} It does not count: {why}."))


def _evidence(
    signals: list[Signal], embedded: Embedded, credentials: Credentials | None, licence: str | None
) -> dict[str, bytes]:
    """Return the bytes that the signals refer to, by their SHA-256."""
    if not signals:
        return {}
    bodies = [packet.data for packet in embedded.packets]
    bodies += [text.value.encode() for text in embedded.texts]
    if credentials is not None:
        bodies.append(credentials.evidence)
    if licence:
        bodies.append(licence.encode("utf-8", "backslashreplace"))
    named = {signal.evidence_sha256 for signal in signals}
    return {sha: body for body in bodies if (sha := sha256(body).hexdigest()) in named}
