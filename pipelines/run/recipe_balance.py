"""The recipe's `balance` section: whom to leave out and what to weigh, of the samples that all other rules keep.

The steps have one order, whatever the order of the keys. Selection: cap, concepts, temperature (with keep), quotas, so
that what a quota promises holds in the end. Then weights: by_group and temperature (without keep), then rake or
moments. `rules.NAME.by_group` stands here too. Names of groups and values are checked when the recipe is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from audit.groups import Group
from audit.weighting.choice import Quota as QuotaUnit
from audit.weighting.choice import parity
from audit.weighting.quotas import DENOMINATOR, fraction
from pipelines.run.recipe_audit import known_value

_Share = Annotated[float, Field(gt=0, le=1)]
_Shares = dict[str, _Share]
#: Shares of quotas are fractions with denominators up to a million.
_Least = Annotated[float, Field(ge=1 / DENOMINATOR, le=1)]
_Trim = Annotated[float, Field(gt=1, le=1000)]
#: Most values that one quota names.
_MOST_VALUES = 1000
#: Rounding that shares which should add up to 1 may have.
_ROUNDING = 1e-9


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GroupBounds(_Model):
    """Bounds that a rule has for one value of a group instead of its own, both inclusive."""

    low: float | None = Field(None, allow_inf_nan=False, description="smallest value that passes")
    high: float | None = Field(None, allow_inf_nan=False, description="largest value that passes")

    @model_validator(mode="after")
    def _possible(self) -> GroupBounds:
        if self.low is None and self.high is None:
            raise ValueError("give low, high or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low ({self.low}) must be at most high ({self.high})")
        return self


#: Bounds of a rule by group, then value.
ByGroup = dict[str, dict[str, GroupBounds]]


class Concepts(_Model):
    """MetaCLIP's caps: a concept of n samples is kept with min(1, t / n); a sample stays if one of its concepts is."""

    group: str = Field(description="group whose values are the concepts, for example occupations")
    t: float = Field(gt=0, allow_inf_nan=False, description="samples a concept, about")
    unmatched: Literal["keep", "drop"] = Field(
        "keep", description="samples with none of the concepts; MetaCLIP drops them"
    )


class Temperature(_Model):
    """Values in proportion to n^tau instead of n."""

    group: str = Field(description="group whose values divide the samples")
    tau: float = Field(ge=0, le=1, description="1 leaves the values as they are, 0 makes them equal")
    keep: _Share | None = Field(
        None, description="leave samples out until this fraction of those with a value is left; null weighs instead"
    )


class Quota(_Model):
    """Least shares of values, reached by leaving out samples of the over-full values."""

    min: dict[str, _Least] = Field(
        {}, description="least share by value, of the samples that have a value (mixed counts in)"
    )
    parity: list[str] = Field(
        [], description="instead of min: as many of each of these values, of those that have one"
    )
    max_drop: float = Field(
        0.5, ge=0, le=1, description="largest fraction of the samples with a value to leave out for it"
    )

    @model_validator(mode="after")
    def _possible(self) -> Quota:
        if bool(self.min) == bool(self.parity):
            raise ValueError("give min or parity")
        if sum(map(fraction, self.min.values())) > 1:
            raise ValueError(f"the least shares add up to {sum(self.min.values()):g}, which is more than 1")
        if self.parity and (len(self.parity) < 2 or len(set(self.parity)) < len(self.parity)):
            raise ValueError("parity: name two or more different values")
        return self

    def unit(self, group: str) -> QuotaUnit:
        """Return what is asked of the group."""
        if self.parity:
            return parity(group, self.parity, self.max_drop)
        shares = {value: fraction(share) for value, share in self.min.items()}
        return QuotaUnit(group, shares, None, self.max_drop)


class Rake(_Model):
    """Weights under which several groups have target shares."""

    margins: dict[str, _Shares] = Field(
        min_length=1,
        description="by group, target share by value: of the samples with a value, unnamed values keeping their "
        "proportions; where the shares add up to 1, of the samples with one of the named values",
    )
    trim: _Trim | None = Field(5.0, description="weights stay within 1/trim and trim; null leaves them free")
    rounds: int = Field(500, ge=1, le=100_000, description="rounds after which it gives up")
    tolerance: float = Field(1e-9, gt=0, lt=1, description="largest difference of shares that counts as reached")

    @model_validator(mode="after")
    def _possible(self) -> Rake:
        _check_targets("margins", self.margins)
        return self


class Moments(_Model):
    """Weights under which attributes have target shares, over all and within each label (M4)."""

    targets: dict[str, _Shares] = Field(min_length=1, description="as rake.margins")
    labels: list[str] = Field([], description="groups; within each of their values the targets are to hold too")
    least: int = Field(
        30, ge=1, description="labels with fewer samples are left out; of the rest, the 200 largest stand"
    )
    representation: float = Field(0.01, ge=0, le=1, description="largest difference from a target over all samples")
    association: float = Field(0.05, ge=0, le=1, description="largest difference from a target within a label")
    trim: _Trim = Field(5.0, description="weights stay within 1/trim and trim")
    penalty: float = Field(
        100.0, gt=0, le=1e9, description="price of one unit of share that is missed, against variance of the weights"
    )

    @model_validator(mode="after")
    def _possible(self) -> Moments:
        _check_targets("targets", self.targets)
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels: a group stands twice")
        both = sorted(set(self.labels) & set(self.targets))
        if both:
            raise ValueError(f"labels: {', '.join(both)} cannot be label and target")
        return self


class Balance(_Model):
    """Whom to leave out and what to weigh; the steps, in their order, are cap to moments."""

    by: Literal["concept", "folder", "creator", "domain", "language"] = Field(
        "concept", description="column of `cap`; `concept` is the caption's most frequent content word in the corpus"
    )
    cap: int | None = Field(None, ge=1, description="most samples of each value of `by`; null for no cap")
    seed: int = Field(0, ge=-(2**63), lt=2**63, description="decides, with the uid, which samples stay")
    concepts: Concepts | None = Field(None, description="caps on concepts as in MetaCLIP")
    temperature: Temperature | None = Field(None, description="values in proportion to n^tau")
    quotas: dict[str, Quota] = Field({}, description="least shares by group")
    by_group: dict[str, dict[str, Annotated[float, Field(gt=0, le=1000)]]] = Field(
        {}, description="factor on the weight by group, then value"
    )
    rake: Rake | None = Field(None, description="weights that give several groups target shares")
    moments: Moments | None = Field(None, description="weights that give target shares over all and within labels")

    @model_validator(mode="after")
    def _possible(self) -> Balance:
        if not (self.cap or self.concepts or self.temperature or self.quotas or self.weighs):
            raise ValueError("asks for nothing: give cap or another step, or balance: null")
        if self.rake and self.moments:
            raise ValueError("rake and moments exclude each other: moments has targets of its own")
        return self

    @property
    def weighs(self) -> bool:
        """Whether samples get weights other than 1."""
        tempered = self.temperature is not None and self.temperature.keep is None
        return bool(self.by_group or self.rake or self.moments or tempered)

    def dividing(self) -> dict[str, set[str]]:
        """Return the groups whose values must divide the samples, with the values named, in order of the steps."""
        found: dict[str, set[str]] = {}
        if self.temperature:
            found.setdefault(self.temperature.group, set())
        for name, quota in self.quotas.items():
            found.setdefault(name, set()).update(quota.min, quota.parity)
        shares = [self.rake.margins] if self.rake else []
        shares += [self.moments.targets] if self.moments else []
        for section in (self.by_group, *shares):
            for name, values in section.items():
                found.setdefault(name, set()).update(values)
        return found

    def overlapping(self) -> list[str]:
        """Return the groups whose values may overlap, in order of the steps."""
        return [*([self.concepts.group] if self.concepts else []), *(self.moments.labels if self.moments else [])]


def _check_targets(where: str, margins: Mapping[str, Mapping[str, float]]) -> None:
    for group, shares in margins.items():
        total = sum(shares.values())
        if not shares:
            raise ValueError(f"{where}.{group}: name at least one value")
        if total > 1 + _ROUNDING:
            raise ValueError(f"{where}.{group}: the shares add up to {total:g}, which is more than 1")
        if len(shares) == 1 and total >= 1 - _ROUNDING:
            raise ValueError(f"{where}.{group}: one value with a share of 1 asks for nothing; name two or lower it")


def closed(shares: Mapping[str, float]) -> bool:
    """Tell whether target shares add up to 1: then they speak of the samples with one of the named values only."""
    return sum(shares.values()) >= 1 - _ROUNDING


def check_balance(balance: Balance | None, rules: Mapping[str, ByGroup], groups: Iterable[Group]) -> None:
    """Refuse groups that are not declared, values that they cannot have, and overlap where values must divide.

    `rules`: the bounds by group of each rule. Raises `ValueError`.
    """
    declared = {group.name: group for group in groups}
    for rule, bounds in rules.items():
        for name, values in bounds.items():
            _known(f"rules.{rule}.by_group", declared, name, values)
    if balance is None:
        return
    for name, named in balance.dividing().items():
        _known("balance", declared, name, named)
        if declared[name].overlap == "each":
            raise ValueError(f"balance: the values of {name} overlap (overlap: each), so they have no shares")
    for name in balance.overlapping():
        _known("balance", declared, name, ())


def _known(where: str, declared: Mapping[str, Group], name: str, values: Iterable[str]) -> None:
    if name not in declared:
        raise ValueError(f"{where}: there is no group {name!r}; declared are {', '.join(declared)}")
    for value in sorted(values):
        known_value(where, declared[name], value)
