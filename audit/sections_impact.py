"""Sections of an audit about filters: whom a rule, or the whole chain, removes. From a tally to adjusted findings.

Groups must divide the samples (`Group.overlap` mixed). Samples that fall in several values are not compared: callers
take them out of the tally (`divided`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from audit.findings import LEAST, Finding, adjust, finding, not_measured, too_few, verbatim
from audit.groups.base import MIXED, Group
from audit.metrics.bootstrap import by_cluster
from audit.metrics.estimate import Estimate
from audit.metrics.impact import (
    Passed,
    amplification,
    best,
    chain,
    disparate_impact,
    four_fifths,
    pass_rates,
    together,
)
from audit.metrics.trend import cochran_armitage
from audit.sections import largest, listed
from audit.tally import OTHERS, Tally
from filters.reasons import BY_CODE


def rule_counts(tally: Tally, group: str, reason: str) -> dict[str, Passed]:
    """Return what a reason saw and let through, by value: of samples that no earlier stage stopped."""
    reached = f"reached:{BY_CODE[reason].stage.value}"
    return {
        value: Passed(seen := tally.count(group, value, reached), seen - tally.count(group, value, f"failed:{reason}"))
        for value in tally.values(group)
    }


def chain_counts(tally: Tally, group: str) -> dict[str, Passed]:
    """Return what the whole chain saw and kept, by value."""
    return {
        value: Passed(tally.count(group, value), tally.count(group, value, "kept")) for value in tally.values(group)
    }


def divided(tally: Tally, group: Group) -> Tally:
    """Return the tally without the samples that have several values of the group."""
    return tally.without(group.name, MIXED) if group.mixes else tally


def impact(tally: Tally, group: str, reason: str | None = None, against: str | None = None) -> list[Finding]:
    """Say whom a rule (by its reason), or the whole chain, removes: pass rates, disparate impact, amplification.

    `against` is the value that all are compared with, by default the one that passes best.
    """
    counts = chain_counts(tally, group) if reason is None else rule_counts(tally, group, reason)
    unlisted = counts.pop(OTHERS, Passed(0, 0))
    return _impact(counts, {"group": group, "reason": reason or "chain"}, against, unlisted)


def crossed_impact(
    tally: Tally, one: str, other: str, reason: str | None = None, against: str | None = None
) -> list[Finding]:
    """Say the same of the crosses of two groups ("Africa and feminine"), which must have been crossed in the tally."""
    seen, failed = _outcomes(reason)
    small = listed(tally, (one, other), "all")
    counts, unlisted = {}, []
    for a in small.values(one):
        for b in small.values(other):
            cell = ((one, a), (other, b))
            total = small.both(*cell, seen)
            passed = Passed(total, _passed(total, small.both(*cell, failed), reason))
            if OTHERS in (a, b):
                unlisted.append(passed)
            else:
                counts[f"{a} and {b}"] = passed
    subject = {"group": f"{one} and {other}", "reason": reason or "chain"}
    return _impact(counts, subject, against, together(unlisted))


def _outcomes(reason: str | None) -> tuple[str, str]:
    """Return the outcomes that tell what a reason saw and took; for the chain (None), what it saw and kept."""
    return ("all", "kept") if reason is None else (f"reached:{BY_CODE[reason].stage.value}", f"failed:{reason}")


def _passed(seen: int, counted: int, reason: str | None) -> int:
    return counted if reason is None else seen - counted


def _impact(
    counts: Mapping[str, Passed], subject: Mapping[str, str], against: str | None, unlisted: Passed
) -> list[Finding]:
    """Compare the values of `counts`; `unlisted` are the samples of all other values, of which nothing is said."""
    base = best(counts, LEAST) if against is None else against
    ratios, rates = disparate_impact(counts, base, unlisted=unlisted), pass_rates(counts)
    everyone = together([*counts.values(), unlisted])
    found = []
    step = "all rules" if subject["reason"] == "chain" else subject["reason"]
    for value in largest({name: passed.seen for name, passed in counts.items()}):
        mine = {**subject, "value": value, "against": base or "none"}
        said = verbatim(value)
        found.append(finding("pass_rate", mine, rates[value], f"{said}: {{share}} of {{n}} pass {step} ({{shares}})"))
        if value == base:
            continue
        verdict = four_fifths(ratios[value]).value
        words = f"{said} passes {step} {{value}} times as often as {verbatim(base or '')} ({{interval}});"
        words += f" four-fifths rule: {verdict}"
        found.append(finding("disparate_impact", mine, ratios[value], words))
        words = f"{said}: {step} {'change' if step == 'all rules' else 'changes'} its share by a factor of {{value}}"
        words += " ({interval})"
        two = {value: counts[value], f"not {value}": everyone - counts[value]}
        found.append(finding("amplification", {**mine, "against": "all others"}, amplification(two, value), words))
    return adjust(found)


def attribution(tally: Tally, group: str, value: str) -> list[Finding]:
    """Say at which steps a value loses or gains against all others, each step on what those before it left."""
    codes = tally.reasons()
    first = {code: tally.by(group, f"first:{code}") for code in codes}
    found, said = [], verbatim(value)
    for step in chain(first, tally.by(group), value, codes):
        subject = {"group": group, "value": value, "reason": step.reason, "against": "all others"}
        words = f"{said} passes {step.reason} {{value}} times as often as all others that reach it ({{interval}})"
        found.append(finding("step_ratio", subject, step.ratio, words))
    return adjust(found)


def impact_by_cluster(
    tally: Tally,
    group: str,
    buckets: str,
    value: str,
    against: str,
    reason: str | None = None,
    by: str = "domain",
) -> Finding:
    """Return a disparate impact whose interval resamples whole buckets of domains, for samples that are not
    independent.

    `buckets` is a group that puts what `by` names into sets, crossed with `group` in the tally. n is the value's own
    samples, and both values need enough of them. No p: read the interval.
    """
    seen, counted = _outcomes(reason)
    rows = []
    for bucket in tally.values(buckets):
        row = []
        for name in (value, against):
            total = tally.both((group, name), (buckets, bucket), seen)
            row += [total, _passed(total, tally.both((group, name), (buckets, bucket), counted), reason)]
        rows.append(row)
    counts = np.array(rows, dtype=np.int64).reshape(-1, 4)
    subject = {"group": group, "value": value, "reason": reason or "chain", "against": against, "resampled": by}
    step = reason or "all rules"
    words = f"{verbatim(value)} passes {step} {{value}} times as often as {verbatim(against)}"
    words += f" ({{interval}}, over whole {by}s)"
    mine, theirs = int(counts[:, 0].sum()), int(counts[:, 2].sum())
    if theirs < LEAST:
        return not_measured("disparate_impact", subject, too_few(theirs, of=f" of {against}"))
    measured = by_cluster(counts, _ratio)
    if isinstance(measured, Estimate):
        measured = replace(measured, n=mine)
    return finding("disparate_impact", subject, measured, words)


def _ratio(sums: np.ndarray) -> float | None:
    seen, passed, base_seen, base_passed = (float(number) for number in sums)
    return (passed / seen) / (base_passed / base_seen) if seen and base_passed else None


def ordered(tally: Tally, group: str, order: Sequence[str], reason: str | None = None) -> list[Finding]:
    """Say whether the pass rate rises or falls along an ordered group, such as tones of skin by labels."""
    counts = chain_counts(tally, group) if reason is None else rule_counts(tally, group, reason)
    subject = {"group": group, "reason": reason or "chain", "order": ", ".join(order)}
    measured = cochran_armitage([counts.get(value, Passed(0, 0)) for value in order])
    words = f"{group}: the pass rate changes by {{value}} a step ({{interval}}), over {{n}} samples"
    return adjust([finding("trend", subject, measured, words)])
