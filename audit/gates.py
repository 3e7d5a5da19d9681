"""Gates: what must hold of a dataset before anybody trains on it. Declared in the recipe, judged from the tally.

A gate passes, fails, or is not measurable; what cannot be measured does not pass. By default the figure itself is
compared with the bound; with `surely` its whole 95 % interval must be inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: The rule name that stands for all rules together.
CHAIN = "chain"


@dataclass(frozen=True)
class DisparateImpact:
    """The pass rate of every value of `group`, over that of `against` (default: the best), is at least `min`.

    `reason` is the rule's reason code, None for the chain of all rules. Values with fewer than 30 samples are left
    out; where `against` has fewer, nothing is measurable.
    """

    group: str
    reason: str | None
    min: float
    against: str | None = None


@dataclass(frozen=True)
class Share:
    """The share of a value among the kept samples that have one (`mixed` counts in) is within the bounds.

    `weighted` counts by the ledger's weights, as training draws them.
    """

    group: str
    value: str
    min: float | None = None
    max: float | None = None
    weighted: bool = False


@dataclass(frozen=True)
class Disparity:
    """The share of every value of the group's reference, over what the reference says, is within the bounds."""

    group: str
    min: float | None = None
    max: float | None = None
    weighted: bool = False


@dataclass(frozen=True)
class ConceptGap:
    """No concept goes with one of two values of `groups` rather than with the other by more than `max` (nPMI gap)."""

    concepts: str
    groups: str
    values: tuple[str, str]
    max: float


@dataclass(frozen=True)
class Coverage:
    """At least `min` of the kept samples have a value of the group."""

    group: str
    min: float


@dataclass(frozen=True)
class Rate:
    """At most `max` of the kept samples have `value` of the group; any value where none is named."""

    group: str
    value: str | None
    max: float


@dataclass(frozen=True)
class EffectiveSample:
    """Kish's effective sample size of the weights is at least `min` of the samples kept."""

    min: float


Rule = DisparateImpact | Share | Disparity | ConceptGap | Coverage | Rate | EffectiveSample
State = Literal["pass", "fail", "not measurable"]
PASS: State = "pass"
FAIL: State = "fail"
NOT_MEASURABLE: State = "not measurable"


@dataclass(frozen=True)
class Gate:
    """One gate of the recipe."""

    name: str
    rule: Rule
    surely: bool = False
