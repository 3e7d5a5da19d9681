"""What the channels of one host have in common: a document is compiled once and then asked about paths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from filters.optout.base import Document, Evidence, Fetched, Signal, Verdict, clipped
from filters.optout.patterns import path_of

Key = tuple[int, ...]


class Reader(Protocol):
    """One compiled document: a cheap `key` for a path, and the signals that follow from the key alone."""

    def key(self, path: str) -> Key:
        """Return which rules win on the canonical `path`."""
        ...

    def signals(self, key: Key) -> tuple[Signal, ...]:
        """Return the signals for a key of this reader."""
        ...


@dataclass(frozen=True)
class Constant:
    """A reader that says the same of every path."""

    said: tuple[Signal, ...]

    def key(self, path: str) -> Key:
        """Return the empty key."""
        return ()

    def signals(self, key: Key) -> tuple[Signal, ...]:
        """Return the signals."""
        return self.said


NOTHING = Constant(())


@dataclass(frozen=True)
class Voice:
    """Makes the signals of one channel over one document."""

    channel: str
    spec: str
    document: Document

    def say(self, verdict: Verdict, raw: str, detail: str, unreadable: bool = False) -> Signal:
        """Return a signal with the document's origin, hash and time."""
        return Signal(
            channel=self.channel,
            verdict=verdict,
            raw=clipped(raw),
            spec=self.spec,
            source=clipped(self.document.url),
            detail=clipped(detail),
            evidence_sha256=self.document.sha256 if self.document.body else None,
            fetched_at=self.document.fetched_at,
            unreadable=unreadable,
        )

    def unreadable(self, why: str, raw: str = "") -> Signal:
        """Return the signal of a document that is there, or may be, and could not be read."""
        return self.say(Verdict.UNKNOWN, raw, why, unreadable=True)


def compiled(voice: Voice, what: str, read: Callable[[Voice], Reader]) -> Reader:
    """Return the reader of a document by its state: `read` for a found one, nothing for an absent one."""
    if voice.document.state is Fetched.FOUND:
        return read(voice)
    if voice.document.state is Fetched.ABSENT:
        return NOTHING
    status = f" (HTTP {voice.document.http_status})" if voice.document.http_status else ""
    return Constant((voice.unreadable(f"The host gave no usable answer for {what}{status}; nothing may be assumed."),))


def ask(reader: Reader, url: str | None) -> list[Signal]:
    """Return what a reader says of a URL; of the root where the URL is not known."""
    return list(reader.signals(reader.key(path_of(url or ""))))


def voice_of(channel: str, spec: str, source: str, evidence: Evidence, body: bytes = b"") -> Voice:
    """Return a voice for evidence that is no document of its own, as a header field is."""
    return Voice(channel, spec, Document(source, body, fetched_at=evidence.fetched_at))


def superseded(signal: Signal, by: str) -> Signal:
    """Return a signal that no longer counts, with what stands above it."""
    return replace(
        signal, verdict=Verdict.UNKNOWN, unreadable=False, detail=clipped(f"Superseded by {by}: {signal.detail}")
    )
