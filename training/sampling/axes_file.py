"""Files of axes that prompts are diversified along: what names a person, and each axis's values with their shares."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from audit.groups.lexicon import Lexicon, languages_of, load, load_all
from audit.groups.places import gazetteer
from training.config_base import Section
from training.sampling.shipped_files import load_named, names_in

_FOLDER = Path(__file__).parent / "axes"

#: Longest phrase that is put into a prompt, in characters.
_MOST_WORDS = 200

#: How far the shares of an axis may be from adding up to 1: rounding.
_SLACK = 0.005


class Vocabulary(Section):
    """Words: lexicons of the audit by name (`places` too) or by a path of one's own, and further words."""

    lexicons: list[str] = Field(default_factory=list)
    words: list[str] = Field(default_factory=list)

    @field_validator("words")
    @classmethod
    def _real(cls, words: list[str]) -> list[str]:
        if any(not word.strip() for word in words):
            raise ValueError("a word is empty")
        return words

    def loaded(self, languages: Literal["english", "all"]) -> list[Lexicon]:
        """Return the lexicons named here, in English or in all their languages. Raises `BadInput`."""
        found: list[Lexicon] = []
        for name in self.lexicons:
            if name == "places":
                found.append(gazetteer())
            elif name.endswith(".json") or languages == "english":
                found.append(load(name))
            else:
                found += load_all(name, languages_of(name) or ["en"])
        return found


class Value(Section):
    """One value: its share of the draws, and the words that state it, before or behind the person's word."""

    share: float = Field(ge=0, le=1)
    before: str = Field("", max_length=_MOST_WORDS, pattern=r"^[^\n\r]*$")
    after: str = Field("", max_length=_MOST_WORDS, pattern=r"^[^\n\r]*$")

    @model_validator(mode="after")
    def _says_something(self) -> Value:
        if not (self.before.strip() or self.after.strip()):
            raise ValueError("a value needs words: `before` or `after`")
        return self


class Axis(Vocabulary):
    """One attribute. A prompt that has one of the words states it, and is left alone."""

    values: dict[str, Value] = Field(min_length=2)

    @field_validator("values")
    @classmethod
    def _whole(cls, values: dict[str, Value]) -> dict[str, Value]:
        total = sum(value.share for value in values.values())
        if abs(total - 1) > _SLACK:
            raise ValueError(f"the shares add up to {total:g}, not to 1")
        if any("=" in name or "," in name or not name.strip() for name in values):
            raise ValueError("a value's name is empty or has one of the signs = and , in it")
        return values


class Axes(Section):
    """A whole file. `openers`: words that may stand first with a capital and are no name."""

    version: Literal[1]
    name: str = Field(min_length=1, max_length=60, pattern=r"^[\w .-]+$")
    date: str = Field(min_length=1, max_length=40)
    source: str = Field(min_length=1)
    limits: str = Field(min_length=1)
    people: Vocabulary
    openers: list[str] = Field(default_factory=list)
    axes: dict[str, Axis] = Field(min_length=1)

    @property
    def digest(self) -> str:
        """Return the SHA-256 over all that the file says, 64 hex digits."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def shipped() -> list[str]:
    """Return the names of the files that Assay brings."""
    return names_in(_FOLDER)


def load_axes(named: str) -> Axes:
    """Return a file of axes by its shipped name, or by path (YAML). Raises `BadInput` with file, line and key."""
    return load_named(Axes, named, _FOLDER, "--diversify", "file of axes")
