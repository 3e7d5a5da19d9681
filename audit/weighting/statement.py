"""What a balance moved: counts and shares of each value before it, after it, and by weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from audit.weighting.choice import Coded
from audit.weighting.effect import effect

#: Most values of a group that a table lists, the most frequent ones; asked-for values always stand there.
MOST_VALUES = 100
#: Most (target, label) pairs that are listed, the most frequent labels first.
MOST_PAIRS = 2000


@dataclass(frozen=True)
class View:
    """Samples before and after the balance, as masks (n,), and the weight (n,) of each, 0 where it is not kept."""

    before: np.ndarray
    after: np.ndarray
    weights: np.ndarray


def share(part: float, whole: float) -> float | None:
    """Return part / whole, None where there is no whole."""
    return None if whole <= 0 else part / whole


def value_table(name: str, group: Coded, view: View, asked: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Return the table of a group: by value, counts and shares before, after and weighted, and what was asked.

    Shares are of the samples that have a value. `asked`: by value, for example {"Africa": {"least": 0.2}}.
    """
    before, after = group.counts(view.before), group.counts(view.after)
    held = group.codes >= 0
    masses = np.bincount(group.codes[held], weights=view.weights[held], minlength=len(group.values))
    weighted = dict(zip(group.values, masses.tolist(), strict=True))
    there = {*asked, *(value for value, count in before.items() if count)}
    names = sorted(there, key=lambda value: (value not in asked, -before.get(value, 0), value))
    listed = max(MOST_VALUES, len(asked))
    totals = (sum(before.values()), sum(after.values()), sum(weighted.values()))
    rows = [
        {
            "value": value,
            "before": {"count": before.get(value, 0), "share": share(before.get(value, 0), totals[0])},
            "after": {"count": after.get(value, 0), "share": share(after.get(value, 0), totals[1])},
            "weighted": {"share": share(weighted.get(value, 0.0), totals[2])},
            "asked": dict(asked.get(value, {})),
        }
        for value in names[:listed]
    ]
    return {"group": name, "values": rows, "values_left_out": max(0, len(names) - listed)}


def pair_table(
    target: tuple[str, str, float], group: Coded, label: tuple[str, str], has: np.ndarray, base: np.ndarray, view: View
) -> dict[str, Any]:
    """Return one pair of moments: the share of a value among the samples `base` (n,) that have a label, `has` (n,)."""
    name, value, wanted = target
    is_ = group.codes == (group.values.index(value) if value in group.values else -2)
    among = base & has
    found = {"group": name, "value": value, "label_group": label[0], "label": label[1], "target": wanted}
    found["samples"] = int((among & view.after).sum())
    for when, mass in (("before", view.before), ("after", view.after), ("weighted", view.weights)):
        found[when] = share(float(mass[among & is_].sum()), float(mass[among].sum()))
    return found


def weights_table(weights: np.ndarray) -> dict[str, Any]:
    """Return what the weights of the kept samples cost: ESS, its share of them, design effect, range."""
    found = asdict(effect(weights))
    return {**found, "ess_share": share(found["ess"], found["samples"])}


def dropped_by_value(values: Sequence[str], codes: np.ndarray) -> list[dict[str, Any]]:
    """Return how many of the dropped samples have each value, the most frequent first, `MOST_VALUES` of them."""
    counts = np.bincount(codes[codes >= 0], minlength=len(values)).tolist()
    found = sorted((-count, value) for value, count in zip(values, counts, strict=True) if count)
    return [{"value": value, "dropped": -count} for count, value in found[:MOST_VALUES]]
