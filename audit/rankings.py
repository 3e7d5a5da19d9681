"""Who stands at the top by a score: the section of one ranking."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from audit.assemble import Section
from audit.findings import adjust, finding, not_measured, verbatim
from audit.metrics.estimate import Estimate
from audit.metrics.ranking import ndkl, ranked, skews
from audit.questions import Ranked
from audit.sections import MOST_COMPARED
from audit.tally import OTHERS


def ranking_section(asked: Ranked, scores: np.ndarray, codes: np.ndarray, values: Sequence[str]) -> Section:
    """Compare the shares at the top with those of all that have the score and a value.

    `scores` (n,), higher is better; `codes` (n,) number the `values`, -1 for none.
    """
    title = f"Who of {asked.group} stands at the top by {asked.column}"
    ranking = ranked(scores, codes)
    counts = np.bincount(ranking, minlength=len(values))
    subject = {"group": asked.group, "column": asked.column}
    if len(ranking) == 0:
        why = f"no sample has both {asked.column} and a value of {asked.group}"
        return Section("ranking", asked.group, title, [not_measured("skew", subject, why)])
    largest = [int(code) for code in np.argsort(-counts, kind="stable")[:MOST_COMPARED] if counts[code]]
    ranking, named = _listed(ranking, values, largest)
    desired = {value: count / len(ranking) for value, count in zip(named, np.bincount(ranking), strict=True)}
    items = []
    for k in asked.k:
        found = skews(ranking, k, named, desired)
        for value in named[: len(largest)]:
            words = f"{verbatim(value)}: ln of its share among the top {{n}} by {asked.column} over its share of all:"
            words += " {value} ({interval})"
            items.append(finding("skew", {**subject, "value": value, "k": str(k)}, found[value], words))
    measured = ndkl(ranking, named, desired)
    shuffled = ndkl(np.random.default_rng(0).permutation(ranking), named, desired)
    chance = f"; a random order gives {shuffled.value:.3g}" if isinstance(shuffled, Estimate) else ""
    words = (
        f"{asked.group}: NDKL of the order by {asked.column} is {{value}}, 0 is the same shares at every place{chance}"
    )
    items.append(finding("ndkl", subject, measured, words))
    return Section("ranking", asked.group, title, adjust(items))


def _listed(ranking: np.ndarray, values: Sequence[str], largest: Sequence[int]) -> tuple[np.ndarray, list[str]]:
    """Return the ranking (n,) by the codes of the largest values alone, all others as one, and what each code is."""
    place = np.full(len(values), len(largest), dtype=np.int64)
    place[largest] = np.arange(len(largest))
    found: np.ndarray = place[ranking]
    others = [OTHERS] if (found == len(largest)).any() else []
    return found, [*(values[code] for code in largest), *others]
