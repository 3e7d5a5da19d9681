"""Directives of X-Robots-Tag and meta robots: `noai`, `noimageai` and, by policy, those meant for search.

The grammar is `[agent:] directive, directive…`. Traps: `unavailable_after: Friday, 25-Jun-10 15:00:00 UTC` has colons
and commas of its own, names come in any case, an agent's name binds all that follows it in the same value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from filters.iso_time import read_time

#: Longest value that is read, in characters.
MAX_LENGTH = 16_384
#: Refuse training by themselves (DeviantArt's convention of November 2022).
REFUSING = frozenset({"noai", "noimageai"})
#: Meant for search engines; a recipe may count them (`rights.noindex`).
SEARCH = frozenset({"noindex", "none", "noimageindex"})
UNAVAILABLE = "unavailable_after"
#: A word that is on none of these lists and has a colon behind it is read as an agent's name.
_WITH_VALUE = frozenset({UNAVAILABLE, "max-snippet", "max-image-preview", "max-video-preview", "rating"})
_NEUTRAL = frozenset(
    {"index", "follow", "all", "nofollow", "noarchive", "nocache", "nosnippet", "notranslate", "indexifembedded"}
    | {"noodp", "noydir", "nositelinkssearchbox", "nopagereadaloud"}
)
_DIRECTIVES = REFUSING | SEARCH | _NEUTRAL
_WORDS = re.compile(r"[A-Za-z_-]+")
_MAX_DATE = 64


@dataclass(frozen=True)
class Directive:
    """One directive: whom it binds (None: everyone), lower-case name, value (a date as written, else empty)."""

    agent: str | None
    name: str
    value: str = ""


def parse_directives(value: str, scoped: bool = True) -> list[Directive]:
    """Return the directives of one header field or meta content; `scoped` says whether agents may be named."""
    agent: str | None = None
    found: list[Directive] = []
    for segment in re.split(r"[,;]", value[:MAX_LENGTH]):
        text = segment.strip().strip("\"'")
        head, colon, rest = text.partition(":")
        head = head.strip().lower()
        if colon and head in _WITH_VALUE:
            found += _valued(agent, head, rest)
            continue
        if found and found[-1].name == UNAVAILABLE and _continues_date(found[-1].value, text):
            found[-1] = Directive(agent, UNAVAILABLE, f"{found[-1].value}, {text}")
            continue
        if colon and head not in _DIRECTIVES and scoped:
            agent, text = head, rest.strip()
            head, colon, rest = text.partition(":")
            if colon and head.strip().lower() in _WITH_VALUE:
                found += _valued(agent, head.strip().lower(), rest)
                continue
        found += [Directive(agent, word.lower()) for word in _WORDS.findall(text)]
    return found


def _valued(agent: str | None, name: str, value: str) -> list[Directive]:
    """Return a directive with a value, after refusals that stand in it by a missing comma."""
    words = [word.lower() for word in _WORDS.findall(value)]
    return [*(Directive(agent, word) for word in words if word in REFUSING), Directive(agent, name, value.strip())]


def _continues_date(before: str, text: str) -> bool:
    """Return whether `text` is the rest of a date that a comma cut (`Friday, 25-Jun-10 15:00:00 UTC`)."""
    if len(before) + len(text) > _MAX_DATE or not any(character.isdigit() for character in text):
        return False
    return not any(word.lower() in _DIRECTIVES for word in _WORDS.findall(text))


def parsed_date(text: str) -> datetime | None:
    """Return a date of RFC 822, RFC 850 or ISO 8601 as an aware time, or None."""
    text = text.strip()[:_MAX_DATE]
    for read in (read_time, parsedate_to_datetime):
        try:
            when = read(text)
        # the standard library's date readers let all of these escape for hostile text
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        return when if when.tzinfo else when.replace(tzinfo=timezone.utc)
    return None
