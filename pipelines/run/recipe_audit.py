"""The recipe's `audit` and `gates` sections: how samples are told apart, what is asked of that, what must hold.

What is left out gets defaults that need nothing but captions and addresses, so that every run can be audited. The
names of groups, lexicons, values, rules and references are checked when the recipe is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from audit.groups import MIXED, Assigner, Group, Reference, reference, un_population
from audit.groups.base import Kind, Level, Overlap
from audit.groups.lexicon import load_all
from filters.errors import BadInput

#: Most groups of one recipe: each is a column of every part.
_MOST_GROUPS = 100
_Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GroupChoice(_Model):
    """One way to divide samples; its name is the key."""

    kind: Kind = Field(
        description="terms (words of a lexicon), place, domain, language, creator, column, labels made by people, or "
        "gps (country of the EXIF position)"
    )
    lexicon: str | None = Field(None, min_length=1, description="name of a packaged lexicon, or path of a .json file")
    column: str | None = Field(
        None,
        min_length=1,
        description="column of samples, scores or labels that is read instead of the kind's own; metadata.KEY for a "
        "further field of the input",
    )
    level: Level = Field("region", description="of places, domains and gps; bucket puts hosts into 200 sets by hash")
    languages: list[str] = Field(["en"], description="languages of a packaged lexicon, all of them together")
    edges: list[_Finite] = Field([], description="cut a column of numbers into intervals")
    overlap: Overlap = Field("mixed", description="what a sample with several values is: mixed, or one of each")

    def group(self, name: str) -> Group:
        """Return it as a group of the audit. Raises `BadInput`."""
        return Group(
            name,
            self.kind,
            self.lexicon,
            self.column,
            self.level,
            tuple(self.languages),
            tuple(self.edges),
            self.overlap,
        )

    def placed(self, place: Callable[[str], str]) -> GroupChoice:
        """Return the choice with `place` applied to the path of a lexicon of the user's."""
        if self.lexicon is None or not self.lexicon.endswith(".json"):
            return self
        return self.model_copy(update={"lexicon": place(self.lexicon)})


class Association(_Model):
    """Which concepts go with which of two values of a group."""

    concepts: str = Field(description="group whose values are the concepts")
    group: str = Field(description="group that they are compared by")
    values: tuple[str, str] = Field(description="the two values, for example [feminine, masculine]")


class Ranking(_Model):
    """Who stands at the top by a score."""

    column: str = Field(min_length=1, description="score, higher is better")
    group: str = Field(description="group whose shares are compared")
    k: list[Annotated[int, Field(ge=1)]] = Field([100, 1000], min_length=1, description="how many are the top")


class Rate(_Model):
    """How many captions have a word of a lexicon, within each value of another group."""

    group: str = Field(description="group whose values are counted, for example toxicity")
    within: str = Field(description="group whose values are compared")


def default_groups() -> dict[str, GroupChoice]:
    """Return the groups of a recipe that declares none."""
    return {
        "region": GroupChoice(kind="place", level="region"),
        "gender_terms": GroupChoice(kind="terms", lexicon="gender_terms"),
        "source_region": GroupChoice(kind="domain", level="region"),
        "occupations": GroupChoice(kind="terms", lexicon="occupations", overlap="each"),
        "toxicity": GroupChoice(kind="terms", lexicon="toxicity", overlap="each"),
    }


class Audit(_Model):
    """Who is in the dataset, whom the rules remove, and what goes with whom."""

    labels: str | None = Field(
        None, min_length=1, description="parquet file with a column uid and labels that people made, one row a sample"
    )
    groups: dict[str, GroupChoice] | None = Field(
        None,
        max_length=_MOST_GROUPS,
        description="groups by name; null for region, gender_terms, source_region, occupations, toxicity (and "
        "language, where the scorer language runs)",
    )
    references: dict[str, Literal["un_population"] | dict[str, _Finite]] | None = Field(
        None,
        description="shares that a group is compared with; null compares places, domains and gps by region with the "
        "UN's population",
    )
    associations: list[Association] | None = Field(
        None, description="null asks which occupations go with which gender_terms, where both are declared"
    )
    intersections: list[tuple[str, str]] | None = Field(
        None, description="pairs of groups; null crosses region and gender_terms, where both are declared"
    )
    rankings: list[Ranking] = Field([], description="who stands at the top by a score")
    rates: list[Rate] | None = Field(
        None, description="null asks for toxicity within gender_terms, where both are declared"
    )
    resample: Literal["domain", "creator", "cluster"] | None = Field(
        None, description="intervals of disparate impact that resample whole domains, creators or duplicate clusters"
    )

    @model_validator(mode="after")
    def _possible(self) -> Audit:
        try:
            for name in self.groups or {}:
                if name == "uid" or name.startswith("("):
                    raise BadInput(f"groups: {name} is a name of Assay's own: give the group another one")
            declared = {name: choice.group(name) for name, choice in (self.groups or default_groups()).items()}
            _check_lexicons(declared.values())
            _check_references(self.references or {}, declared)
        except BadInput as error:
            raise ValueError(str(error)) from None
        if self.labels is None and any(group.kind == "labels" for group in declared.values()):
            raise ValueError("a group of kind labels needs audit.labels, the file that holds them")
        for where, names in self._named():
            for name in names:
                if name not in declared and not (name == "language" and self.groups is None):
                    raise ValueError(f"{where}: there is no group {name!r}; declared are {', '.join(declared)}")
        self._check_values(declared)
        return self

    def _named(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        """Yield the groups that the questions name, with where they do."""
        for association in self.associations or []:
            yield "associations", (association.concepts, association.group)
        for pair in self.intersections or []:
            yield "intersections", pair
        for ranking in self.rankings:
            yield "rankings", (ranking.group,)
        for rate in self.rates or []:
            yield "rates", (rate.group, rate.within)

    def _check_values(self, declared: Mapping[str, Group]) -> None:
        """Refuse questions that have no answer: values that cannot be, groups whose values overlap, a group itself."""
        for association in self.associations or []:
            for value in association.values:
                known_value("associations", declared.get(association.group), value)
            if association.values[0] == association.values[1]:
                raise ValueError("associations: name two different values")
        pairs = [(a.concepts, a.group) for a in self.associations or []] + list(self.intersections or [])
        for one, other in pairs:
            if one == other:
                raise ValueError(f"{one} cannot be crossed with itself")
        divided = [a.group for a in self.associations or []] + [n for pair in self.intersections or [] for n in pair]
        divided += [r.group for r in self.rankings] + [r.within for r in self.rates or []]
        for name in divided:
            if name in declared and declared[name].overlap == "each":
                raise ValueError(f"{name}: its values overlap (overlap: each), so they cannot be compared")

    def placed(self, place: Callable[[str], str]) -> Audit:
        """Return the section with `place` applied to every path in it."""
        groups = self.groups
        if groups is not None:
            groups = {name: choice.placed(place) for name, choice in groups.items()}
        return self.model_copy(update={"labels": self.labels and place(self.labels), "groups": groups})

    def declared(self, scorers: Iterable[str]) -> tuple[Group, ...]:
        """Return the groups in their order; the default ones where none is declared."""
        choices = self.groups
        if choices is None:
            choices = default_groups()
            if "language" in scorers:
                choices["language"] = GroupChoice(kind="language")
        return tuple(choice.group(name) for name, choice in choices.items())

    def _stands(self, name: str, overlap: Overlap) -> bool:
        """Tell whether a group is declared under a default's name, with values that divide samples as there."""
        choice = (default_groups() if self.groups is None else self.groups).get(name)
        return choice is not None and choice.overlap == overlap

    def asked_associations(self) -> list[Association]:
        """Return the associations asked for, or the default one."""
        if self.associations is not None:
            return self.associations
        gender = (default_groups() if self.groups is None else self.groups).get("gender_terms")
        if gender is None or gender.lexicon != "gender_terms" or gender.overlap == "each":
            return []
        if not self._stands("occupations", "each"):
            return []
        return [Association(concepts="occupations", group="gender_terms", values=("feminine", "masculine"))]

    def asked_intersections(self) -> list[tuple[str, str]]:
        """Return the intersections asked for, or the default one."""
        if self.intersections is not None:
            return self.intersections
        stand = self._stands("region", "mixed") and self._stands("gender_terms", "mixed")
        return [("region", "gender_terms")] if stand else []

    def asked_rates(self) -> list[Rate]:
        """Return the rates asked for, or the default one."""
        if self.rates is not None:
            return self.rates
        stand = self._stands("toxicity", "each") and self._stands("gender_terms", "mixed")
        return [Rate(group="toxicity", within="gender_terms")] if stand else []

    def reference_of(self, groups: Iterable[Group]) -> dict[str, Reference]:
        """Return the references by group: those named, else the UN's population for groups by region."""
        found: dict[str, Reference] = {}
        for group in groups:
            shares = None if self.references is None else self.references.get(group.name)
            if isinstance(shares, dict):
                found[group.name] = reference("the recipe's reference", shares, "the recipe", "")
            elif shares is not None or (self.references is None and by_region(group)):
                found[group.name] = un_population()
        return found

    def check_files(self) -> None:
        """Read the lexicons that are files of the user's. Raises `BadInput` for one that is none."""
        for name, choice in (self.groups or {}).items():
            if choice.lexicon is not None and choice.lexicon.endswith(".json"):
                try:
                    Assigner([choice.group(name)])
                except BadInput as error:
                    raise BadInput(f"audit.groups.{name}: {error}") from None


def _check_lexicons(groups: Iterable[Group]) -> None:
    """Refuse packaged lexicons and languages that there are not; a user's own files are read by `check_files`."""
    for group in groups:
        if group.lexicon is not None and not group.lexicon.endswith(".json"):
            load_all(group.lexicon, group.languages)


def known_value(where: str, group: Group | None, value: str) -> None:
    """Refuse a value that the group cannot have, as far as its values are known beforehand. Raises `ValueError`."""
    values = possible_values(group) if group is not None else None
    if values is not None and group is not None and value not in values:
        some = ", ".join(sorted(values)[:12])
        raise ValueError(f"{where}: group {group.name} has no value {value!r}; it has {some}")


def possible_values(group: Group) -> set[str] | None:
    """Return the values that a group can have; None where only the data tell."""
    if group.kind == "terms" and group.lexicon is not None and not group.lexicon.endswith(".json"):
        found = {value for lexicon in load_all(group.lexicon, group.languages) for value in lexicon.values}
    elif group.kind in ("place", "domain", "gps") and group.level == "region":
        found = set(un_population().shares)
    else:
        return None
    return found | ({MIXED} if group.mixes else set())


def _check_references(references: Mapping[str, object], declared: Mapping[str, Group]) -> None:
    for name, shares in references.items():
        group = declared.get(name)
        if group is None:
            raise BadInput(f"references: there is no group {name!r}; declared are {', '.join(declared)}")
        if isinstance(shares, Mapping):
            reference(name, shares, "", "")
            for value in shares:
                known_value("references", group, value)
        elif not by_region(group):
            raise BadInput(
                f"references.{name}: un_population is by region, for places, domains and gps of level region"
            )


def by_region(group: Group) -> bool:
    """Tell whether a group's values are the six UN regions."""
    return group.kind in ("place", "domain", "gps") and group.level == "region"
