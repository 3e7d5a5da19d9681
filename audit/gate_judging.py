"""Judging gates: from a run's counts to pass, fail or not measurable, with the figure and a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from audit.findings import LEAST, filled, number, percent, too_few, verbatim
from audit.gates import (
    FAIL,
    NOT_MEASURABLE,
    PASS,
    ConceptGap,
    Coverage,
    DisparateImpact,
    Disparity,
    Gate,
    Rate,
    Rule,
    Share,
    State,
)
from audit.groups import Group, Reference
from audit.metrics.association import npmi_gap
from audit.metrics.estimate import Estimate, Measured, Unmeasurable
from audit.metrics.impact import Passed, best, disparate_impact
from audit.metrics.shares import disparity_ratio, share
from audit.metrics.weighted import effective_size, weighted_share
from audit.sections_impact import chain_counts, divided, rule_counts
from audit.tally import Tally


@dataclass(frozen=True)
class Judged:
    """What a gate found: its state, the figure that decided (of `who`), the bounds, and a sentence for people.

    `value`, `low` and `high` are None where it is not measurable.
    """

    name: str
    kind: str
    state: State
    words: str
    who: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    minimum: float | None = None
    maximum: float | None = None

    @property
    def passed(self) -> bool:
        """Tell whether it passed; what could not be measured did not."""
        return self.state == PASS

    def record(self) -> dict[str, object]:
        """Return it as plain JSON values, `passed` included."""
        return {**asdict(self), "passed": self.passed}


#: How far a weighted figure may be out of its bounds: the ledger's weights are float32, so a margin that was raked to
#: exactly its target comes out up to about 1e-7 off it.
_WEIGHT_SLACK = 1e-6


@dataclass(frozen=True)
class _Figure:
    """One figure that a gate looks at, and of whom it is."""

    who: str
    measured: Measured


@dataclass(frozen=True)
class _Asked:
    """What a gate asks: the kind, the figures, the bounds, how to say one figure, and why there may be none."""

    kind: str
    figures: list[_Figure]
    minimum: float | None
    maximum: float | None
    words: str
    nothing: str
    in_percent: bool = True
    slack: float = 0.0


def judge(gate: Gate, tally: Tally, references: Mapping[str, Reference], groups: Iterable[Group]) -> Judged:
    """Judge one gate by a run's counts. The figure farthest out of its bounds (or nearest to them) decides.

    `groups` are those that the tally was counted by.
    """
    asked = _asked(gate.rule, tally, references, {group.name: group for group in groups})
    measured = [(figure.who, figure.measured) for figure in asked.figures if isinstance(figure.measured, Estimate)]
    if not measured:
        reasons = [figure.measured.why for figure in asked.figures if isinstance(figure.measured, Unmeasurable)]
        why = reasons[0] if len(set(reasons)) == 1 else asked.nothing
        words = f"not measurable, so it does not pass: {why}"
        return Judged(gate.name, asked.kind, NOT_MEASURABLE, words, minimum=asked.minimum, maximum=asked.maximum)
    who, worst = min(measured, key=lambda item: (_margin(item[1], asked, gate.surely), item[0]))
    passed = _margin(worst, asked, gate.surely) >= -asked.slack
    return Judged(
        gate.name,
        asked.kind,
        PASS if passed else FAIL,
        _sentence(asked, who, worst, len(asked.figures) - len(measured), gate.surely),
        who,
        worst.value,
        worst.low,
        worst.high,
        worst.n,
        asked.minimum,
        asked.maximum,
    )


def _margin(measured: Estimate, asked: _Asked, surely: bool) -> float:
    """Return how far inside its bounds a figure is; below 0 outside."""
    low = measured.low if surely and measured.low is not None else measured.value
    high = measured.high if surely and measured.high is not None else measured.value
    room = [low - asked.minimum] if asked.minimum is not None else []
    room += [asked.maximum - high] if asked.maximum is not None else []
    return min(room)


def _sentence(asked: _Asked, who: str, worst: Estimate, left_out: int, surely: bool) -> str:
    said = percent if asked.in_percent else number
    interval = ""
    if worst.low is not None and worst.high is not None:
        interval = f" (95 % interval {said(worst.low)} to {said(worst.high)}, {worst.n:,} samples)"
    bounds = [f"at least {said(asked.minimum)}"] if asked.minimum is not None else []
    bounds += [f"at most {said(asked.maximum)}"] if asked.maximum is not None else []
    sure = ", for the whole interval" if surely else ""
    rest = f"; {left_out} without enough samples were left out" if left_out else ""
    words = filled(asked.words, {"who": who, "value": said(worst.value)})
    return f"{words}{interval}; asked: {' and '.join(bounds)}{sure}{rest}"


def _asked(rule: Rule, tally: Tally, references: Mapping[str, Reference], groups: Mapping[str, Group]) -> _Asked:
    if isinstance(rule, DisparateImpact):
        return _disparate_impact(rule, divided(tally, groups[rule.group]))
    if isinstance(rule, Share):
        return _share(rule, tally)
    if isinstance(rule, Disparity):
        return _disparity(rule, tally, references)
    if isinstance(rule, ConceptGap):
        return _concept_gap(rule, tally)
    if isinstance(rule, Coverage):
        known, total = sum(tally.by(rule.group, "kept").values()), tally.total("kept")
        figure = _Figure(rule.group, enough(share(min(known, total), total), total))
        words = "{value} of the kept samples have a value of {who}"
        return _Asked("coverage", [figure], rule.min, None, words, "no sample is kept")
    if isinstance(rule, Rate):
        return _rate(rule, tally)
    kept, weight = tally.total("kept"), tally.weight()
    size = effective_size(weight, tally.weight(squared=True))
    figure = _Figure("weights", Estimate(min(1.0, size / kept), n=kept) if kept and size else _NOBODY)
    words = f"the weights leave an effective sample of {size:,.0f} of {kept:,}, {{value}}"
    return _Asked("effective_sample", [figure], rule.min, None, words, _NOBODY.why)


_NOBODY = Unmeasurable("no sample is kept")


def enough(measured: Measured, n: int) -> Measured:
    """Return the measurement, or why there is none where it rests on fewer than `LEAST` samples."""
    return measured if n >= LEAST else Unmeasurable(too_few(n))


def _disparate_impact(rule: DisparateImpact, tally: Tally) -> _Asked:
    counts = chain_counts(tally, rule.group) if rule.reason is None else rule_counts(tally, rule.group, rule.reason)
    counts = {value: passed for value, passed in counts.items() if passed.seen}
    base = best(counts, LEAST) if rule.against is None else rule.against
    ratios = disparate_impact(counts, base or "")
    figures = [_Figure(value, enough(ratios[value], counts[value].seen)) for value in counts if value != base]
    step = "all rules" if rule.reason is None else rule.reason
    words = f"{{who}} passes {step} {{value}} times as often as {verbatim(base or '')}"
    nothing = f"{rule.group}: fewer than two values have {LEAST} samples to compare"
    if base is not None and len(counts) > 1 and (seen := counts.get(base, Passed(0, 0)).seen) < LEAST:
        figures, nothing = [], too_few(seen, of=f" of {base}, which all are compared with")
    if len(counts) < 2:
        figures = []
    return _Asked("disparate_impact", figures, rule.min, None, words, nothing, in_percent=False)


def _share(rule: Share, tally: Tally) -> _Asked:
    counts = tally.by(rule.group, "kept")
    known = sum(counts.values())
    if rule.weighted:
        whole, squares = weights_of(tally, rule.group)
        measured = weighted_share(tally.weight(rule.group, rule.value), whole, squares, known)
    else:
        measured = share(counts.get(rule.value, 0), known)
    how = "by weight, " if rule.weighted else ""
    words = f"{how}{{who}} is {{value}} of the kept samples with a value of {rule.group}"
    figure = _Figure(rule.value, enough(measured, known))
    slack = _WEIGHT_SLACK if rule.weighted else 0.0
    return _Asked("share", [figure], rule.min, rule.max, words, "no sample has a value", slack=slack)


def weights_of(tally: Tally, group: str) -> tuple[float, float]:
    """Return the sum of weights, and of their squares, of the kept samples with a value of a group."""
    values = tally.values(group)
    return sum(tally.weight(group, v) for v in values), sum(tally.weight(group, v, squared=True) for v in values)


def _disparity(rule: Disparity, tally: Tally, references: Mapping[str, Reference]) -> _Asked:
    shares = references[rule.group].shares
    counts = {value: tally.count(rule.group, value, "kept") for value in shares}
    known = sum(counts.values())
    figures = []
    for value, expected in shares.items():
        if expected <= 0:
            continue
        measured = disparity_ratio(counts[value], known, expected)
        if rule.weighted:
            whole = sum(tally.weight(rule.group, name) for name in shares)
            squares = sum(tally.weight(rule.group, name, squared=True) for name in shares)
            found = weighted_share(tally.weight(rule.group, value), whole, squares, known)
            measured = scaled(found, 1 / expected)
        figures.append(_Figure(value, enough(measured, known)))
    words = f"{{who}} has {{value}} times its share of the reference ({references[rule.group].name})"
    nothing = f"no kept sample has a value of {rule.group} that the reference knows"
    slack = _WEIGHT_SLACK if rule.weighted else 0.0
    return _Asked("disparity", figures, rule.min, rule.max, words, nothing, in_percent=False, slack=slack)


def scaled(measured: Measured, factor: float) -> Measured:
    """Return a measurement times a factor above 0, interval included."""
    if isinstance(measured, Unmeasurable):
        return measured
    low, high = (None if bound is None else bound * factor for bound in (measured.low, measured.high))
    return Estimate(measured.value * factor, low, high, measured.p, measured.n)


def _concept_gap(rule: ConceptGap, tally: Tally) -> _Asked:
    n = tally.total("kept")
    ones, others = (tally.count(rule.groups, value, "kept") for value in rule.values)
    figures = []
    for concept, count in tally.by(rule.concepts, "kept").items():
        k, k_other = (tally.both((rule.concepts, concept), (rule.groups, value), "kept") for value in rule.values)
        gap = npmi_gap(k, k_other, count, ones, others, n)
        figures.append(_Figure(concept, enough(_size(gap), k + k_other)))
    one, other = rule.values
    words = (
        f"{{who}} goes with {verbatim(one)} or {verbatim(other)} rather than with the other by {{value}} (nPMI gap)"
    )
    nothing = f"no value of {rule.concepts} has {LEAST} kept samples with {one} or {other}"
    return _Asked("concept_gap", figures, None, rule.max, words, nothing, in_percent=False)


def _size(gap: Measured) -> Measured:
    """Return a gap without its sign."""
    if isinstance(gap, Unmeasurable):
        return gap
    low, high = gap.low or 0.0, gap.high or 0.0
    bounds = (0.0 if low < 0 < high else min(abs(low), abs(high)), max(abs(low), abs(high)))
    return Estimate(abs(gap.value), *bounds, gap.p, gap.n)


def _rate(rule: Rate, tally: Tally) -> _Asked:
    total, counts = tally.total("kept"), tally.by(rule.group, "kept")
    values = [rule.value] if rule.value is not None else sorted(counts) or [rule.group]
    figures = [_Figure(value, enough(share(counts.get(value, 0), total), total)) for value in values]
    words = f"{{value}} of the kept samples have {{who}} ({rule.group})"
    return _Asked("rate", figures, None, rule.max, words, "no sample is kept")
