"""Lexicons: versioned files of words that put a caption into a group or under a concept.

A file is JSON: `name`, `version`, `date`, `language`, `source`, `values` (value -> terms), and, where wanted, `not`
(phrases that never count, such as "guinea pig") and `reference` (value -> share that the source states). A term is a
word or a phrase. English terms also match their plural; a term that starts with `=` matches just as it stands, and one
that starts with `^` (or `=^`) only where the caption writes it with a capital ("Turkey", not "turkey").
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from filters.errors import BadInput

_DATA = Path(__file__).parent / "data"
#: Bounds on a user's own file: more is no lexicon.
_MOST_BYTES = 8_000_000
_MOST_TERMS = 200_000


@dataclass(frozen=True)
class Term:
    """One word or phrase as the file states it: its text, whether it has a plural, whether it needs a capital."""

    text: str
    plural: bool
    capital: bool


@dataclass(frozen=True)
class Lexicon:
    """Words by value in one language. `source` and `date` go into every report that rests on it."""

    name: str
    version: int
    date: str
    language: str
    source: str
    values: Mapping[str, tuple[Term, ...]]
    never: tuple[Term, ...] = ()
    reference: Mapping[str, float] = field(default_factory=dict)


def packaged() -> list[str]:
    """Return the names of the lexicons that Assay brings, sorted, each once."""
    return sorted({path.name.split(".")[0] for path in _DATA.glob("*.*.json")})


def languages_of(name: str) -> list[str]:
    """Return the languages in which Assay brings the lexicon `name`, sorted; none for an unknown name."""
    return sorted(path.name.split(".")[1] for path in _DATA.glob("*.*.json") if path.name.split(".")[0] == name)


@cache
def data_file(name: str) -> dict[str, object]:
    """Return a data file of the package by its file name. Do not change what it returns: it is shared."""
    loaded: dict[str, object] = json.loads((_DATA / name).read_text("utf-8"))
    return loaded


def load(name: str, language: str = "en") -> Lexicon:
    """Load a packaged lexicon by name, or a user's own by the path of its JSON file. Raises `BadInput`."""
    if name.endswith(".json"):
        return parse(_read(Path(name)), name)
    if name not in packaged():
        raise BadInput(
            f"lexicon {name}: none of that name; Assay has {', '.join(packaged())}, or give a path to a .json"
        )
    if language not in languages_of(name):
        raise BadInput(f"lexicon {name}: no language {language}; there is {', '.join(languages_of(name))}")
    return parse(data_file(f"{name}.{language}.json"), f"{name}.{language}")


def _read(path: Path) -> object:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise BadInput(f"{path}: larger than {_MOST_BYTES} bytes: no lexicon")
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: no readable JSON: {error}") from None


def parse(data: object, where: str) -> Lexicon:
    """Make a lexicon of a file's JSON. Raises `BadInput` that says which field is wrong."""
    if not isinstance(data, dict):
        raise BadInput(f"{where}: a lexicon is a JSON object with name, version, date, language, source and values")
    for key, kind in (("name", str), ("version", int), ("date", str), ("language", str), ("source", str)):
        if not isinstance(data.get(key), kind) or data[key] == "":
            raise BadInput(f"{where}: `{key}` is missing or no {kind.__name__}")
    values = data.get("values")
    if not isinstance(values, dict) or not values:
        raise BadInput(f"{where}: `values` must map each value to a list of terms")
    for value in values:
        if not value or value != value.strip():
            raise BadInput(f"{where}: values: {value!r} is empty or has a space at its ends")
    inflected = data["language"] == "en"
    terms = {value: _terms(listed, f"{where}: values.{value}", inflected) for value, listed in values.items()}
    if sum(map(len, terms.values())) > _MOST_TERMS:
        raise BadInput(f"{where}: more than {_MOST_TERMS} terms")
    return Lexicon(
        data["name"],
        data["version"],
        data["date"],
        data["language"],
        data["source"],
        terms,
        _terms(data.get("not", []), f"{where}: not", inflected=False),
        _reference(data.get("reference", {}), terms, where),
    )


def _terms(listed: object, where: str, inflected: bool) -> tuple[Term, ...]:
    if not isinstance(listed, list) or not all(isinstance(term, str) and term.strip("=^ ") for term in listed):
        raise BadInput(f"{where}: must be a list of words or phrases")
    return tuple(_term(term, inflected) for term in listed)


def _term(text: str, inflected: bool) -> Term:
    exact = text.startswith("=")
    text = text.removeprefix("=")
    return Term(text.removeprefix("^").strip(), inflected and not exact, text.startswith("^"))


def _reference(data: object, values: Mapping[str, object], where: str) -> dict[str, float]:
    if not isinstance(data, dict):
        raise BadInput(f"{where}: `reference` must map values to shares")
    for value, share in data.items():
        if value not in values or isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise BadInput(f"{where}: reference.{value} must be a share from 0 to 1 of a value of the lexicon")
    return {value: float(share) for value, share in data.items()}


def load_all(name: str, languages: Iterable[str]) -> list[Lexicon]:
    """Load a lexicon in several languages (a path is one file, whose own language counts). Raises `BadInput`."""
    return [load(name)] if name.endswith(".json") else [load(name, language) for language in languages]


def plural(word: str) -> str:
    """Return the regular English plural of a word; `-man` gives `-men`. Words that differ are listed in the files."""
    if word.endswith("man") and word not in _REGULAR_MAN:
        return word[:-2] + "en"
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


#: Words in -man that are no compound of `man`.
_REGULAR_MAN = frozenset(["human", "german", "roman", "norman", "ottoman", "shaman", "talisman", "caiman", "oman"])
