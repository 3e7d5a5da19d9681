"""Path patterns of RFC 9309 §2.2.2 and §2.2.3 (`*`, a final `$`), matched in time linear in the path.

TDMRep, RSL and ai.txt use the same patterns. No pattern becomes a regular expression: a hostile one could backtrack.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_PARTS = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?(?://[^/?#]*)?([^#]*)", re.DOTALL)
#: A URL whose path and query need no rewriting, the common case.
_SIMPLE = re.compile(r"https?://[^/?#\s]+(/[A-Za-z0-9_~./?=&+,;:@!-]*)(?:#.*)?", re.DOTALL)
#: What must be rewritten: an escape, or an octet that is neither unreserved nor reserved (RFC 3986 §2.2, §2.3);
#: `*` and `$` too, so that they equal their escapes in a pattern (RFC 9309 §2.2.3).
_ODD = re.compile(rb"%([0-9A-Fa-f]{2})|[^A-Za-z0-9_~./?=&+,;:@!\-'()\[\]#]")
#: Dropped from URLs by the standard library and by browsers before they are read.
_DROPPED = dict.fromkeys(map(ord, "\t\r\n"))
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
#: Wildcard rules of one table from which on they are looked up by a rare part of theirs.
_MANY = 12
_GRAM = 3


def _octets(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _rewritten(match: re.Match[bytes]) -> bytes:
    escape = match.group(1)
    octet = int(escape, 16) if escape else match.group()[0]
    return bytes([octet]) if escape and octet in _UNRESERVED else b"%%%02X" % octet


def canonical(text: str) -> str:
    """Return `text` with one spelling for each octet: unreserved ones bare, all that a URL may not hold escaped."""
    return _ODD.sub(_rewritten, _octets(text)).decode("ascii")


def _without_dots(path: str) -> str:
    """Return `path` without `.` and `..` segments (RFC 3986 §5.2.4), as every HTTP client will ask for it."""
    path, mark, query = path.partition("?")
    kept: list[str] = []
    segments = path.split("/")[1:]
    for place, segment in enumerate(segments):
        if segment == "..":
            del kept[-1:]
        if segment not in (".", ".."):
            kept.append(segment)
        elif place == len(segments) - 1:
            kept.append("")
    return "/" + "/".join(kept) + mark + query


def path_of(url: str) -> str:
    """Return path and query of a URL in the canonical spelling, `/` for an empty path; any text is accepted."""
    simple = _SIMPLE.fullmatch(url)
    if simple is not None:
        path = simple.group(1)
        return _without_dots(path) if "/." in path else path
    found = _PARTS.match(url.strip().translate(_DROPPED))
    path = canonical(found.group(1) if found else "")
    path = path if path.startswith("/") else "/" + path
    return _without_dots(path) if "/." in path else path


@dataclass(frozen=True)
class Pattern:
    """One pattern: literal pieces between its `*`, whether a `$` ends it, its length in octets (its precedence)."""

    pieces: tuple[str, ...]
    anchored: bool
    octets: int

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Read a pattern; any text is one."""
        anchored = text.endswith("$")
        pieces = [canonical(piece) for piece in (text[:-1] if anchored else text).split("*")]
        octets = sum(map(len, pieces)) + len(pieces) - 1 + anchored
        while len(pieces) > 1 and not pieces[-1] and anchored:
            # `/a*$` says no more than `/a`, and a piece that is empty matches anywhere
            pieces.pop()
            anchored = False
        kept = [piece for place, piece in enumerate(pieces) if piece or place in (0, len(pieces) - 1)]
        return cls(tuple(kept), anchored, octets)

    def matches(self, path: str) -> bool:
        """Return whether the canonical `path` matches."""
        first = self.pieces[0]
        if not path.startswith(first):
            return False
        if len(self.pieces) == 1:
            return not self.anchored or len(path) == len(first)
        at = len(first)
        for piece in self.pieces[1:-1]:
            at = path.find(piece, at)
            if at < 0:
                return False
            at += len(piece)
        last = self.pieces[-1]
        if self.anchored:
            return len(path) - at >= len(last) and path.endswith(last)
        return path.find(last, at) >= 0


class PathIndex:
    """Patterns in order of precedence; finds the first that matches without trying them all."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        """Index `patterns`: plain prefixes by text, wildcard ones by their rarest part."""
        self._prefixes: dict[str, int] = {}
        self._exact: dict[str, int] = {}
        first_places: dict[Pattern, int] = {}
        for order, pattern in enumerate(patterns):
            if len(pattern.pieces) > 1:
                first_places.setdefault(pattern, order)
            else:
                (self._exact if pattern.anchored else self._prefixes).setdefault(pattern.pieces[0], order)
        wild = [(order, pattern) for pattern, order in first_places.items()]
        self._lengths = sorted({len(prefix) for prefix in self._prefixes})
        self._count = len(patterns)
        self._loose: list[tuple[int, Pattern]] = wild
        self._grams: dict[str, list[tuple[int, Pattern]]] = {}
        if len(wild) > _MANY:
            self._sort_by_gram(wild)

    def _sort_by_gram(self, wild: list[tuple[int, Pattern]]) -> None:
        grams = [_grams_of(pattern) for _, pattern in wild]
        frequency = Counter(gram for found in grams for gram in found)
        self._loose = []
        for entry, found in zip(wild, grams, strict=True):
            rarest = min(found, key=lambda gram: (frequency[gram], gram), default=None)
            bucket = self._loose if rarest is None else self._grams.setdefault(rarest, [])
            bucket.append(entry)

    def first(self, path: str) -> int:
        """Return the number of the first pattern that matches the canonical `path`, or -1."""
        best = self._count
        size = len(path)
        for length in self._lengths:
            if length > size:
                break
            order = self._prefixes.get(path[:length], best)
            if order < best:
                best = order
        if self._exact:
            best = min(best, self._exact.get(path, best))
        if self._loose:
            best = _first_of(self._loose, path, best)
        if self._grams:
            for at in range(size - _GRAM + 1):
                bucket = self._grams.get(path[at : at + _GRAM])
                if bucket is not None:
                    best = _first_of(bucket, path, best)
        return best if best < self._count else -1


def _grams_of(pattern: Pattern) -> set[str]:
    return {piece[at : at + _GRAM] for piece in pattern.pieces for at in range(len(piece) - _GRAM + 1)}


def _first_of(entries: list[tuple[int, Pattern]], path: str, best: int) -> int:
    for order, pattern in entries:
        if order >= best:
            break
        if pattern.matches(path):
            return order
    return best
