"""One pass over a caption for all lexicons: word by word, longest phrase first, linear in the caption's length.

Text is compared in Unicode's compatibility form (NFKC), case-folded, without soft hyphens and zero-width characters.
A word is a run of letters, digits and combining marks (UAX #29 simplified), so "women's" has the word "women" and
"black_cat" two words. Languages that do not put spaces between words need a lexicon of their own kind; there is none.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from audit.groups.lexicon import Lexicon, Term, plural

#: Most words of one phrase: bounds the work a word can cause.
MOST_WORDS = 12
#: The value of phrases that take up their words and count for nothing.
_NEVER = -1


def _marks() -> str:
    """Return a character class of all combining marks, as ranges: `\\w` lacks them, and Indic words hold them."""
    points = [point for point in range(0x300, 0x20000) if unicodedata.category(chr(point))[0] == "M"]
    ranges: list[list[int]] = []
    for point in points:
        if ranges and point == ranges[-1][1] + 1:
            ranges[-1][1] = point
        else:
            ranges.append([point, point])
    return "".join(f"{chr(low)}-{chr(high)}" for low, high in ranges)


_WORDS = re.compile(rf"(?:[^\W_]|[{_marks()}])+")
_ASCII_WORDS = re.compile(r"[a-z0-9]+")
#: Characters that split no word and are no part of one: soft hyphen, zero-width characters, direction marks, BOM.
_INVISIBLE = dict.fromkeys([0xAD, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2065)])


def words(text: str) -> list[str]:
    """Return the case-folded words of a text, in order."""
    if text.isascii():
        return _ASCII_WORDS.findall(text.lower())
    return _WORDS.findall(_plain(text).casefold())


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text.translate(_INVISIBLE))


def _capitals(text: str, expected: int) -> list[bool]:
    """Tell of each word whether it starts with a capital; in a text all of capitals none does, as it says nothing."""
    plain = _plain(text)
    found = [] if plain.isupper() else [word[0].isupper() for word in _WORDS.findall(plain)]
    return found if len(found) == expected else [False] * expected


@dataclass(frozen=True)
class _Entry:
    """What one phrase stands for: the lexicon (number), the value (number over all) and whether it needs a capital."""

    source: int
    value: int
    capital: bool


class Matcher:
    """Finds the values of several vocabularies in captions.

    `labels` holds (vocabulary, value) by the number that `match` returns. Lexicons of one vocabulary name share their
    values (languages add up). Within a vocabulary the longest phrase at a place wins and takes up its words; another
    vocabulary still sees them ("cleaning lady" is an occupation and has a lady in it).
    """

    def __init__(self, vocabularies: Iterable[tuple[str, Lexicon]]) -> None:
        """Compile lexicons, each under the name of the vocabulary that it belongs to."""
        self.labels: list[tuple[str, str]] = []
        numbers: dict[tuple[str, str], int] = {}
        names: dict[str, int] = {}
        phrases: dict[str, set[_Entry]] = defaultdict(set)
        for name, lexicon in vocabularies:
            source = names.setdefault(name, len(names))
            for value, terms in lexicon.values.items():
                number = numbers.setdefault((name, value), len(numbers))
                for term in terms:
                    _add(phrases, term, source, number)
            for term in lexicon.never:
                _add(phrases, term, source, _NEVER)
        self.labels = list(numbers)
        self._phrases = {key: tuple(entries) for key, entries in phrases.items()}
        lengths: dict[str, set[int]] = defaultdict(set)
        for key in phrases:
            first, *rest = key.split(" ")
            lengths[first].add(1 + len(rest))
        self._lengths = {first: tuple(sorted(found, reverse=True)) for first, found in lengths.items()}

    def match(self, text: str) -> list[int]:
        """Return the numbers of the values that a caption has, each once, in the order found."""
        tokens = words(text)
        starts = self._lengths
        taken: dict[int, tuple[int, int]] = {}
        capitals: list[bool] | None = None
        found: dict[int, None] = {}
        for place, token in enumerate(tokens):
            lengths = starts.get(token)
            if lengths is None:
                continue
            for length in lengths:
                if place + length > len(tokens):
                    continue
                span = (place, place + length)
                for entry in self._phrases.get(token if length == 1 else " ".join(tokens[place : place + length]), ()):
                    last = taken.get(entry.source)
                    if last is not None and last[1] > place and last != span:
                        continue
                    if entry.capital:
                        if capitals is None:
                            capitals = _capitals(text, len(tokens))
                        if not capitals[place]:
                            continue
                    taken[entry.source] = span
                    if entry.value != _NEVER:
                        found[entry.value] = None
        return list(found)

    def match_all(self, texts: Sequence[str | None]) -> tuple[list[int], list[int]]:
        """Return rows and value numbers of all captions, row by row. A null caption has no value."""
        rows: list[int] = []
        numbers: list[int] = []
        for row, text in enumerate(texts):
            if text:
                for number in self.match(text):
                    rows.append(row)
                    numbers.append(number)
        return rows, numbers


def _add(phrases: dict[str, set[_Entry]], term: Term, source: int, value: int) -> None:
    parts = words(term.text)
    if not parts or len(parts) > MOST_WORDS:
        return
    entry = _Entry(source, value, term.capital)
    phrases[" ".join(parts)].add(entry)
    if term.plural:
        phrases[" ".join([*parts[:-1], plural(parts[-1])])].add(entry)
