"""Whom a filter removes: pass rates by group, disparate impact, exclusion amplification, attribution along the chain.

Intervals treat groups as independent samples: the values of a group must not overlap (`Group.overlap` mixed).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from math import exp, log, sqrt

from audit.metrics.estimate import Estimate, Measured, Unmeasurable, Z, check_counts, finite, two_shares_p
from audit.metrics.shares import share, wilson

#: The bound of the four-fifths rule (EEOC Uniform Guidelines, 29 CFR 1607.4 D, 1978).
FOUR_FIFTHS = 0.8


@dataclass(frozen=True)
class Passed:
    """How many samples of one value a filter saw and let through."""

    seen: int
    passed: int

    def __post_init__(self) -> None:
        """Refuse counts that cannot be."""
        check_counts((self.passed, self.seen - self.passed))

    def __sub__(self, part: Passed) -> Passed:
        """Return what is left without a part."""
        return Passed(self.seen - part.seen, self.passed - part.passed)


def pass_rates(groups: Mapping[str, Passed]) -> dict[str, Measured]:
    """Return the share that passes, by value, with Wilson's intervals (selection rate)."""
    return {value: share(counts.passed, counts.seen) for value, counts in groups.items()}


def best(groups: Mapping[str, Passed], least: int = 1) -> str | None:
    """Return the value with the highest pass rate among those with `least` samples.

    Of equals it is the one with the most samples, whose rate is the surest, and then the first one.
    """
    rated = {value: (c.passed / c.seen, c.seen) for value, c in groups.items() if c.seen >= max(1, least)}
    return max(sorted(rated), key=rated.__getitem__, default=None)


def rest(groups: Mapping[str, Passed], value: str) -> Passed:
    """Return all other values together: what a value is compared with where no reference is named."""
    return together(counts for other, counts in groups.items() if other != value)


def together(counts: Iterable[Passed]) -> Passed:
    """Return the sums of counts."""
    listed = list(counts)
    return Passed(sum(c.seen for c in listed), sum(c.passed for c in listed))


def ratio(group: Passed, base: Passed) -> Measured:
    """Return the pass rate of a group over that of another, with Katz's log interval (Katz et al. 1978).

    Where nothing of the group passes there is no logarithm, and where nothing of one of the two fails its rate would
    have no error: there the interval is by MOVER-R from Wilson's intervals (Donner & Zou 2012). p is of equal rates,
    exact or score test.
    """
    if group.seen == 0:
        return Unmeasurable("the group has no sample here")
    if base.seen == 0 or base.passed == 0:
        return Unmeasurable("nothing of what it is compared with is here, or passes")
    p = two_shares_p(group.passed, group.seen, base.passed, base.seen)
    value = (group.passed / group.seen) / (base.passed / base.seen)
    if group.passed in (0, group.seen) or base.passed == base.seen:
        return finite(value, *_mover(group, base), p, group.seen)
    error = sqrt(1 / group.passed - 1 / group.seen + 1 / base.passed - 1 / base.seen)
    return finite(value, exp(log(value) - Z * error), exp(log(value) + Z * error), p, group.seen)


def _mover(group: Passed, base: Passed) -> tuple[float, float]:
    """Return the limits of a ratio of rates by MOVER-R; something of the base must pass.

    A limit q is a root of (r1 - q r2)^2 = (r1 - l1)^2 + q^2 (u2 - r2)^2, the other one with u1 and l2 (Donner & Zou
    2012, eq. 9), written so that no difference of near numbers is divided by.
    """
    rate, other = group.passed / group.seen, base.passed / base.seen
    (low, high), (base_low, base_high) = wilson(group.passed, group.seen), wilson(base.passed, base.seen)
    product = rate * other
    below, below_base = low * (2 * rate - low), base_high * (2 * other - base_high)
    above, above_base = high * (2 * rate - high), base_low * (2 * other - base_low)
    lowest = below / (product + sqrt(max(0.0, product**2 - below * below_base))) if product else 0.0
    highest = (product + sqrt(max(0.0, product**2 - above * above_base))) / above_base
    return lowest, highest


def disparate_impact(
    groups: Mapping[str, Passed],
    reference: str | None = None,
    least: int = 30,
    unlisted: Passed = Passed(0, 0),
) -> dict[str, Measured]:
    """Return every value's pass rate over the reference's, the reference itself at 1.

    The reference is the value with the best pass rate among those of `least` samples, as the four-fifths rule has it,
    where none is named. The best of several is a lucky one: ratios to it are a little too low on the whole. The p of
    each value is of its rate against that of all others together, which choosing the best does not bias; where that
    comparison points the other way than the ratio does, it is of the two rates of the ratio. `unlisted` are samples of
    further values, which count among the others.
    """
    base = best(groups, least) if reference is None else reference
    if base is None or base not in groups:
        return {value: Unmeasurable("there is no group to compare with") for value in groups}
    everyone = together([*groups.values(), unlisted])
    found: dict[str, Measured] = {}
    for value, counts in groups.items():
        others = everyone - counts
        measured = ratio(counts, groups[base])
        if isinstance(measured, Estimate):
            p = measured.p
            if _ahead(counts, others) * _ahead(counts, groups[base]) > 0:
                p = two_shares_p(counts.passed, counts.seen, others.passed, others.seen)
            low, high = (1.0, 1.0) if value == base else (measured.low, measured.high)
            measured = Estimate(measured.value, low, high, p, measured.n)
        found[value] = measured
    return found


def _ahead(one: Passed, other: Passed) -> int:
    """Return a whole number above 0 where one passes at a higher rate than the other, below 0 at a lower one."""
    return one.passed * other.seen - other.passed * one.seen


class Verdict(str, Enum):
    """What the four-fifths rule says of a ratio."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    NOT_MEASURABLE = "not measurable"


def four_fifths(measured: Measured, bound: float = FOUR_FIFTHS) -> Verdict:
    """Judge a ratio: fail where the whole interval is below the bound, warn where the ratio itself is, else pass."""
    if isinstance(measured, Unmeasurable):
        return Verdict.NOT_MEASURABLE
    if measured.high is not None and measured.high < bound:
        return Verdict.FAIL
    return Verdict.WARN if measured.value < bound else Verdict.PASS


def amplification(groups: Mapping[str, Passed], value: str) -> Measured:
    """Return the value's share after the filter over its share before (Hong et al. 2024): below 1 it lost ground.

    It equals the value's pass rate over that of all, group included, so its interval follows from that of the ratio to
    the others: with A = p + (1 - p) / R, amplification is 1 / A for the ratio R and the share before p.
    """
    total = together(groups.values())
    others = rest(groups, value)
    if value not in groups or total.passed == 0:
        return Unmeasurable("nothing passes, or the group has no sample here")
    before = groups[value].seen / total.seen
    found = ratio(groups[value], others)
    if isinstance(found, Unmeasurable):
        return found

    def amplified(quotient: float) -> float:
        return quotient / (before * quotient + 1 - before)

    low, high = (amplified(bound) for bound in (found.low or 0.0, found.high or 0.0))
    return finite(amplified(found.value), low, high, found.p, groups[value].seen)


def is_exclusion(measured: Measured, share_before: float, expected: float) -> bool:
    """Tell whether a filter takes from a group that already has less than its reference (Hong et al. 2024)."""
    return isinstance(measured, Estimate) and (measured.high or 0.0) < 1 and share_before < expected


@dataclass(frozen=True)
class Step:
    """One step of the chain for one value: what reached it and what it let through, and what the step cost the ratio.

    `ratio` is the value's conditional pass rate at this step over that of the others. `contribution` is its logarithm;
    over the chain the contributions add up to the logarithm of the ratio of final rates. None where one is not
    defined.
    """

    reason: str
    counts: Passed
    ratio: Measured
    contribution: float | None


def chain(
    first: Mapping[str, Mapping[str, int]], seen: Mapping[str, int], value: str, order: Sequence[str]
) -> list[Step]:
    """Attribute what a value loses against all others to the steps in their order (governance facts §4.2, 7).

    `seen`: samples by value. `first`: for each reason, in `order` of precedence, samples by value that it took as the
    first one to apply. Each step is judged on what the steps before it left.
    """
    left = dict(seen)
    steps = []
    for reason in order:
        taken = first.get(reason, {})
        groups = {name: Passed(count, count - taken.get(name, 0)) for name, count in left.items()}
        mine, others = groups.get(value, Passed(0, 0)), rest(groups, value)
        measured = ratio(mine, others)
        contribution = log(measured.value) if isinstance(measured, Estimate) and measured.value > 0 else None
        steps.append(Step(reason, mine, measured, contribution))
        left = {name: counts.passed for name, counts in groups.items()}
    return steps
