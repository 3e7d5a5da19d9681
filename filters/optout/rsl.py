"""RSL 1.0 licences: documents named by robots.txt, header or page, and inline on the page.

The most specific `content` that says anything about training decides; all documents together resolve to the most
restrictive. A licence that is named and was not obtained leaves the picture unlicensed (§4.3): it is unreadable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from filters.optout.agents import obeyed
from filters.optout.base import Document, Evidence, Fetched, Signal, Verdict
from filters.optout.pages import evidence_tags
from filters.optout.patterns import PathIndex, path_of
from filters.optout.readers import Constant, Key, Reader, Voice
from filters.optout.rsl_links import MAX_LINKS, MEDIA_TYPE, links_for_others, robots_links, rsl_urls
from filters.optout.rsl_terms import NotRsl, Terms, parse_rsl
from filters.optout.urls import read_address

NAME = "rsl"
SPEC = "RSL 1.0 (RSL-SPEC-1.0, 2025-12-10)"
_RANKS = (Verdict.DENY, Verdict.ALLOW, Verdict.UNKNOWN)


class _RslReader:
    """The terms of one document for one host; `url=""` stands for whatever the document was attached to."""

    def __init__(self, terms: Sequence[Terms], host: str, voice: Voice, binds: bool) -> None:
        place = _place(host)
        own = [found for found in terms if _for_host(found.url, place)]
        self._everywhere = sorted((t for t in own if t.pattern is None), key=lambda t: _RANKS.index(t.verdict))
        spoken = [(t.pattern, t) for t in own if t.pattern is not None and t.verdict is not Verdict.UNKNOWN]
        silent = [(t.pattern, t) for t in own if t.pattern is not None and t.verdict is Verdict.UNKNOWN]
        spoken.sort(key=lambda pair: (-pair[0].octets, _RANKS.index(pair[1].verdict)))
        self._terms = [found for _, found in (*spoken, *silent)]
        self._index = PathIndex([pattern for pattern, _ in (*spoken, *silent)])
        self._voice, self._binds = voice, binds

    def key(self, path: str) -> Key:
        """Return the number of the content that decides."""
        return (self._index.first(path),)

    def signals(self, key: Key) -> tuple[Signal, ...]:
        """Return what it says, and what the document says of all that it is attached to."""
        found = self._everywhere[:1] if key[0] < 0 else [*self._everywhere[:1], self._terms[key[0]]]
        return tuple(self._say(terms) for terms in found)

    def _say(self, terms: Terms) -> Signal:
        raw = f'<content url="{terms.url}">: {terms.detail}'
        if terms.verdict is Verdict.ALLOW and not self._binds:
            return self._voice.say(Verdict.UNKNOWN, raw, f"The RSL licence {terms.detail}, but for other crawlers.")
        return self._voice.say(terms.verdict, raw, f"The RSL licence {terms.detail}.")


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
    """Reads the RSL documents of the evidence and the page's inline licences, for `agents`, the own token first."""

    agents: tuple[str, ...] = field(default_factory=obeyed)
    name: str = NAME
    spec: str = SPEC

    def compile(self, document: Document, host: str = "", binds: bool = True) -> Reader:
        """Return the reader of one document for pictures of `host`: its origin or one of its URLs; empty: any.

        One that does not bind us permits nothing.
        """
        voice = Voice(self.name, self.spec, document)
        if document.state is not Fetched.FOUND:
            return Constant((voice.unreadable("An RSL licence is named and could not be fetched: unlicensed."),))
        try:
            return _RslReader(parse_rsl(document.body), host, voice, binds)
        except NotRsl as error:
            return Constant((voice.unreadable(f"An RSL licence is named and cannot be read: {error}."),))

    def of_host(self, robots: Document | None, documents: Sequence[Document], host: str) -> list[Reader]:
        """Return the readers of the documents that a robots.txt names; one more where it names too many."""
        others = links_for_others(robots, self.agents)
        readers = [self.compile(document, host, document.url not in others) for document in documents]
        if robots is not None and len(robots_links(robots, self.agents)) > MAX_LINKS:
            why = f"More than {MAX_LINKS} RSL licences are named; not all of them are read."
            readers.append(Constant((Voice(self.name, self.spec, robots).unreadable(why),)))
        return readers

    def read(self, evidence: Evidence) -> list[Signal]:
        """Return the signals of all documents, and one for each licence that is named and was not captured."""
        host = evidence.url or ""
        path = path_of(evidence.url or "")
        said: list[Signal] = []
        others = links_for_others(evidence.robots, self.agents)
        for document in evidence.rsl:
            reader = self.compile(document, host, document.url not in others)
            said += reader.signals(reader.key(path))
        for document in self._inline(evidence):
            reader = self.compile(document, host)
            # what is captured, and stored, is the page
            page = evidence.page.sha256 if evidence.page else None
            said += [replace(signal, evidence_sha256=page) for signal in reader.signals(reader.key(path))]
        captured = {document.url for document in evidence.rsl}
        for url in rsl_urls(evidence, self.agents):
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
