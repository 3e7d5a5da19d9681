"""The names in a creator field that is no single name: a JSON list, an object with `name` fields, or nearly one.

Whoever asks for a creator must find each of several. What is no JSON after all (a list as Python prints it, an array
as a database prints it, JSON that was cut) is taken apart at its marks: a piece too many only misses in a look-up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from filters.json_text import read_json

#: Bounds on one field's work: characters that are read, values that are looked at, names, and characters of names.
MAX_TEXT = 1 << 20
MAX_VALUES = 20_000
MAX_NAMES = 2_000
MAX_NAMES_TEXT = 50_000

#: Characters of one of the names; it may be a list of its own.
MAX_NAME_TEXT = 10_000

#: Lists and objects within texts within lists: how often a text is read as JSON once more.
_MAX_NESTED = 3

_GIVEN = frozenset({"givenname", "firstname", "forename", "first", "given"})
_FAMILY = frozenset({"familyname", "lastname", "surname", "last", "family"})
_QUOTED = re.compile(r'"([^"]*)"|\'([^\']*)\'')
_PIECE = re.compile(r'[^\[\](){}",:]+')
_KEY_MARKS = re.compile(r"[\s_-]")


def listed_names(text: str) -> list[str]:
    """Return the names in a text that is a JSON list, object or string, or looks like a list; none of other texts.

    Of what only looks like a list, the text itself is the first: it may be a single name after all.
    """
    found: list[str] = []
    room = MAX_NAMES_TEXT
    for name in islice(_names_of(text, _MAX_NESTED), MAX_NAMES):
        name = name[:MAX_NAME_TEXT]
        room -= len(name)
        if room < 0:
            break
        found.append(name)
    return found


def _names_of(text: str, nested: int) -> Iterator[str]:
    text = text[:MAX_TEXT].strip("\ufeff \t\r\n\v\f\xa0")
    if not text.startswith(("[", "{", '"', "('", '("')):
        return
    try:
        value = read_json(text)
    except ValueError:
        yield from _pieces(text)
        return
    # a stack, not recursion: JSON may be as deep as its reader allows
    for name in islice(_walked(value), MAX_VALUES):
        yield name
        if nested:
            yield from _names_of(name, nested - 1)


def _pieces(text: str) -> Iterator[str]:
    """Yield the text, what stands between quotation marks, then what stands between all marks."""
    yield text
    quoted = (found[1] or found[2] or "" for found in _QUOTED.finditer(text))
    plain = (found[0] for found in _PIECE.finditer(text))
    yield from (piece.strip() for piece in chain(quoted, plain) if piece.strip())


def _walked(value: Any) -> Iterator[str]:
    """Yield the texts of a JSON value that may be names, from first to last."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, int | float) and not isinstance(item, bool):
            yield str(item)
        elif isinstance(item, list):
            left += reversed(item)
        elif isinstance(item, dict):
            left += reversed(_of_object(item))


def _of_object(body: dict[str, Any]) -> list[Any]:
    """Return the values of an object that hold names: its name fields, else all but JSON-LD's own; nested ones always.

    A given and a family name count as one name as well.
    """
    kinds = {key: _KEY_MARKS.sub("", key).casefold() for key in body}
    named = any(_says_name(kind) for kind in kinds.values())
    found = [
        item
        for key, item in body.items()
        if isinstance(item, list | dict) or (_says_name(kinds[key]) if named else kinds[key] not in _NO_NAMES)
    ]
    given = [body[key] for key, kind in kinds.items() if kind in _GIVEN and isinstance(body[key], str)]
    family = [body[key] for key, kind in kinds.items() if kind in _FAMILY and isinstance(body[key], str)]
    return found + [f"{first} {last}" for first, last in zip(given, family, strict=False)]


_NO_NAMES = frozenset({"@type", "@id", "@context", "@language"})


def _says_name(kind: str) -> bool:
    return kind.endswith("name") or kind in _GIVEN or kind in _FAMILY
