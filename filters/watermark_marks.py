"""What watermarks say: names of stock agencies, phrases, and patterns of URLs, copyright lines and numbers.

The list is the data file `watermark_marks.json` beside this module, with a version of its own.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

#: Names shorter than this must stand alone, letter by letter; longer ones may be misread or cut off.
SHORT = 7

#: Least share of a name's letters that were read, for a misread one and for a fragment of it.
MISREAD, FRAGMENT = 0.75, 0.5

#: A caption with one of these is an agency's own: it names the agency because the picture carries its mark.
_CREDIT = re.compile(
    r"\bstock\s?(?:photo|image|picture|vector|illustration|footage)|\broyalty[ -]free\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Mark:
    """A mark that was recognised: what it is (`agency`, `phrase`, `url`, `copyright`, `number`, `handle`, `word`).

    `name` is the agency's name, or the text as it was read; `quality` how much of it was read, 0 to 1.
    """

    kind: str
    name: str
    quality: float


def marks_version() -> str:
    """Return the version of the list."""
    return str(_data()["version"])


def letters(text: str) -> str:
    """Return letters and digits alone, lower case, in compatibility form (full-width letters become plain)."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum())


def recognise(text: str) -> Mark | None:
    """Return the mark that one line of text holds, or None; an agency counts before a pattern."""
    plain = letters(text)
    # One or two Latin letters say nothing; two of a script of syllables may be a name.
    if len(plain) < 3:
        return Mark("copyright", text, 1.0) if "©" in text and plain else None
    agency = _agency(plain, text)
    if agency is not None:
        return agency
    data = _data()
    for phrase in data["phrases"]:
        if phrase in plain:
            return Mark("phrase", text, 1.0)
    for kind, pattern in _patterns().items():
        if pattern.search(unicodedata.normalize("NFKC", text).casefold()):
            return Mark(kind, text, 1.0)
    if plain in data["words"]:
        return Mark("word", text, 1.0)
    return None


def named_by(caption: str, text: str) -> bool:
    """Tell whether the caption names the text, so that the picture shows it on purpose.

    At least half of the text's letters must stand in the caption, in words of three letters or more. A caption
    that credits a stock agency ("... Stock Photo - Alamy") names nothing: it speaks of the mark itself.
    """
    plain = letters(text)
    if len(plain) < 3 or _CREDIT.search(caption):
        return False
    if plain in letters(caption):
        return True
    words = {letters(word) for word in caption.split()}
    found = sum(len(word) for word in map(letters, text.split()) if len(word) >= 3 and word in words)
    return found >= 0.5 * len(plain)


@lru_cache(maxsize=1)
def _data() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files("filters").joinpath("watermark_marks.json").read_text(encoding="utf-8"))
    return found


@lru_cache(maxsize=1)
def _patterns() -> dict[str, re.Pattern[str]]:
    return {kind: re.compile(pattern) for kind, pattern in _data()["patterns"].items()}


@lru_cache(maxsize=1)
def _names() -> list[tuple[str, str, frozenset[str]]]:
    """Return (agency, letters of a name, its pairs of letters)."""
    return [
        (agency, name, _pairs(name)) for agency, names in _data()["agencies"].items() for name in map(letters, names)
    ]


def _pairs(text: str) -> frozenset[str]:
    return frozenset(text[at : at + 2] for at in range(len(text) - 1))


def _agency(plain: str, text: str) -> Mark | None:
    best: Mark | None = None
    words = {letters(word) for word in re.split(r"[\s/|,;:()]+", text)} | {plain}
    pairs = _pairs(plain)
    for agency, name, wanted in _names():
        if len(name) < SHORT and name.isascii():
            quality = 1.0 if name in words else 0.0
        elif name in plain:
            quality = 1.0
        elif not name.isascii() or len(wanted & pairs) < 0.4 * min(len(wanted), len(pairs)):
            continue
        else:
            quality = _share_read(name, plain)
        if quality > (best.quality if best else 0.0):
            best = Mark("agency", agency, quality)
    return best


def _share_read(name: str, plain: str) -> float:
    """Return the share of the name's letters that `plain` holds, 0 where that is not enough to tell."""
    misread = 1.0 - _distance_within(name, plain) / len(name)
    if misread >= MISREAD:
        return misread
    # Cut off at the edge of the picture or between two boxes: a beginning or an end of the name.
    cut_off = max(6.0, FRAGMENT * len(name)) <= len(plain) < len(name)
    if cut_off and (name.startswith(plain) or name.endswith(plain)):
        return len(plain) / len(name)
    return 0.0


def _distance_within(name: str, plain: str) -> int:
    """Return the fewest insertions, deletions and changes that turn some part of `plain` into `name`."""
    above = [0] * (len(plain) + 1)
    for row, letter in enumerate(name, 1):
        here = [row]
        for column, other in enumerate(plain, 1):
            here.append(min(above[column] + 1, here[-1] + 1, above[column - 1] + (letter != other)))
        above = here
    return min(above)
