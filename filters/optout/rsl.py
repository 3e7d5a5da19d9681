"""RSL 1.0 licences: documents named by robots.txt, header or page, and inline on the page.

The most specific `content` that says anything about training decides; all documents together resolve to the most
restrictive. A licence that is named and was not obtained leaves the picture unlicensed (§4.3): it is unreadable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from filters.optout.base import Document, Evidence, Fetched, Signal, Verdict
from filters.optout.pages import evidence_tags
from filters.optout.patterns import PathIndex, path_of
from filters.optout.readers import Constant, Key, Reader, Voice
from filters.optout.rsl_links import MEDIA_TYPE, rsl_urls
from filters.optout.rsl_terms import NotRsl, Terms, parse_rsl
from filters.optout.urls import read_address

NAME = "rsl"
SPEC = "RSL 1.0 (RSL-SPEC-1.0, 2025-12-10)"
_RANKS = (Verdict.DENY, Verdict.ALLOW, Verdict.UNKNOWN)


class _RslReader:
    """The terms of one document for one host; `url=""` stands for whatever the document was attached to."""

    def __init__(self, terms: Sequence[Terms], host: str, voice: Voice) -> None:
        place = _place(host)
        own = [found for found in terms if _for_host(found.url, place)]
        self._everywhere = sorted((t for t in own if t.pattern is None), key=lambda t: _RANKS.index(t.verdict))
        spoken = [(t.pattern, t) for t in own if t.pattern is not None and t.verdict is not Verdict.UNKNOWN]
        silent = [(t.pattern, t) for t in own if t.pattern is not None and t.verdict is Verdict.UNKNOWN]
        spoken.sort(key=lambda pair: (-pair[0].octets, _RANKS.index(pair[1].verdict)))
        self._terms = [found for _, found in (*spoken, *silent)]
        self._index = PathIndex([pattern for pattern, _ in (*spoken, *silent)])
        self._voice = voice

    def key(self, path: str) -> Key:
        """Return the number of the content that decides."""
        return (self._index.first(path),)

    def signals(self, key: Key) -> tuple[Signal, ...]:
        """Return what it says, and what the document says of all that it is attached to."""
        found = self._everywhere[:1] if key[0] < 0 else [*self._everywhere[:1], self._terms[key[0]]]
        return tuple(
            self._voice.say(t.verdict, f'<content url="{t.url}">: {t.detail}', f"The RSL licence {t.detail}.")
            for t in found
        )


def _for_host(url: str, place: str) -> bool:
    """Return whether a `url` attribute can mean a resource at `place`: a path, or a URL of that host and port."""
    try:
        netloc = urlsplit(url).netloc
    except ValueError:
        return False
    if not netloc or not place:
        return True
    named = _place(url)
    return named == place or (named.startswith("*.") and place.endswith(named[1:]))


def _place(origin: str) -> str:
    """Return host and port as they are compared: punycode, no user, no default port; empty where there is no host."""
    address = read_address(origin)
    return address.key.rpartition("://")[2].partition("/")[0] if address else ""


@dataclass(frozen=True)
class RslChannel:
    """Reads the RSL documents of the evidence and the page's inline licences."""

    agent: str = "assay"
    name: str = NAME
    spec: str = SPEC

    def compile(self, document: Document, host: str = "") -> Reader:
        """Return the reader of one document for pictures of `host`: its origin or one of its URLs; empty: any."""
        voice = Voice(self.name, self.spec, document)
        if document.state is not Fetched.FOUND:
            return Constant((voice.unreadable("An RSL licence is named and could not be fetched: unlicensed."),))
        try:
            return _RslReader(parse_rsl(document.body), host, voice)
        except NotRsl as error:
            return Constant((voice.unreadable(f"An RSL licence is named and cannot be read: {error}."),))

    def read(self, evidence: Evidence) -> list[Signal]:
        """Return the signals of all documents, and one for each licence that is named and was not captured."""
        host = evidence.url or ""
        path = path_of(evidence.url or "")
        said: list[Signal] = []
        for document in evidence.rsl:
            reader = self.compile(document, host)
            said += reader.signals(reader.key(path))
        for document in self._inline(evidence):
            reader = self.compile(document, host)
            # what is captured, and stored, is the page
            page = evidence.page.sha256 if evidence.page else None
            said += [replace(signal, evidence_sha256=page) for signal in reader.signals(reader.key(path))]
        captured = {document.url for document in evidence.rsl}
        for url in rsl_urls(evidence, self.agent):
            if url not in captured:
                voice = Voice(self.name, self.spec, Document(url, fetched_at=evidence.fetched_at))
                said.append(voice.unreadable("An RSL licence is named here and was not fetched.", url))
        return said

    def _inline(self, evidence: Evidence) -> list[Document]:
        page = evidence.page
        if page is None:
            return []
        return [
            Document(f"{page.url} (script)", tag.text.strip().encode("utf-8", "replace"), fetched_at=page.fetched_at)
            for tag in evidence_tags(evidence)
            if tag.name == "script" and tag.get("type").lower().startswith(MEDIA_TYPE)
        ][:8]
