"""Creators' names: one spelling of each, and where captions name them.

The finder is precise rather than complete: a name counts only directly behind words that say who made a
picture, and only whole words. It reads the English forms; a name in another language's phrase is found through
the `creator` column alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from filters.errors import BadInput

#: Longest name in words and in characters.
MAX_WORDS = 6
MAX_NAME = 200

#: A single word of fewer letters counts in captions only as `by NAME` with nothing but punctuation behind it.
SHORT = 5

#: Bounds on one caption's work: trigger phrases, and words looked at behind each.
_MAX_TRIGGERS = 1000
_WINDOW = 240
_MAX_LIST = 24

#: Letters that Unicode does not decompose into a base letter and a mark.
_LETTERS = str.maketrans(
    {"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "ħ": "h", "Ħ": "H", "ı": "i"}
    | {"æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "þ": "th", "Þ": "Th", "ß": "ss", "ẞ": "SS"}
)
_MARKS = re.compile("[\u0300-\u036f]")
_POSSESSIVE = re.compile(r"['’ʼ]s(?![^\W_])", re.IGNORECASE)
_APOSTROPHES = re.compile("['’ʼ`´‘]")
_WORD = re.compile(r"[^\W_]+")
_SUFFIXES = frozenset({"jr", "sr", "ii", "iii", "iv", "phd", "md", "esq"})

_TRIGGER = re.compile(
    r"(?<![^\W_])(?<!-)(?:"
    r"(?P<by>by)|(?P<after>after)|(?:in\s+)?(?:the\s+)?styles?\s+of|courtesy\s+of|works?\s+of|copyright"
    r"|(?:photo|photograph|photographer|picture|image|artist|author|creator|credits?|illustrator)\s{0,4}:"
    r")(?![^\W_]|-\w)"
    r"|©|\(c\)|&copy;",
    re.IGNORECASE,
)
_FILLER = frozenset(
    {"c", "the", "artist", "artists", "painter", "photographer", "illustrator", "sculptor", "designer", "master"}
    | {"famous", "great", "late", "mr", "mrs", "ms", "dr", "sir", "dame", "lady", "lord", "prof", "professor"}
)
#: Fillers behind which a single word is rather a thing than a name: "by the Tower".
_NO_TITLE = frozenset({"c", "the", "famous", "great", "late"})
_YEAR = re.compile(r"(?:1[5-9]|20)\d\d")
_JOINING = frozenset(("and", "with", "et", "und", "y", "e", "feat", "ft"))
_STOP = frozenset(
    {"on", "in", "at", "from", "for", "of", "to", "with", "and", "or", "as", "is", "was", "were", "are", "the", "a"}
    | {"an", "oil", "using", "circa", "c", "ca", "during", "under", "over", "before", "titled", "called", "entitled"}
    | {"via", "which", "that", "who", "showing", "depicting", "photo", "photograph", "painting", "art", "print"}
)
_SPLIT = re.compile(r"[;/|&+]|\s(?:and|und|et|with)\s", re.IGNORECASE)
_BRACKETS = re.compile(r"\([^()]{0,200}\)|\[[^\[\]]{0,200}\]")


def fold(text: str) -> str:
    """Return `text` without diacritics, invisible characters and compatibility forms; case and punctuation stay."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_LETTERS)
        text = "".join(c for c in text if unicodedata.category(c) != "Cf")
        text = unicodedata.normalize("NFC", _MARKS.sub("", unicodedata.normalize("NFD", text)))
    return _APOSTROPHES.sub("", _POSSESSIVE.sub(" ", text))


def name_key(name: str) -> str:
    """Return the one spelling of a name: lower case, no diacritics or punctuation, `Last, First` turned round.

    Empty where the text has no letter or digit.
    """
    folded = fold(name)
    if folded.count(",") == 1:
        last, first = folded.split(",")
        if last.strip() and first.strip() and first.strip(" .").casefold() not in _SUFFIXES:
            folded = f"{first} {last}"
    return " ".join(_WORD.findall(folded.casefold()))


def name_entry(name: str) -> str:
    """Return the key of a `creator` entry's name or alias. Raises `BadInput`."""
    key = name_key(name)
    if not key or len(key) > MAX_NAME:
        shown = repr(name if len(name) <= MAX_NAME else name[:MAX_NAME] + "…")
        raise BadInput(f"{shown}: no name; a creator's name has 1 to {MAX_NAME} letters or digits")
    return key


def creator_keys(creator: str) -> set[str]:
    """Return the keys under which a sample's `creator` field is looked up: the whole, its parts, names in phrases."""
    text = " ".join(creator[: 20 * MAX_NAME].replace("\n", ";").split())
    keys = set(names_in(text))
    for whole in {text, _BRACKETS.sub(" ", text)}:
        pieces = [whole, *_SPLIT.split(whole)]
        if "," in whole:  # a list of full names, or Last, First
            pieces += [piece for part in pieces[1:] for piece in part.split(",") if " " in piece.strip()]
        for piece in pieces:
            key = name_key(piece)
            if key and len(key) <= MAX_NAME:
                keys.add(key)
    return keys


def names_in(caption: str) -> set[str]:
    """Return the keys of all word sequences that stand where a caption says who made the picture.

    Behind `by`, `in the style of`, `inspired by`, `after`, `©` and the like. Most are no names: they are meant to
    be looked up. A single word behind `after` or a profession never counts.
    """
    folded = fold(caption)
    keys: set[str] = set()
    for count, found in enumerate(_TRIGGER.finditer(folded)):
        if count >= _MAX_TRIGGERS:
            break
        level = 0 if found["after"] else (2 if found["by"] else 1)
        keys.update(_behind(folded[found.end() : found.end() + _WINDOW], level))
    return keys


def _behind(text: str, level: int) -> Iterator[str]:
    """Yield keys of names at the start of `text`, a list of names included. `level`: 0 weak, 1 strong, 2 `by`."""
    words, gaps = _words(text)
    # "by Lady Gaga" and "by Lady Jane Doe": fillers may belong to the name, or not.
    first = _fillers(words)
    starts = {0: level} if first == 0 else {0: 0, first: level if words[first - 1].casefold() not in _NO_TITLE else 0}
    for start, strength in starts.items():
        yield from _names_from(words, gaps, start, strength)


def _names_from(words: list[str], gaps: list[str], start: int, level: int) -> Iterator[str]:
    """Yield the keys of a name, and of those that a list goes on with, from the word `start` on."""
    while start < len(words):
        limit = min(start + MAX_WORDS, len(words))
        end = next((at + 1 for at in range(start, limit) if _ends(gaps[at])), limit)
        for stop in range(start + 2, end + 1):
            yield " ".join(words[start:stop]).casefold()
        if _single_counts(words, gaps, start, level):
            yield words[start].casefold()
        if gaps[end - 1].strip() == "," and end < len(words):  # Last, First
            for stop in (end + 1, end + 2):
                if stop <= len(words):
                    yield " ".join(words[end:stop] + words[start:end]).casefold()
        following = _next_name(words, gaps, start)
        if following is None:
            return
        start = following


def _words(text: str) -> tuple[list[str], list[str]]:
    """Return the words behind years, and what stands behind each word."""
    found = list(_WORD.finditer(text))[:_MAX_LIST]
    if found and len(text) == _WINDOW and found[-1].end() == len(text):
        found.pop()  # cut in the middle
    if found and _breaks(text[: found[0].start()]):
        return [], []
    while found and _YEAR.fullmatch(found[0][0]):
        found.pop(0)
    words = [match[0] for match in found]
    ends = [*(match.start() for match in found[1:]), len(text)]
    gaps = [text[match.end() : end] for match, end in zip(found, ends, strict=False)]
    return words, gaps


def _fillers(words: list[str]) -> int:
    """Return how many words stand before the name proper: articles, titles, professions."""
    count = 0
    while count + 1 < len(words) and words[count].casefold() in _FILLER:
        count += 1
    return count


def _breaks(gap: str) -> bool:
    return any(mark in gap for mark in (";", "!", "?", "\n", "|"))


def _ends(gap: str) -> bool:
    """Tell whether a name cannot go on behind this gap."""
    return any(mark in gap for mark in ',;:!?()[]{}"“”/|&+\n–—') or " - " in gap


def _single_counts(words: list[str], gaps: list[str], at: int, level: int) -> bool:
    word, gap = words[at], gaps[at]
    if level == 0 or len(word) < 2 or word.isdigit():
        return False
    alone = at + 1 == len(words) or _ends(gap) or gap.startswith(".") or gap.startswith(" -")
    if len(word) < SHORT and word.isascii():
        return alone and level == 2
    return alone or words[at + 1].casefold() in _STOP or words[at + 1].isdigit()


def _next_name(words: list[str], gaps: list[str], start: int) -> int | None:
    """Return where the next name of a list starts: behind a comma, `&`, `/` or `and`."""
    for at in range(start, min(start + MAX_WORDS, len(words) - 1)):
        if any(mark in gaps[at] for mark in ",&/+"):
            joined = words[at + 1].casefold() in _JOINING
            following = at + 2 if joined else at + 1
            return following if following < len(words) else None
        if at > start and words[at].casefold() in _JOINING:
            return at + 1
        if _ends(gaps[at]):
            return None
    return None
