"""The weights of a balance: factors and temperature, then raking or moment matching, over cells of like samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from audit.weighting.cells import Cells, cells, margin
from audit.weighting.choice import Coded
from audit.weighting.moments import Attribute, match
from audit.weighting.raking import rake
from audit.weighting.statement import MOST_PAIRS, View, pair_table, value_table, weights_table
from audit.weighting.temperature import temperature_weights
from filters.selection import salt
from pipelines.jobs.decide_groups import Pairs
from pipelines.run.recipe_balance import Balance, Moments, closed

#: Most labels of moment matching, the most frequent ones: each is a mask over all samples.
MOST_LABELS = 200
#: Decimals of a weight in the ledger: the last bits, in which processors differ, do not reach the manifest.
DECIMALS = 6


@dataclass(frozen=True)
class _Label:
    """A label of moment matching: its group and value, and which kept samples (n,) have it."""

    group: str
    value: str
    has: np.ndarray


def weigh(
    balance: Balance, groups: Mapping[str, Pairs], coded: Mapping[str, Coded], before: np.ndarray, kept: np.ndarray
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the weights (n,), mean 1 over `kept` (n,), and the part of the statement that speaks of them."""
    rows = np.flatnonzero(kept)
    mine = {name: Coded(group.values, group.codes[rows]) for name, group in coded.items()}
    weights, found = np.ones(len(rows)), {"method": "none", "converged": True}
    labels = _labels(balance.moments, groups, kept) if balance.moments else []
    if balance.weighs and len(rows):
        base = _base(balance, mine, len(rows))
        if balance.rake:
            weights, found = _raked(balance, mine, base)
        elif balance.moments:
            weights, found = _matched(balance.moments, mine, base, [label.has[rows] for label in labels])
        else:
            weights, found = base, {"method": "factors", "converged": True}
        # summed in order of size, so that the order of samples does not reach the last bits
        weights = np.maximum(np.round(weights / np.sort(weights).mean(), DECIMALS), 10.0**-DECIMALS)
    whole = np.zeros(len(kept))
    whole[rows] = weights
    view = View(before, kept, whole)
    pairs = _pairs(balance.moments, coded, labels, view) if balance.moments else []
    tables = [value_table(name, group, view, _asked(balance, name)) for name, group in coded.items()]
    statement = {"weights": {**found, **weights_table(weights)}, "margins": tables, "moments": pairs}
    return whole, statement


def _base(balance: Balance, groups: Mapping[str, Coded], samples: int) -> np.ndarray:
    """Return the weights (samples,) by factors and temperature."""
    weights = np.ones(samples)
    factors = dict(balance.by_group)
    everyone = np.ones(samples, dtype=bool)
    for name, by_value in factors.items():
        weights *= _looked_up(groups[name], by_value)
    tempered = balance.temperature
    if tempered and tempered.keep is None:
        group = groups[tempered.group]
        weights *= _looked_up(group, temperature_weights(group.counts(everyone), tempered.tau))
    return weights


def _looked_up(group: Coded, by_value: Mapping[str, float]) -> np.ndarray:
    table: np.ndarray = np.array([*(by_value.get(value, 1.0) for value in group.values), 1.0])[group.codes]
    return table


def _raked(balance: Balance, groups: Mapping[str, Coded], base: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    asked = balance.rake
    assert asked is not None
    margins = [margin(groups[name], shares, closed(shares)) for name, shares in asked.margins.items()]
    like = cells([*(one.codes for one in margins), _levels(base)], len(base))
    codes = np.stack([one.codes[like.first] for one in margins], axis=1)
    targets = [one.target(codes[:, number], _mass(like, base)) for number, one in enumerate(margins)]
    found = rake(like.counts, base[like.first], codes, targets, asked.trim, asked.rounds, asked.tolerance)
    absent = [
        {"group": name, "value": value}
        for (name, shares), one in zip(asked.margins.items(), margins, strict=True)
        for at, value in enumerate(one.names)
        if not (one.codes == at).any()
    ]
    stated = {
        "method": "rake",
        "converged": found.converged and not absent,
        "rounds": found.rounds,
        "deviation": found.deviation,
        "trim": asked.trim,
        "trimmed_share": found.trimmed,
        "absent": absent,
    }
    return found.weights[like.of], stated


def _levels(weights: np.ndarray) -> np.ndarray:
    """Return which of the distinct weights each sample has."""
    codes: np.ndarray = np.unique(weights, return_inverse=True)[1].reshape(-1)
    return codes


def _matched(
    asked: Moments, groups: Mapping[str, Coded], base: np.ndarray, labels: list[np.ndarray]
) -> tuple[np.ndarray, dict[str, Any]]:
    margins = [margin(groups[name], shares, closed(shares)) for name, shares in asked.targets.items()]
    salts = [salt(f"label {number}") for number in range(len(labels))]
    sets = np.zeros(len(base), dtype=np.uint64)
    for number, has in zip(salts, labels, strict=True):
        sets[has] += number
    like = cells([*(one.codes for one in margins), sets, _levels(base)], len(base))
    attributes, absent = [], []
    for (name, shares), one in zip(asked.targets.items(), margins, strict=True):
        codes = one.codes[like.first]
        for at, value in enumerate(one.names):
            if (codes == at).any():
                spoken = (codes <= len(one.names)).astype(np.float64)
                attributes.append(Attribute((codes == at).astype(np.float64), spoken, shares[value]))
            else:
                absent.append({"group": name, "value": value})
    mass = _mass(like, base)
    found = match(
        mass,
        attributes,
        [has[like.first].astype(np.float64) for has in labels],
        asked.representation,
        asked.association,
        (1 / asked.trim, asked.trim),
        asked.penalty,
    )
    stated = {
        "method": "moments",
        "converged": found.converged and not absent,
        "rounds": found.steps,
        "deviation": found.violation,
        "trim": asked.trim,
        "labels": len(labels),
        "absent": absent,
    }
    return found.weights[like.of] * base, stated


def _mass(like: Cells, base: np.ndarray) -> np.ndarray:
    """Return what the cells weigh at the start: factors and temperature count as if there were more samples."""
    found: np.ndarray = like.counts * base[like.first]
    return found


def _labels(asked: Moments, groups: Mapping[str, Pairs], kept: np.ndarray) -> list[_Label]:
    """Return the labels that at least `least` kept samples with a value of a target's group have, by frequency."""
    based = np.zeros(len(kept), dtype=bool)
    for name in asked.targets:
        based[groups[name].rows] = True
    counts = [
        (-count, name, value)
        for name in asked.labels
        for value, count in groups[name].among(kept & based).counts().items()
        if count >= asked.least
    ]
    found = []
    for _, name, value in sorted(counts)[:MOST_LABELS]:
        whole, has = groups[name], np.zeros(len(kept), dtype=bool)
        has[whole.rows[whole.codes == whole.values.index(value)]] = True
        found.append(_Label(name, value, has))
    return found


def _pairs(asked: Moments, coded: Mapping[str, Coded], labels: list[_Label], view: View) -> list[dict[str, Any]]:
    found = []
    for label in labels:
        for name, shares in asked.targets.items():
            group = coded[name]
            base = group.codes >= 0 if not closed(shares) else group.only(list(shares)).codes >= 0
            for value, share in sorted(shares.items()):
                target = (name, value, share)
                found.append(pair_table(target, group, (label.group, label.value), label.has, base, view))
    return found[:MOST_PAIRS]


def _asked(balance: Balance, name: str) -> dict[str, dict[str, float]]:
    """Return what the steps ask of a group's values: least share, parity, target, factor."""
    asked: dict[str, dict[str, float]] = {}

    def note(kind: str, by_value: Mapping[str, float]) -> None:
        for value, number in by_value.items():
            asked.setdefault(value, {})[kind] = number

    if name in balance.quotas:
        quota = balance.quotas[name]
        note("least", quota.min)
        note("parity", {value: 1 / len(quota.parity) for value in quota.parity})
    note("factor", balance.by_group.get(name, {}))
    for section in (balance.rake.margins if balance.rake else {}, balance.moments.targets if balance.moments else {}):
        note("target", section.get(name, {}))
    return asked
