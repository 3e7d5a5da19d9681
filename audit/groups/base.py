"""What a group is: how samples are told apart without looking at faces.

A group is declared in the recipe. Its values come from the caption's words, from places, from the source's domain,
from a column, or from labels that people have made. Nothing here infers anything about a person from a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Literal, get_args

from filters.errors import BadInput

Kind = Literal["terms", "place", "domain", "language", "creator", "column", "labels", "gps"]
Level = Literal["country", "subregion", "region", "tld", "host", "bucket"]
Overlap = Literal["mixed", "each"]

#: The value of a sample that has two or more values of a group that `mixes`. Other groups may have it of their data.
MIXED = "mixed"

_COLUMNS = {
    "terms": "caption",
    "place": "caption",
    "domain": "domain",
    "language": "language",
    "creator": "creator",
    "gps": "gps_country",
}
_LEVELS = {
    "place": ("country", "subregion", "region"),
    "domain": ("country", "subregion", "region", "tld", "host", "bucket"),
    "gps": ("country", "subregion", "region"),
}


@dataclass(frozen=True)
class Group:
    """One way to divide samples.

    `kind`: `terms` (words of `lexicon` in the caption), `place` (places in it), `domain` (that of the source),
    `language`, `creator`, `column` (any column), `labels` (a column of labels that the user brings), `gps` (the
    country where the picture was taken, by its EXIF position). `column` is read instead of the kind's own (for `gps`:
    one of country codes). `level` is for places, domains and gps (`bucket`: one of 200 sets of hosts, to resample by),
    `languages` for lexicons.
    `edges` cut a number column into the intervals [edge, next edge), the last one closed. `overlap` says what a sample
    with several values is: one of `mixed`, so that the values divide the samples, or one of `each` (concepts).
    """

    name: str
    kind: Kind
    lexicon: str | None = None
    column: str | None = None
    level: Level = "region"
    languages: tuple[str, ...] = ("en",)
    edges: tuple[float, ...] = ()
    overlap: Overlap = "mixed"

    def __post_init__(self) -> None:
        """Refuse a declaration that cannot be carried out. Raises `BadInput`."""
        where = f"group {self.name or '(no name)'}"
        if not self.name or len(self.name) > 100 or not self.name.isprintable():
            raise BadInput(f"{where}: needs a name of 1 to 100 printable characters")
        if self.kind not in get_args(Kind):
            raise BadInput(f"{where}: kind {self.kind}: use one of {', '.join(get_args(Kind))}")
        if (self.kind == "terms") != (self.lexicon is not None):
            raise BadInput(f"{where}: kind terms, and only that, names a lexicon")
        if self.kind == "terms" and not self.languages:
            raise BadInput(f"{where}: languages: name at least one")
        if self.kind in ("column", "labels") and not self.column:
            raise BadInput(f"{where}: kind {self.kind} names its column")
        if self.kind in _LEVELS and self.level not in _LEVELS[self.kind]:
            raise BadInput(f"{where}: level {self.level}: use one of {', '.join(_LEVELS[self.kind])}")
        if self.overlap not in get_args(Overlap):
            raise BadInput(f"{where}: overlap {self.overlap}: use mixed or each")
        self._check_edges(where)

    def _check_edges(self, where: str) -> None:
        if not self.edges:
            return
        rising = all(low < high for low, high in zip(self.edges, self.edges[1:], strict=False))
        if (
            self.kind not in ("column", "labels")
            or len(self.edges) < 2
            or not rising
            or not all(map(isfinite, self.edges))
        ):
            raise BadInput(f"{where}: edges are two or more rising numbers, for kind column or labels")

    @property
    def mixes(self) -> bool:
        """Whether `MIXED` stands for several values here: in a column or a label it is a value like any other."""
        return self.overlap == "mixed" and self.kind in ("terms", "place")

    @property
    def source_column(self) -> str:
        """The column that the group is read from."""
        return self.column or _COLUMNS[self.kind]

    @property
    def described(self) -> str:
        """How the group is found, in a few words, for the report."""
        text = "the caption" if self.source_column == "caption" else self.source_column
        return {
            "terms": f"words of {text} (lexicon {self.lexicon}, {', '.join(self.languages)})",
            "place": f"countries, capitals and nationalities named in {text}, by {self.level}",
            "domain": f"the source's domain, by {self.level}",
            "language": "the caption's language, as detected",
            "creator": "the creator that the input states",
            "column": f"column {self.column}",
            "labels": f"column {self.column} of the labels that the user brought",
            "gps": f"the country of the picture's EXIF position ({self.source_column}), by {self.level}",
        }[self.kind]


@dataclass(frozen=True)
class NotMeasured:
    """Something that the audit does not measure, and why."""

    what: str
    why: str


_FACES = (
    "It would have to be inferred from people's faces or skin, which Assay does not do (GDPR Art. 9; AI Act Art."
    " 5(1)(g)); bring labels made by people, best by two or more for each picture, as a group of kind `labels`."
)

#: What no group measures unless people have labelled it. Every report lists these.
WITHOUT_LABELS = (
    NotMeasured("skin tone", _FACES),
    NotMeasured("gender of people whom the caption does not name", _FACES),
    NotMeasured("age of people whom the caption does not name", _FACES),
    NotMeasured("ethnicity of people whom the caption does not name", _FACES),
)


def not_measured(labelled: set[str]) -> list[NotMeasured]:
    """Return what stays unmeasured where labels for the subjects in `labelled` are there (names as in `what`)."""
    return [item for item in WITHOUT_LABELS if item.what not in labelled]
