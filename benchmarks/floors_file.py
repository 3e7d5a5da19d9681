"""`benchmarks/floors.yaml`: which commands are run and what each of their figures must be."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from filters.errors import BadInput
from pipelines.run.checked_yaml import checked

#: What a figure may be: a count, a ratio, or whether something holds.
Value = bool | int | float | str


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Floor(_Model):
    """One bound on one value of one line that a benchmark prints."""

    figure: str = Field(min_length=1, description="the line's `figure` or `name`")
    field: str = Field("value", min_length=1, description="which of its values; dots go into mappings")
    equals: Value | None = Field(None, description="the exact value")
    as_field: str | None = Field(None, description="another value of the line that must be the same")
    least: float | None = Field(None, allow_inf_nan=False, description="smallest value that passes")
    most: float | None = Field(None, allow_inf_nan=False, description="largest value that passes")
    missed: bool = Field(False, description="the aim is known to be missed; least or most guards against worse")
    aim: float | None = Field(None, allow_inf_nan=False, description="what is aimed at, where it is missed")
    at: Literal["quick", "full"] | None = Field(None, description="the only size at which this bound holds")
    optional: bool = Field(False, description="not printed where its data is absent (the shared photos)")
    peer: str | None = Field(None, min_length=1, description="the other side; the value is a ratio, above 1 is ahead")

    @model_validator(mode="after")
    def _one_kind(self) -> Floor:
        exact, ranged = (
            self.equals is not None or self.as_field is not None,
            self.least is not None or self.most is not None,
        )
        if exact == ranged or (self.equals is not None and self.as_field is not None):
            raise ValueError("give one of equals, as_field, or least and most")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ValueError("least is above most")
        if self.missed != (self.aim is not None):
            raise ValueError("missed: true and aim belong together")
        if self.missed and (self.least is None) == (self.most is None):
            raise ValueError("a missed figure has either least or most, on the side of its aim")
        if self.missed and self.reached(self.least if self.least is not None else self.most):
            raise ValueError("the floor of a missed figure must be worse than its aim")
        return self

    def holds(self, value: object, line: dict[str, object]) -> bool:
        """Tell whether a line's value keeps the bound."""
        if self.as_field is not None:
            other = looked_up(line, self.as_field)
            return other is not None and same(value, other)
        if self.equals is not None:
            return same(value, self.equals)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        # a comparison with NaN is false, so NaN holds nothing
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def reached(self, value: object) -> bool:
        """Tell whether a value reaches the aim; without one that is no question."""
        if self.aim is None or isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return value >= self.aim if self.least is not None else value <= self.aim

    def bound(self) -> str:
        """Return the bound in words."""
        if self.as_field is not None:
            return f"as {self.as_field}"
        if self.equals is not None:
            return f"exactly {shown(self.equals)}"
        parts = [f"at least {self.least:g}"] if self.least is not None else []
        return " and ".join([*parts, *([f"at most {self.most:g}"] if self.most is not None else [])])


class Command(_Model):
    """One benchmark: how it is run, quick and full, and the floors of what it prints."""

    run: list[str] = Field(min_length=1, description="module of benchmarks/ and its options")
    full: list[str] | None = Field(None, description="options that --full adds; none: the same at both sizes")
    only: Literal["full"] | None = Field(None, description="`full`: too long for a quick run")
    minutes: float = Field(
        gt=0, le=600, description="minutes after which the quick run is ended; the full one has ten times"
    )
    floors: list[Floor] = Field(min_length=1, description="what its figures must be")

    @model_validator(mode="after")
    def _own(self) -> Command:
        if not self.run[0].isidentifier():
            raise ValueError(f"run: {self.run[0]!r} is no module of benchmarks/")
        keys = [(floor.figure, floor.field, floor.at) for floor in self.floors]
        if len(set(keys)) < len(keys):
            raise ValueError("a figure's field stands twice")
        return self

    def arguments(self, full: bool, peers: str) -> list[str]:
        """Return the module and its options; `{peers}` becomes the folder of the peers' environments."""
        words = [*self.run, *(self.full or [] if full else [])]
        return [word.replace("{peers}", peers) for word in words]


class Floors(_Model):
    """The whole file."""

    version: Literal[1] = Field(description="version of this format")
    commands: dict[str, Command] = Field(min_length=1, description="the benchmarks by a short name")

    @model_validator(mode="after")
    def _plain_names(self) -> Floors:
        for name in self.commands:
            if not name.replace("-", "_").isidentifier():
                raise ValueError(f"{name!r}: a name is letters, digits and hyphens; its lines go to NAME.jsonl")
        return self


def load_floors(path: Path) -> Floors:
    """Read the file. Raises `BadInput`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read ({error}); name a YAML of floors with --floors") from None
    return checked(Floors, text, str(path), [], "list of floors", "benchmarks/floors_file.py")


def looked_up(line: dict[str, object], field: str) -> object:
    """Return a line's value; a dot goes into a mapping. None where there is none."""
    found: object = line
    for key in field.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found


def same(value: object, other: object) -> bool:
    """Tell whether two values are equal; true is not 1."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def shown(value: object) -> str:
    """Return a value as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)
