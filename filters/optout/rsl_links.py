"""Where RSL licences are named: robots.txt, `Link` header fields, and the page (RSL 1.0 §4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import urljoin, urlsplit

from filters.optout.agents import obeyed
from filters.optout.base import Document, Evidence, Fetched, Headers, header_values
from filters.optout.html_tags import Tag
from filters.optout.pages import evidence_tags
from filters.optout.robots import LICENSE, Line, parse_robots

MEDIA_TYPE = "application/rsl+xml"
#: Most licences that are fetched for one source; what names more is not read to the end, and counts as unreadable.
MAX_LINKS = 8
_MAX_LENGTH = 16_384
_MAX_URL = 2048
_LINK = re.compile(r"<([^<>]{1,2048})>([^<]*)")
_PARAMETER = re.compile(r";[ \t]*(rel|type)[ \t]*=[ \t]*(?:\"([^\"]*)\"|([^\s;,\"]*))", re.IGNORECASE)


def robots_links(robots: Document | None, agents: Sequence[str]) -> tuple[str, ...]:
    """Return the licence URLs of a robots.txt for `agents`, the own token first; one over `MAX_LINKS` for any more.

    Those of our group, else the global ones, else any at all. Where none is addressed to us by name, those of the
    other agents follow (see `links_for_others`).
    """
    if robots is None or robots.state is not Fetched.FOUND:
        return ()
    file = parse_robots(robots.body)
    own, everywhere = file.lines_for(agents[0], LICENSE), _licences(file.outside)
    lines = own or everywhere or [line for group in file.groups for line in _licences(group.lines)]
    if not (own and file.named(agents[0])):
        places = dict.fromkeys(place for agent in agents[1:] for place in file.named(agent))
        lines = [*lines, *(line for place in places for line in _licences(file.groups[place].lines))]
    return _absolute((line.value for line in lines), robots.url)


def links_for_others(robots: Document | None, agents: Sequence[str]) -> frozenset[str]:
    """Return the licence URLs of a robots.txt that bind crawlers for training data and not us: they only refuse."""
    return frozenset(robots_links(robots, agents)) - frozenset(robots_links(robots, agents[:1]))


def _licences(lines: Iterable[Line]) -> list[Line]:
    return [line for line in lines if line.key == LICENSE]


def header_links(headers: Headers, base: str) -> tuple[str, ...]:
    """Return the targets of `Link` fields with `rel=license` and RSL's media type."""
    found = []
    for value in header_values(headers, "link")[:50]:
        for target, rest in _LINK.findall(value[:_MAX_LENGTH]):
            stated = {name.lower(): (quoted or bare).lower() for name, quoted, bare in _PARAMETER.findall(rest)}
            if "license" in stated.get("rel", "").split() and stated.get("type", "").startswith(MEDIA_TYPE):
                found.append(target.strip())
    return _absolute(found, base)


def page_links(found: Iterable[Tag], base: str) -> tuple[str, ...]:
    """Return the targets of the page's `link` elements with `rel=license` and RSL's media type."""
    links = (tag for tag in found if tag.name == "link" and tag.get("type").lower().startswith(MEDIA_TYPE))
    return _absolute((tag.get("href") for tag in links if "license" in tag.get("rel").lower().split()), base)


def rsl_urls(evidence: Evidence, agents: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the licence URLs that the evidence names, each once, one over `MAX_LINKS` of each source at most.

    The fetcher puts the first `MAX_LINKS` into `Evidence.rsl`.
    """
    page = evidence.page.url if evidence.page is not None else ""
    named = (
        *robots_links(evidence.robots, agents or obeyed()),
        *header_links(evidence.headers, evidence.url or ""),
        *header_links(evidence.page_headers, page),
        *page_links(evidence_tags(evidence), page),
    )
    return tuple(dict.fromkeys(named))


def _absolute(targets: Iterable[str], base: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for target in targets:
        try:
            url = urljoin(base, target.strip()) if len(target) <= _MAX_URL else ""
            plain = urlsplit(url).scheme in ("http", "https")
        except ValueError:
            continue
        if plain:
            found.setdefault(url)
        if len(found) > MAX_LINKS:
            break
    return tuple(found)
