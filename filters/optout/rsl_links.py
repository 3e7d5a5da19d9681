"""Where RSL licences are named: robots.txt, `Link` header fields, and the page (RSL 1.0 §4)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urljoin, urlsplit

from filters.optout.agents import OWN_TOKEN
from filters.optout.base import Document, Evidence, Fetched, Headers, header_values
from filters.optout.html_tags import Tag
from filters.optout.pages import evidence_tags
from filters.optout.robots import LICENSE, Line, RobotsFile, parse_robots

MEDIA_TYPE = "application/rsl+xml"
#: Most licences that one source may name; a host with more is not read to the end.
MAX_LINKS = 8
_MAX_LENGTH = 16_384
_MAX_URL = 2048
_LINK = re.compile(r"<([^<>]{1,2048})>([^<]*)")
_PARAMETER = re.compile(r";[ \t]*(rel|type)[ \t]*=[ \t]*(?:\"([^\"]*)\"|([^\s;,\"]*))", re.IGNORECASE)


def robots_links(robots: Document | None, agent: str = OWN_TOKEN) -> tuple[str, ...]:
    """Return the licence URLs of a robots.txt: those of our group, else the global ones, else any at all."""
    if robots is None or robots.state is not Fetched.FOUND:
        return ()
    file = parse_robots(robots.body)
    lines = file.lines_for(agent, LICENSE) or _global(file) or [line for g in file.groups for line in g.lines]
    return _absolute((line.value for line in lines if line.key == LICENSE), robots.url)


def _global(file: RobotsFile) -> list[Line]:
    return [line for line in file.outside if line.key == LICENSE]


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


def rsl_urls(evidence: Evidence, agent: str = OWN_TOKEN) -> tuple[str, ...]:
    """Return all licence URLs that the evidence names, each once; the fetcher puts them into `Evidence.rsl`."""
    page = evidence.page.url if evidence.page is not None else ""
    named = (
        *robots_links(evidence.robots, agent),
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
    return tuple(found)[:MAX_LINKS]
