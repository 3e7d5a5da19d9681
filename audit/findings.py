"""Findings: a figure, its interval, whether it matters, and a sentence. What a report shows and a gate reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from math import inf, isfinite

from audit.metrics.estimate import Estimate, Measured
from audit.metrics.multiplicity import benjamini_hochberg, benjamini_yekutieli

#: False discovery rate that a family of findings is held to.
RATE = 0.05
#: Fewer samples than this give no finding.
LEAST = 30

#: What is too small to matter, by metric (governance facts §4.2): a value inside is no finding, however sure it is.
NEGLIGIBLE: Mapping[str, tuple[float, float]] = {
    "disparity_ratio": (0.5, 2.0),
    "disparate_impact": (0.8, 1.25),
    "amplification": (0.9, 1 / 0.9),
    "step_ratio": (0.9, 1 / 0.9),
    "npmi": (-0.1, 0.1),
    "npmi_gap": (-0.1, 0.1),
    "log_odds": (-1.0, 1.0),
    "skew": (-0.5, 0.5),
    "trend": (-0.01, 0.01),
    "cramers_v": (0.0, 0.1),
    "residual": (-3.0, 3.0),
    "kl": (0.0, 0.05),
}


class State(str, Enum):
    """What a finding says."""

    FOUND = "found"  # sure, and large enough to matter
    SMALL = "small"  # sure, but too small to matter
    UNCLEAR = "unclear"  # chance may explain it
    DESCRIBED = "described"  # a figure without a test
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Finding:
    """One statement of the audit.

    `subject` says of whom (group, value, concept, reason, against, …). `value` has the interval `low` to `high` (95
    %). `p` is of the single test, `q` over its family. `minimum` are the bounds between which a value does not
    matter, None for no bound on that side. `words` is a sentence for people; `why` says why nothing was measured. No
    number here is NaN or infinite.
    """

    metric: str
    subject: Mapping[str, str]
    state: State
    words: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    q: float | None = None
    n: int = 0
    minimum: tuple[float | None, float | None] | None = None
    why: str | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that are none."""
        numbers = (self.value, self.low, self.high, self.p, self.q, *(self.minimum or ()))
        if not all(isfinite(number) for number in numbers if number is not None):
            raise ValueError(f"a finding must be finite: {self}")
        if (self.state is State.NOT_MEASURED) != (self.value is None):
            raise ValueError(f"a finding has a value or was not measured: {self}")

    def record(self) -> dict[str, object]:
        """Return the finding as plain JSON values."""
        found = asdict(self)
        found["state"] = self.state.value
        found["subject"] = dict(self.subject)
        found["minimum"] = None if self.minimum is None else list(self.minimum)
        return found


def finding(
    metric: str,
    subject: Mapping[str, str],
    measured: Measured,
    words: str,
    minimum: tuple[float, float] | None = None,
    least: int = LEAST,
) -> Finding:
    """Make a finding of a measurement. It has no `q` and is at most UNCLEAR until its family is `adjust`ed.

    `words` may hold {value}, {share}, {interval}, {shares} and {n}; names from the data stand in it `verbatim`.
    `minimum` is by default that of the metric.
    """
    if not isinstance(measured, Estimate):
        return not_measured(metric, subject, measured.why)
    if measured.n < least:
        return not_measured(metric, subject, too_few(measured.n, least))
    bounds = NEGLIGIBLE.get(metric) if minimum is None else minimum
    return Finding(
        metric,
        dict(subject),
        State.DESCRIBED if measured.p is None else State.UNCLEAR,
        _said(words, measured),
        measured.value,
        measured.low,
        measured.high,
        measured.p,
        None,
        measured.n,
        None if bounds is None else (_bound(bounds[0]), _bound(bounds[1])),
    )


def too_few(n: int, least: int = LEAST, of: str = "") -> str:
    """Say that so many samples (`of` something) are too few."""
    return f"{'only ' if n else ''}{n or 'no'} sample{'' if n == 1 else 's'}{of}, {least} are needed"


def not_measured(metric: str, subject: Mapping[str, str], why: str) -> Finding:
    """Make a finding that says why there is no figure."""
    who = [subject[key] for key in ("concept", "value", "other_value", "within_value", "reason") if key in subject]
    of = ", ".join(who) or subject.get("group", "")
    words = f"{of}: {metric.replace('_', ' ')} not measured: {why}"
    return Finding(metric, dict(subject), State.NOT_MEASURED, words, why=why)


def adjust(findings: Sequence[Finding], dependent: bool = False, rate: float = RATE) -> list[Finding]:
    """Give a family of findings its q values and states, in their order.

    Benjamini-Hochberg over all that have a p; Benjamini-Yekutieli where the tests are strongly `dependent`. A finding
    is FOUND where q is at most `rate` and the value is out of its `minimum`.
    """
    tested = [i for i, item in enumerate(findings) if item.p is not None]
    p = [float(findings[i].p or 0.0) for i in tested]
    q = benjamini_yekutieli(p) if dependent else benjamini_hochberg(p)
    result = list(findings)
    for i, value in zip(tested, q, strict=True):
        result[i] = replace(findings[i], q=value, state=_state(findings[i], value, rate))
    return result


def _state(item: Finding, q: float, rate: float) -> State:
    if item.value is None:
        return State.NOT_MEASURED
    if q > rate:
        return State.UNCLEAR
    low, high = item.minimum or (None, None)
    inside = (low is None or item.value >= low) and (high is None or item.value <= high)
    return State.SMALL if item.minimum is not None and inside else State.FOUND


def _bound(number: float) -> float | None:
    return number if -inf < number < inf else None


def number(value: float) -> str:
    """Write a number for people: three digits that count, no exponent above 0.0001."""
    return f"{value:.3g}" if 1e-4 <= abs(value) < 1e5 or value == 0 else f"{value:.2e}"


def percent(value: float) -> str:
    """Write a share as per cent, with more digits near 0."""
    if value == 0:
        return "0 %"
    return f"{100 * value:.{1 if abs(value) >= 0.01 else 2 if abs(value) >= 0.001 else 3}f} %"


def _said(words: str, measured: Estimate) -> str:
    """Fill a sentence: {value}, {share} (per cent), {interval}, {shares} (interval in per cent), {n}."""
    there = measured.low is not None and measured.high is not None
    low, high = (measured.low or 0.0), (measured.high or 0.0)
    figures = {
        "value": number(measured.value),
        "share": percent(measured.value),
        "interval": f"95 % interval {number(low)} to {number(high)}" if there else "no interval",
        "shares": f"95 % interval {percent(low)} to {percent(high)}" if there else "no interval",
        "n": f"{measured.n:,}",
    }
    return filled(words, figures)


def verbatim(name: str) -> str:
    """Return a name of the data's as it must stand in a sentence that is `filled`: nothing of it is a mark there."""
    return name.replace("{", "{{")


def filled(words: str, figures: Mapping[str, str]) -> str:
    """Fill the marks of a sentence, such as {value}, in one pass, so that what fills one is never filled itself."""
    return _MARK.sub(lambda found: "{" if found[0] == "{{" else figures.get(found[1], found[0]), words)


_MARK = re.compile(r"\{\{|\{(\w+)\}")
