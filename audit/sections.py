"""Sections of an audit: from a run's tally to families of findings. Pure; what to ask for is the caller's choice.

Each function returns one family, already adjusted for its number of tests. Groups compared with each other must not
overlap (`Group.overlap` mixed); concepts may (`each`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from audit.findings import Finding, adjust, finding, not_measured, number, too_few, verbatim
from audit.groups.places import Reference
from audit.metrics.association import cramers_v, log_odds, npmi_gap, share_given
from audit.metrics.divergence import concentration, effective_number, entropy, gini, js, kl, total_variation
from audit.metrics.estimate import Estimate
from audit.metrics.intersections import Cell, cells
from audit.metrics.shares import disparity_ratio, share
from audit.tally import OTHERS, Tally

#: Most values of one group that get a finding each; the rest are in the tally.
MOST_VALUES = 1000
#: Most values of one group that are compared with each other, or crossed; the rest count as one.
MOST_COMPARED = 60
#: A cross is judged where its margins make it expect so many samples (Cochran 1954), however many it has.
EXPECTED = 5


def composition(tally: Tally, group: str, outcome: str = "kept") -> list[Finding]:
    """Say who is in it: the share of every value among samples that have one, how even that is, how many have none."""
    counts = tally.by(group, outcome)
    total, known = tally.total(outcome), sum(counts.values())
    subject = {"group": group, "outcome": outcome}
    found = [
        finding(
            "coverage", subject, share(min(known, total), total), f"{{share}} of {{n}} samples have a value of {group}"
        )
    ]
    for value in largest(counts):
        words = f"{verbatim(value)}: {{share}} of the {{n}} samples with a value of {group} ({{shares}})"
        found.append(finding("share", {**subject, "value": value}, share(counts[value], known), words))
    for metric, measured, words in (
        (
            "entropy",
            entropy(counts),
            f"{group}: evenness {{value}} ({{interval}}); 1 is the same number of samples each",
        ),
        ("effective_number", effective_number(counts), f"{group}: as spread as {{value}} equal values ({{interval}})"),
        (
            "concentration",
            concentration(counts),
            f"{group}: concentration {{value}} ({{interval}}); 1 is all in one value",
        ),
        ("gini", gini(counts), f"{group}: Gini coefficient {{value}}; 0 is the same number of samples each"),
    ):
        found.append(finding(metric, subject, measured, words))
    return found


def against_reference(tally: Tally, group: str, reference: Reference, outcome: str = "kept") -> list[Finding]:
    """Compare a group's shares with a reference's. Values that the reference does not know are left out."""
    counts = {value: tally.count(group, value, outcome) for value in reference.shares}
    known = sum(counts.values())
    subject = {"group": group, "outcome": outcome, "against": reference.name}
    found = []
    for value, expected in reference.shares.items():
        words = f"{verbatim(value)}: {{value}} times its share of the reference ({{interval}}), of {{n}} samples"
        found.append(
            finding(
                "disparity_ratio", {**subject, "value": value}, disparity_ratio(counts[value], known, expected), words
            )
        )
    for metric, measured, words in (
        ("kl", kl(counts, reference.shares), f"{group}: {{value}} bits from the reference ({{interval}})"),
        (
            "js",
            js(counts, reference.shares),
            f"{group}: Jensen-Shannon divergence {{value}} ({{interval}}) from the reference; 1 is nothing in common",
        ),
        (
            "total_variation",
            total_variation(counts, reference.shares),
            f"{group}: {{share}} of samples would have to change value to meet the reference ({{shares}})",
        ),
    ):
        found.append(finding(metric, subject, measured, words))
    return adjust(found)


def associations(tally: Tally, concepts: str, group: str, one: str, other: str, outcome: str = "all") -> list[Finding]:
    """Say which concepts go with which of two values of a group: association gap, share, odds, and Cramér's V.

    The tally must have `concepts` crossed with `group`.
    """
    n = tally.total(outcome)
    ones, others = tally.count(group, one, outcome), tally.count(group, other, outcome)
    first, second = verbatim(one), verbatim(other)
    found, table = [], []
    for concept in largest(tally.by(concepts, outcome)):
        subject = {
            "concepts": concepts,
            "concept": concept,
            "group": group,
            "value": one,
            "against": other,
            "outcome": outcome,
        }
        said = verbatim(concept)
        k = tally.both((concepts, concept), (group, one), outcome)
        k_other = tally.both((concepts, concept), (group, other), outcome)
        table.append([k, k_other])
        gap = npmi_gap(k, k_other, tally.count(concepts, concept, outcome), ones, others, n)
        words = f"{said} goes with {first} rather than {second} by {{value}} ({{interval}}); 0 is neither, 1 the most"
        found.append(_enough(finding("npmi_gap", subject, gap, words), k + k_other))
        given = share_given(k, k + k_other, ones, ones + others)
        words = f"{said}: {{share}} {first} among the {{n}} captions that say {first} or {second} ({{shares}})"
        base = ones / (ones + others) if ones + others else 0.5
        found.append(finding("share_given", subject, given, words, (base - 0.1, base + 0.1)))
        odds = log_odds(k, k + k_other, ones - k, ones + others - k - k_other)
        words = f"{said}: the odds of {first} are 2^{{value}} times those elsewhere ({{interval}} as powers of 2)"
        found.append(_enough(finding("log_odds", subject, odds, words), k + k_other))
    subject = {"concepts": concepts, "group": group, "value": one, "against": other, "outcome": outcome}
    words = f"{concepts} and {group}: association {{value}} of 1 (Cramér's V, {{interval}}), over {{n}} pairs"
    found.append(finding("cramers_v", subject, cramers_v(table), words))
    return adjust(found)


def crossing(tally: Tally, one: str, other: str, outcome: str = "kept") -> list[Finding]:
    """Say which crosses of two groups are nearly empty, or fuller or emptier than their margins explain."""
    small = listed(tally, (one, other), outcome)
    ones, others = small.values(one), small.values(other)
    table = {(a, b): small.both((one, a), (other, b), outcome) for a in ones for b in others}
    found = [cell for cell in cells(table, ones, others) if OTHERS not in (cell.one, cell.other)]
    return adjust([_crossed(cell, one, other, outcome) for cell in found], dependent=True)


def listed(tally: Tally, groups: Iterable[str], outcome: str) -> Tally:
    """Return a tally in which each of the groups has its `MOST_COMPARED` largest values; the others are `OTHERS`."""
    for group in groups:
        if len(tally.values(group)) > MOST_COMPARED:
            tally = tally.listing(group, largest(tally.by(group, outcome))[:MOST_COMPARED])
    return tally


def _crossed(cell: Cell, one: str, other: str, outcome: str) -> Finding:
    subject = {"group": one, "value": cell.one, "other": other, "other_value": cell.other, "outcome": outcome}
    if cell.residual is None:
        return not_measured("residual", subject, "one of the two has no sample, or all")
    if cell.expected < EXPECTED:
        why = f"{number(cell.expected)} samples are expected of its margins, {EXPECTED} are needed"
        return not_measured("residual", subject, f"{why}; it has {cell.count:,}")
    both = f"{verbatim(cell.one)} and {verbatim(cell.other)}"
    words = f"{both}: {cell.count:,} samples, {cell.expected:,.0f} expected of its margins"
    words += " (fewer than 30: too small to say more)" if cell.small else ""
    return finding("residual", subject, Estimate(cell.residual, p=cell.p, n=cell.count), words, least=0)


def lexicon_rate(tally: Tally, lexicon: str, group: str | None = None, outcome: str = "kept") -> list[Finding]:
    """Say how many captions have a word of a lexicon (such as `toxicity`), by its values and within each of a group's.

    The tally must have `lexicon` crossed with `group`.
    """
    total = tally.total(outcome)
    tally = listed(tally, (lexicon, group) if group else (lexicon,), outcome)
    found = []
    for value, count in tally.by(lexicon, outcome).items():
        if value == OTHERS:
            continue
        subject = {"group": lexicon, "value": value, "outcome": outcome}
        words = f"{verbatim(value)}: {{share}} of {{n}} captions ({{shares}})"
        found.append(finding("rate", subject, share(count, total), words))
        for other, size in tally.by(group, outcome).items() if group else ():
            if other == OTHERS:
                continue
            k = tally.both((lexicon, value), (group or "", other), outcome)
            measured = share_given(k, size, count, total)
            words = f"{verbatim(value)}: {{share}} of {{n}} captions with {verbatim(other)} ({{shares}})"
            found.append(finding("rate", {**subject, "within": group or "", "within_value": other}, measured, words))
    return adjust(found) if found else [not_measured("rate", {"group": lexicon}, "no caption has a word of it")]


def largest(counts: Mapping[str, int]) -> list[str]:
    """Return the values with samples, the most frequent first, `MOST_VALUES` at most."""
    return sorted((v for v, count in counts.items() if count), key=lambda v: (-counts[v], v))[:MOST_VALUES]


def _enough(item: Finding, n: int) -> Finding:
    """Refuse a finding whose concept has too few samples of the group, whatever the size of the corpus."""
    if item.value is None or n >= 30:
        return item
    return not_measured(item.metric, item.subject, too_few(n, of=" of the concept with a value"))
