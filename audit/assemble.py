"""All sections of one audit, from a run's tally and what is asked of it. Pure; each section is one family of tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from audit.findings import LEAST, Finding, adjust, finding, not_measured, verbatim
from audit.groups import Group
from audit.metrics.impact import Passed, amplification, best, is_exclusion
from audit.metrics.shares import share
from audit.questions import RESAMPLED, Questions
from audit.sections import (
    MOST_COMPARED,
    against_reference,
    associations,
    composition,
    crossing,
    largest,
    lexicon_rate,
)
from audit.sections_impact import (
    attribution,
    chain_counts,
    crossed_impact,
    divided,
    impact,
    impact_by_cluster,
    ordered,
)
from audit.tally import OTHERS, Tally

#: A group of so few values has all of them compared, however small they are.
FEW = 20
#: Most values whose loss is followed through the chain.
MOST_FOLLOWED = 20


@dataclass(frozen=True)
class Section:
    """One family of findings: what is asked (`name`), of which group, and the question in words."""

    name: str
    group: str
    title: str
    findings: list[Finding]


def sections(tally: Tally, questions: Questions, rankings: Sequence[Section] = ()) -> list[Section]:
    """Return all sections, composition first. `rankings` need the order of samples, which no tally holds."""
    found: list[Section] = []
    by_name = {group.name: group for group in questions.groups}
    for group in questions.dividing():
        found += _who_is_in(tally, group, questions)
    for group in questions.concepts():
        title = f"How many kept samples have each value of {group.name}"
        found.append(Section("rate", group.name, title, lexicon_rate(tally, group.name)))
    for group in questions.dividing():
        found += _whom_filters_remove(tally, group, questions)
    for asked in questions.associations:
        title = f"Which {asked.concepts} go with {asked.one} rather than {asked.other} among the kept samples"
        items = associations(tally, asked.concepts, asked.group, asked.one, asked.other, "kept")
        found.append(Section("association", asked.concepts, title, items))
    for one, other in questions.intersections:
        title = f"Crosses of {one} and {other} among the kept samples"
        found.append(Section("intersection", one, title, crossing(tally, one, other)))
        apart = divided(divided(tally, by_name[one]), by_name[other])
        compared = _compared([f"{one} and {other}"], crossed_impact(apart, one, other))
        found.append(Section("impact", f"{one} and {other}", f"Whom all rules remove, by {one} and {other}", compared))
    for group_name, within in questions.rates:
        title = f"How many kept samples have a value of {group_name}, by {within}"
        found.append(Section("rate", group_name, title, lexicon_rate(tally, group_name, within)))
    return [*found, *rankings]


def _who_is_in(tally: Tally, group: Group, questions: Questions) -> list[Section]:
    name = group.name
    found = [Section("composition", name, f"Who is among the kept samples, by {name}", composition(tally, name))]
    reference = questions.references.get(name)
    if reference is not None:
        title = f"How the kept samples compare with {reference.name}, by {name}"
        found.append(Section("reference", name, title, against_reference(tally, name, reference)))
    return found


def _whom_filters_remove(tally: Tally, group: Group, questions: Questions) -> list[Section]:
    name = group.name
    tally = divided(tally, group)
    if len(tally.values(name)) < 2:
        why = "fewer than two values have samples, so there is nothing to compare"
        items = [not_measured("disparate_impact", {"group": name, "reason": "chain"}, why)]
        return [Section("impact", name, f"Whom the rules remove, by {name}", items)]
    small = restricted(tally, name, MOST_COMPARED)
    reasons = tally.reasons()
    items = impact(small, name)
    for reason in reasons:
        items += impact(small, name, reason)
    found = [Section("impact", name, f"Whom the rules remove, by {name}", _compared([name], items))]
    items = []
    for value in largest(tally.by(name))[:MOST_FOLLOWED]:
        items += attribution(small, name, value)
    found.append(Section("attribution", name, f"At which step each value of {name} is lost", adjust(items)))
    order = ordering(group, tally.values(name))
    if order:
        items = [item for reason in (None, *reasons) for item in ordered(tally, name, order, reason)]
        found.append(Section("trend", name, f"Whether the pass rate follows the order of {name}", adjust(items)))
    found += _exclusion(tally, small, group, questions)
    if questions.resample is not None:
        found.append(_resampled(tally, small, name, questions.resample))
    return found


def _compared(subjects: Iterable[str], items: list[Finding]) -> list[Finding]:
    """Adjust several comparisons as one family."""
    if not items:
        why = "no sample has a value"
        return [not_measured("disparate_impact", {"group": subject}, why) for subject in subjects]
    return adjust(items)


def restricted(tally: Tally, group: str, most: int) -> Tally:
    """Return a tally in which a group has only values worth comparing: of a group of many, the largest with enough.

    The samples of the others stay as one value, `OTHERS`: they are among "all others" that a value is compared with.
    """
    values = tally.values(group)
    if len(values) <= FEW:
        return tally
    kept = {v for v in largest(tally.by(group))[:most] if tally.count(group, v) >= LEAST}
    return tally.listing(group, kept)


def ordering(group: Group, values: Sequence[str]) -> list[str]:
    """Return the values in their order where they have one: intervals of a number, or labels that are numbers."""
    if group.kind not in ("column", "labels"):
        return []
    try:
        places = {value: float(value.strip("[)]").split(",")[0]) for value in values}
    except ValueError:
        return []
    return sorted(places, key=places.__getitem__) if len(places) >= 3 else []


def _exclusion(tally: Tally, small: Tally, group: Group, questions: Questions) -> list[Section]:
    """Say which values had less than their reference before the chain, and lose more in it."""
    reference = questions.references.get(group.name)
    if reference is None:
        return []
    counts = {v: passed for v, passed in chain_counts(tally, group.name).items() if v in reference.shares}
    known = sum(passed.seen for passed in counts.values())
    listed = set(small.values(group.name))
    items = []
    for value, passed in counts.items():
        if value not in listed:
            continue
        measured = amplification(counts, value)
        before = passed.seen / known if known else 0.0
        subject = {"group": group.name, "value": value, "reason": "chain", "against": reference.name}
        words = f"{verbatim(value)}: the rules change its share by a factor of {{value}} ({{interval}})"
        if is_exclusion(measured, before, reference.shares[value]):
            words = f"{verbatim(value)} has less than its share of the reference before the rules, and they take more:"
            words += " {value} of its share is left ({interval})"
        items.append(finding("amplification", subject, measured, words))
    title = f"Whether the rules take from those of {group.name} who are too few already"
    return [Section("exclusion", group.name, title, adjust(items))]


def _resampled(tally: Tally, small: Tally, name: str, by: str) -> Section:
    """Say the disparate impact of the chain again, with intervals over whole domains, creators or clusters."""
    counts: dict[str, Passed] = {v: p for v, p in chain_counts(small, name).items() if v != OTHERS}
    base = best(counts, LEAST)
    items = []
    for value in largest({v: p.seen for v, p in counts.items()})[:MOST_FOLLOWED]:
        if base is not None and value != base:
            items.append(impact_by_cluster(tally, name, RESAMPLED, value, base, by=by))
    if not items:
        why = "fewer than two values have samples to compare"
        items = [not_measured("disparate_impact", {"group": name, "resampled": by}, why)]
    return Section("resampled", name, f"The same for all rules, if samples of one {by} are not independent", items)


def other_languages(tally: Tally, group: str, read: set[str]) -> Finding | None:
    """Say how many kept captions are in a language whose words no lexicon of the audit has; None without languages."""
    counts = tally.by(group, "kept")
    if not counts:
        return None
    known = sum(counts.values())
    unread = sum(n for language, n in counts.items() if language not in read)
    words = f"{{share}} of {{n}} captions are in a language that no lexicon here reads ({', '.join(sorted(read))} are)"
    return finding("unread_captions", {"group": group, "outcome": "kept"}, share(unread, known), words)
