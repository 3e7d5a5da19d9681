"""`audit.json`: the audit as one document with a versioned schema, for programs, reports and exported documents.

No number in it is NaN or infinite. The same ledger, groups and recipe give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from audit.assemble import Section, other_languages
from audit.findings import LEAST, NEGLIGIBLE, RATE, Finding
from audit.gate_judging import Judged
from audit.groups import Group, NotMeasured, not_measured
from audit.groups.assign import lexicons_of
from audit.metrics.estimate import LEVEL
from audit.movement import Cost, Move, cost, movement
from audit.questions import Questions
from audit.tally import Tally
from filters.errors import BadInput

#: MAJOR.MINOR of the document. A new key raises MINOR; what an old reader would misread raises MAJOR.
SCHEMA_VERSION = "1.0"

#: What labels of people say, by words in the name of their group or column.
_LABELLED = {
    "skin tone": ("skin", "tone", "monk", "fitzpatrick"),
    "gender of people whom the caption does not name": ("gender", "sex"),
    "age of people whom the caption does not name": ("age",),
    "ethnicity of people whom the caption does not name": ("ethnic", "race"),
}

_TAKEN = "where a picture was taken (EXIF GPS)"
_NOT_ASKED = NotMeasured(_TAKEN, "No group of kind `gps` is declared: places are by words and hosts.")
_NO_COUNTRY = NotMeasured(
    _TAKEN,
    "No picture has a position in its EXIF block that names a country, or the run is from before schema 1.2, which"
    " did not look: places are by words and hosts.",
)


@dataclass(frozen=True)
class LexiconFact:
    """A word list that a group rests on."""

    name: str
    version: int
    date: str
    language: str
    source: str


@dataclass(frozen=True)
class GroupFact:
    """One group: how it is found, and how many samples have a value of it (null where values overlap)."""

    name: str
    kind: str
    overlap: str
    described: str
    lexicons: list[LexiconFact]
    values: int
    samples: int | None
    kept: int | None


@dataclass(frozen=True)
class ReferenceFact:
    """Shares that a group is compared with."""

    group: str
    name: str
    source: str
    date: str
    shares: dict[str, float]


@dataclass(frozen=True)
class GateFact:
    """A gate of the recipe with what it asks, and what it found."""

    asked: dict[str, object]
    judged: Judged


@dataclass(frozen=True)
class Settings:
    """How sure and how large a finding must be."""

    level: float = LEVEL
    false_discovery_rate: float = RATE
    least_samples: int = LEAST


@dataclass(frozen=True)
class Document:
    """The whole audit of one run.

    `ledger` is a hash of the decisions that were audited. `movement` has the values of each group at four points of
    the job. `minimum_effects` are the bounds between which a figure does not matter, null for no bound.
    """

    format: Literal["assay-audit"]
    schema_version: str
    name: str
    ledger: str
    cost: Cost
    groups: list[GroupFact]
    references: list[ReferenceFact]
    movement: dict[str, list[Move]]
    sections: list[Section]
    gates: list[GateFact]
    not_measured: list[NotMeasured]
    unread_captions: Finding | None
    settings: Settings
    minimum_effects: dict[str, list[float | None]]


def document(
    name: str, ledger: str, tally: Tally, questions: Questions, found: list[Section], gates: list[GateFact]
) -> Document:
    """Put an audit together."""
    read = {lexicon.language for group in questions.groups for lexicon in lexicons_of(group)} or {"en"}
    language = next((group.name for group in questions.groups if group.kind == "language"), None)
    return Document(
        "assay-audit",
        SCHEMA_VERSION,
        name,
        ledger,
        cost(tally),
        [_group(group, tally) for group in questions.groups],
        [
            ReferenceFact(group, item.name, item.source, item.date, dict(item.shares))
            for group, item in questions.references.items()
        ],
        {group.name: movement(tally, group.name, group.overlap == "mixed") for group in questions.groups},
        found,
        gates,
        [*not_measured(labelled(questions.groups)), *_without_gps(questions.groups, tally)],
        None if language is None else other_languages(tally, language, read),
        Settings(),
        {
            metric: [bound if abs(bound) != float("inf") else None for bound in bounds]
            for metric, bounds in sorted(NEGLIGIBLE.items())
        },
    )


def _group(group: Group, tally: Tally) -> GroupFact:
    lexicons = [LexiconFact(x.name, x.version, x.date, x.language, x.source) for x in lexicons_of(group)]
    values = len(tally.values(group.name))
    divides = group.overlap == "mixed"
    came, kept = (sum(tally.by(group.name, outcome).values()) if divides else None for outcome in ("all", "kept"))
    return GroupFact(group.name, group.kind, group.overlap, group.described, lexicons, values, came, kept)


def _without_gps(groups: Sequence[Group], tally: Tally) -> list[NotMeasured]:
    """Say that it is not known where pictures were taken, unless a group of kind `gps` has a value."""
    asked = [group.name for group in groups if group.kind == "gps"]
    if any(len(tally.values(name)) for name in asked):
        return []
    return [_NO_COUNTRY if asked else _NOT_ASKED]


def labelled(groups: Sequence[Group]) -> set[str]:
    """Return what people have labelled, by the names of the groups of labels, as `not_measured` calls it."""
    names = [f"{group.name} {group.column}".lower().replace("_", " ") for group in groups if group.kind == "labels"]
    words = {word for name in names for word in name.split()}
    return {what for what, marks in _LABELLED.items() if words & set(marks)}


def write(found: Document) -> bytes:
    """Return the document as JSON: sorted keys, numbers of 12 digits that count."""
    return json.dumps(_rounded(asdict(found)), sort_keys=True, indent=1, allow_nan=False).encode() + b"\n"


def read(body: bytes, where: str) -> Document:
    """Read what `write` wrote. Raises `BadInput` for another major version and for what is no audit."""
    try:
        stated = json.loads(body)
        version = str(stated["schema_version"]) if isinstance(stated, Mapping) else "none"
        if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
            raise BadInput(
                f"{where}: schema version {version}, this Assay reads {SCHEMA_VERSION}: run assay audit again"
            )
        return _adapter().validate_python(stated)
    except (ValueError, KeyError, ValidationError) as error:
        raise BadInput(f"{where}: not an audit ({str(error).splitlines()[0]})") from None


def json_schema() -> dict[str, object]:
    """Return the JSON schema of the document."""
    return _adapter().json_schema()


def _adapter() -> TypeAdapter[Document]:
    return TypeAdapter(Document)


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, Mapping):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
