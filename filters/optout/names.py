"""Creators' names: one spelling of each, and where captions name them.

The finder is precise rather than complete: a name counts only directly behind words that say who made a
picture, and only whole words. It reads the English forms; a name in another language's phrase is found through
the `creator` column alone.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from itertools import islice, pairwise

from filters.errors import BadInput
from filters.optout.name_lists import listed_names

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
#: The same without those that a mark can stand on in one character (Ǿ, Ǽ, Ǣ); see `foldings`.
_BARE = {code: letters for code, letters in _LETTERS.items() if chr(code) not in "øØæÆ"}
_MARKED = re.compile("[øØæÆǾǿǼǽǢǣ]")
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
_TITLES = frozenset(("mr", "mrs", "ms", "miss", "dr", "sir", "dame", "lady", "lord", "prof", "professor"))
_FILLER = _TITLES | frozenset(
    {"c", "the", "artist", "artists", "painter", "photographer", "illustrator", "sculptor", "designer", "master"}
    | {"famous", "great", "late"}
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
#: What stands in a creator field between names, and between a name and what is none: `Foto: NAME - Agency <a@b.org>`.
_SPLIT = re.compile(r"[;/|&+<>©]|:\s|\s[-–—]\s|\s(?:and|und|et|with|via)\s", re.IGNORECASE)
#: What stands between the names of one list, and between lists.
_LISTED = re.compile(r"[,&+]|\s(?:and|und|et|with)\s", re.IGNORECASE)
_CLAUSES = re.compile(r"[;/|]")
#: Marks of other scripts that separate names, and ends of lines.
_SEPARATORS = str.maketrans({"、": ",", "،": ",", "؛": ";", "•": ";"} | dict.fromkeys("\n\r\v\f\x85\u2028\u2029", ";"))

#: Characters of a creator field (or of one name of its list) that are read.
_MAX_FIELD = 20_000
_BRACKETS = re.compile(r"\([^()]{0,200}\)|\[[^\[\]]{0,200}\]")


def fold(text: str) -> str:
    """Return `text` without diacritics, invisible characters and compatibility forms; case and punctuation stay."""
    return _folded(text, _LETTERS, _LETTERS)


def foldings(text: str) -> list[str]:
    """Return all forms that `text` may have in a registry: `fold` first, then those of earlier versions of Assay.

    They kept the base of Ǿ, Ǽ and Ǣ, so that a stored key may hold ø or æ. Registries are append-only, and their
    keys are part of what is hashed: they are not written anew but looked up in both forms. A key that mixes both
    (`søren ǿrsted`) is found by a text that spells it in the same way.
    """
    if text.isascii() or not _MARKED.search(unicodedata.normalize("NFKC", text)):
        return [fold(text)]
    return list(dict.fromkeys((fold(text), _folded(text, _LETTERS, {}), _folded(text, _BARE, {}))))


def _folded(text: str, letters: dict[int, str], bases: dict[int, str]) -> str:
    """Fold a text; `letters` are replaced as they stand, `bases` where a mark stood on them."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(letters)
        text = "".join(c for c in text if unicodedata.category(c) != "Cf")
        text = _MARKS.sub("", unicodedata.normalize("NFD", text)).translate(bases)
        text = unicodedata.normalize("NFC", text)
    return _APOSTROPHES.sub("", _POSSESSIVE.sub(" ", text))


def name_key(name: str) -> str:
    """Return the one spelling of a name: lower case, no diacritics or punctuation, `Last, First` turned round.

    Empty where the text has no letter or digit.
    """
    return _key(fold(name))


def _name_keys(name: str) -> Iterator[str]:
    """Yield the keys of a name, those that earlier versions gave it included; none that no entry can have."""
    for folded in foldings(name):
        key = _key(folded)
        if key and len(key) <= MAX_NAME:
            yield key


def _key(folded: str) -> str:
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
    """Return the keys under which a sample's `creator` field is looked up: the whole, its parts, names in phrases.

    The field may be one name, several with marks between them, or a JSON list or object (see `name_lists`).
    """
    keys = set(_name_keys(creator[:_MAX_FIELD]))
    for spelled in _unescaped(creator):
        for text in dict.fromkeys(listed_names(spelled) or [spelled]):
            keys.update(_field_keys(text[:_MAX_FIELD]))
    return keys


def _unescaped(text: str) -> list[str]:
    """Return a text, and what it is where it comes from HTML: `Ren&eacute;`."""
    return list(dict.fromkeys((text, html.unescape(text)))) if "&" in text else [text]


def _field_keys(field: str) -> Iterator[str]:
    if not field.isascii():  # wide commas and semicolons become plain ones
        field = unicodedata.normalize("NFKC", field)[:_MAX_FIELD]
    text = " ".join(field.translate(_SEPARATORS).split())
    yield from names_in(text)
    for whole in {text, _BRACKETS.sub(" ", text)}:
        pieces = [whole, *_SPLIT.split(whole)]
        if "," in whole:  # a list of full names, or Last, First
            pieces += [piece for part in pieces[1:] for piece in part.split(",") if " " in piece.strip()]
            pieces += _listed(whole)
        for piece in dict.fromkeys(pieces):
            for key in _name_keys(piece):
                yield from _orders(key)


def _orders(key: str) -> Iterator[str]:
    """Yield a name's key, without its titles too, and two words in either order: `MAGRITTE René`."""
    words = key.split(" ")
    yield key
    titles = next((at for at, word in enumerate(words) if word not in _TITLES), 0)
    if titles and len(words) - titles > 1:
        words = words[titles:]
        yield " ".join(words)
    if len(words) == 2:
        yield f"{words[1]} {words[0]}"


def _listed(text: str) -> Iterator[str]:
    """Yield each name of the lists in a text, and two neighbours as `Last, First`.

    One comma may stand within a name; two marks, of which one is a comma, are a list, of single words too.
    """
    for clause in _CLAUSES.split(text):
        names = _LISTED.split(clause)
        if "," in clause and len(names) > 2:
            yield from names
            yield from (f"{last},{first}" for last, first in pairwise(names))


def names_in(caption: str) -> set[str]:
    """Return the keys of all word sequences that stand where a caption says who made the picture.

    Behind `by`, `in the style of`, `inspired by`, `after`, `©` and the like. Most are no names: they are meant to
    be looked up. A single word behind `after` or a profession never counts.
    """
    return {key for text in _unescaped(caption) for folded in foldings(text) for key in _phrases(folded)}


def _phrases(folded: str) -> Iterator[str]:
    for found in islice(_TRIGGER.finditer(folded), _MAX_TRIGGERS):
        level = 0 if found["after"] else (2 if found["by"] else 1)
        yield from _behind(folded[found.end() : found.end() + _WINDOW], level)


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
