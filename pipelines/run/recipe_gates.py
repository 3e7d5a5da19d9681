"""The recipe's `gates` section: what must hold before `assay check` clears the dataset for training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from audit import gates
from audit.groups import Group
from filters.reasons import BY_CODE
from filters.rules import RULES
from pipelines.run.recipe_audit import Audit, known_value

_Share = Annotated[float, Field(ge=0, le=1)]
_Ratio = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Name = Annotated[str, Field(min_length=1)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _ordered(low: float | None, high: float | None) -> None:
    """Refuse bounds that bound nothing, or that nothing meets. Raises `ValueError`."""
    if low is None and high is None:
        raise ValueError("give min, max or both")
    if low is not None and high is not None and low > high:
        raise ValueError(f"min ({low}) must be at most max ({high})")


class DisparateImpactGate(_Model):
    """Pass rates by group of one rule, or of all."""

    group: _Name = Field(description="group whose values are compared")
    rule: _Name = Field(gates.CHAIN, description="name of a rule, a reason code, or chain for all rules together")
    min: _Share = Field(0.8, description="least pass rate of any value over that of the best one")
    against: str | None = Field(None, description="the value that all are compared with; null for the best one")


class ShareGate(_Model):
    """The share of one value among the kept samples that have one."""

    group: _Name = Field(description="group")
    value: _Name = Field(description="its value")
    min: _Share | None = Field(None, description="least share")
    max: _Share | None = Field(None, description="largest share")
    weighted: bool = Field(False, description="count by the ledger's weights")

    @model_validator(mode="after")
    def _possible(self) -> ShareGate:
        _ordered(self.min, self.max)
        return self


class DisparityGate(_Model):
    """The shares of a group over those of its reference."""

    group: _Name = Field(description="group with a reference")
    min: _Ratio | None = Field(None, description="least ratio of any value")
    max: _Ratio | None = Field(None, description="largest ratio of any value")
    weighted: bool = Field(False, description="count by the ledger's weights")

    @model_validator(mode="after")
    def _possible(self) -> DisparityGate:
        _ordered(self.min, self.max)
        return self


class ConceptGapGate(_Model):
    """How far any concept goes with one value of a group rather than with the other."""

    concepts: _Name = Field(description="group whose values are the concepts")
    groups: _Name = Field(description="group that they are compared by")
    values: tuple[str, str] | None = Field(None, description="its two values; null for those of the association")
    max: Annotated[float, Field(ge=0, le=2)] = Field(description="largest gap (nPMI) either way")


class CoverageGate(_Model):
    """How many kept samples have a value of a group at all."""

    group: _Name = Field(description="group")
    min: _Share = Field(description="least share of the kept samples")


class RateGate(_Model):
    """How many kept samples have a word of a lexicon."""

    group: _Name = Field(description="group, for example toxicity")
    value: str | None = Field(None, description="its value; null for the most frequent one")
    max: _Share = Field(description="largest share of the kept samples")


class EffectiveSampleGate(_Model):
    """What the weights leave of the sample."""

    min: _Share = Field(description="least effective sample size (Kish), as a share of the samples kept")


class GateChoice(_Model):
    """One gate: exactly one of the kinds."""

    disparate_impact: DisparateImpactGate | None = None
    share: ShareGate | None = None
    disparity: DisparityGate | None = None
    concept_gap: ConceptGapGate | None = None
    coverage: CoverageGate | None = None
    rate: RateGate | None = None
    effective_sample: EffectiveSampleGate | None = None
    surely: bool = Field(False, description="pass only where the whole 95 % interval is within the bounds")

    @model_validator(mode="after")
    def _one(self) -> GateChoice:
        if len(self._chosen()) != 1:
            kinds = [name for name in type(self).model_fields if name != "surely"]
            raise ValueError(f"give exactly one of {', '.join(kinds)}")
        return self

    def _chosen(self) -> list[BaseModel]:
        return [value for _, value in self if isinstance(value, BaseModel)]

    def rule(self, audit: Audit) -> gates.Rule:
        """Return what the gate asks of a tally; the recipe has been checked."""
        (choice,) = self._chosen()
        match choice:
            case DisparateImpactGate():
                return gates.DisparateImpact(choice.group, reason_of(choice.rule), choice.min, choice.against)
            case ShareGate():
                return gates.Share(choice.group, choice.value, choice.min, choice.max, choice.weighted)
            case DisparityGate():
                return gates.Disparity(choice.group, choice.min, choice.max, choice.weighted)
            case ConceptGapGate():
                return gates.ConceptGap(choice.concepts, choice.groups, _pair(choice, audit), choice.max)
            case CoverageGate():
                return gates.Coverage(choice.group, choice.min)
            case RateGate():
                return gates.Rate(choice.group, choice.value, choice.max)
            case EffectiveSampleGate():
                return gates.EffectiveSample(choice.min)
        raise TypeError(f"no such gate: {choice}")


def reason_of(rule: str) -> str | None:
    """Return the reason code of a rule's name or of a code, None for the chain. Raises `ValueError`."""
    if rule == gates.CHAIN:
        return None
    if rule in RULES:
        return str(RULES[rule].reason.value)
    code = rule.upper()
    if code in BY_CODE:
        return code
    raise ValueError(f"rule {rule!r}: neither chain, nor one of {', '.join(RULES)}, nor a reason code")


def declared_gates(choices: Mapping[str, GateChoice], audit: Audit) -> tuple[gates.Gate, ...]:
    """Return the recipe's gates in their order."""
    return tuple(gates.Gate(name, choice.rule(audit), choice.surely) for name, choice in choices.items())


def check_gates(choices: Mapping[str, GateChoice], audit: Audit, groups: Iterable[Group]) -> None:
    """Refuse gates about groups, values or rules that there are not. Raises `ValueError`."""
    declared = {group.name: group for group in groups}
    for name, choice in choices.items():
        if not name or len(name) > 100 or not name.isprintable():
            raise ValueError(f"gates: {name!r}: a name has 1 to 100 printable characters")
        try:
            _check(choice.rule(audit), declared, audit)
        except ValueError as error:
            raise ValueError(f"gates.{name}: {error}") from None


def _check(rule: gates.Rule, declared: Mapping[str, Group], audit: Audit) -> None:
    for name in _groups_of(rule):
        if name not in declared:
            raise ValueError(f"there is no group {name!r}; declared are {', '.join(declared)}")
    match rule:
        case gates.Coverage():
            _divides(declared[rule.group])
        case gates.DisparateImpact():
            _divides(declared[rule.group])
            if rule.against is not None:
                known_value("against", declared[rule.group], rule.against)
        case gates.Share():
            _divides(declared[rule.group])
            known_value("share", declared[rule.group], rule.value)
        case gates.Disparity():
            _divides(declared[rule.group])
            if rule.group not in audit.reference_of(declared.values()):
                raise ValueError(f"the group {rule.group!r} has no reference: add one to audit.references")
        case gates.ConceptGap():
            if rule.concepts == rule.groups:
                raise ValueError("concepts and groups must be two groups")
            _divides(declared[rule.groups])
            for value in rule.values:
                known_value("values", declared[rule.groups], value)
        case gates.Rate(value=str(value)):
            known_value("rate", declared[rule.group], value)


def _divides(group: Group) -> None:
    if group.overlap == "each":
        raise ValueError(f"the values of {group.name} overlap (overlap: each), so they cannot be compared")


def _groups_of(rule: gates.Rule) -> tuple[str, ...]:
    match rule:
        case gates.ConceptGap():
            return rule.concepts, rule.groups
        case gates.EffectiveSample():
            return ()
        case _:
            return (rule.group,)


def _pair(choice: ConceptGapGate, audit: Audit) -> tuple[str, str]:
    """Return the two values that concepts are compared by: the gate's own, else those of the association."""
    if choice.values is not None:
        return choice.values
    for association in audit.asked_associations():
        if (association.concepts, association.group) == (choice.concepts, choice.groups):
            return association.values
    raise ValueError("name the two values of the group: values: [one, other]")
