"""Finds the one person that a prompt names without a name of its own, and where in the prompt."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from audit.groups.lexicon import Lexicon, plural

_WORD = re.compile(r"[^\W_]+")

#: Years, and numbers that may be years: what happened then had the people that it had.
_YEAR = re.compile(r"(?<!\d)\d{4}(?!\d)|\bcentur(?:y|ies)\b", re.IGNORECASE)

_APOSTROPHES = "'’ʼ"


class Left(str, Enum):
    """Why a prompt was left as it is."""

    NOBODY = "names nobody"
    SEVERAL = "names several people"
    NAMED = "has a name, a year or a place in it"
    STATED = "states it"


@dataclass(frozen=True)
class Place:
    """Where the person's word or phrase stands: characters `start` to `end`."""

    start: int
    end: int


class PeopleFinder:
    """Looks for the words of lexicons and further words, singular and plural, longest phrase first."""

    def __init__(self, lexicons: Iterable[Lexicon], words: Iterable[str], openers: Iterable[str]) -> None:
        self._kinds: dict[tuple[str, ...], str] = {}
        for lexicon in lexicons:
            for term in (term for terms in lexicon.values.values() for term in terms):
                self._add(term.text, term.plural)
            for term in lexicon.never:
                self._kinds[_parts(term.text)] = "never"
        for word in words:
            self._add(word, True)
        self._openers = {word.casefold() for word in openers}
        self._longest = max((len(key) for key in self._kinds), default=1)

    def _add(self, text: str, has_plural: bool) -> None:
        parts = _parts(text)
        if not parts:
            return
        # A term without a plural of its own may be one ("chiefs", "salespeople").
        many = not has_plural and parts[-1].endswith(("s", "people", "men", "women"))
        self._kinds.setdefault(parts, "many" if many and not parts[-1].endswith("ss") else "one")
        if has_plural:
            self._kinds.setdefault((*parts[:-1], plural(parts[-1])), "many")

    def find(self, prompt: str) -> Place | Left:
        """Return where the prompt's only person stands, or why it is left alone."""
        words = list(_WORD.finditer(prompt))
        found: list[tuple[str, Place]] = []
        at = 0
        while at < len(words):
            kind, length = self._at(words, at)
            if kind is not None and kind != "never":
                place = Place(words[at].start(), words[at + length - 1].end())
                if not _part_of_another(prompt, place):
                    found.append((kind, place))
            at += length
        if not found:
            return Left.NOBODY
        if len(found) > 1 or found[0][0] == "many":
            return Left.SEVERAL
        if _YEAR.search(prompt) or self._has_name(prompt, words, found[0][1]):
            return Left.NAMED
        return found[0][1]

    def _at(self, words: list[re.Match[str]], at: int) -> tuple[str | None, int]:
        for length in range(min(self._longest, len(words) - at), 0, -1):
            kind = self._kinds.get(tuple(word.group().casefold() for word in words[at : at + length]))
            if kind is not None:
                return kind, length
        return None, 1

    def _has_name(self, prompt: str, words: list[re.Match[str]], person: Place) -> bool:
        """Tell whether a capital says that somebody or something is named; the person's own word may have one."""
        if prompt.isupper():
            return True  # then capitals say nothing, and a name cannot be told
        for at, word in enumerate(words):
            if not word.group()[0].isupper() or person.start <= word.start() < person.end:
                continue
            if at > 0 or word.group().casefold() not in self._openers:
                return True
        return False


def _parts(text: str) -> tuple[str, ...]:
    return tuple(word.casefold() for word in _WORD.findall(text))


def _part_of_another(prompt: str, place: Place) -> bool:
    """Tell whether the word is inside another one: a doctor's office, a doctor-like figure."""
    after, before = prompt[place.end : place.end + 1], prompt[max(0, place.start - 1) : place.start]
    return (bool(after) and after in _APOSTROPHES + "-_") or (bool(before) and before in "-_")
