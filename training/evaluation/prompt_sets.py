"""The prompts of the audit of outputs, the attributes that are looked for, and which captions name them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from audit.groups import MIXED, Assigner, Group

FILE = Path(__file__).parent / "data" / "outputs.json"

#: Captions at once.
_BLOCK = 65_536


@dataclass(frozen=True)
class Attribute:
    """What pictures are told by: texts of each class, and how captions name the class (a group of the audit)."""

    name: str
    classes: dict[str, list[str]]
    labels: Group


@dataclass(frozen=True)
class PromptSet:
    """Prompts that name no class of the attribute, in the order of the file."""

    name: str
    attribute: str
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class Lists:
    """The packaged file."""

    version: int
    source: str
    attributes: tuple[Attribute, ...]
    sets: tuple[PromptSet, ...]


@cache
def lists() -> Lists:
    """Return the packaged lists."""
    body = json.loads(FILE.read_text(encoding="utf-8"))
    attributes = [
        Attribute(one["name"], one["classes"], Group(one["name"], **one["labels"])) for one in body["attributes"]
    ]
    sets = [
        PromptSet(one["name"], one["attribute"], tuple(one["template"].format(word) for word in one["prompts"]))
        for one in body["sets"]
    ]
    return Lists(body["version"], body["source"], tuple(attributes), tuple(sets))


def caption_labels(attribute: Attribute, captions: pa.ChunkedArray) -> np.ndarray:
    """Return int64 (n,): the place in `attribute.classes` of the class that each caption names; -1: none, or several.

    What a caption says is taken for true: its mistakes count as the encoder's.
    """
    places = {name: at for at, name in enumerate(attribute.classes)}
    assigner = Assigner([attribute.labels])
    found = np.full(len(captions), -1, np.int64)
    for start in range(0, len(captions), _BLOCK):
        block = captions.slice(start, _BLOCK).cast(pa.string())
        (member,) = assigner.assign(pa.table({"caption": block}))
        codes = np.array([places.get(value, -1) if value != MIXED else -1 for value in member.values], np.int64)
        if len(member.rows):
            found[start + member.rows] = codes[member.codes]
    return found
