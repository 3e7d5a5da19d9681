"""Models beside the main one that a picture comes from: what steered it, and what its model was made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.hallmark.claim import DatasetFacts, ModelFacts, Part


def part_of(facts: Mapping[str, Any]) -> Part:
    """Return what a credential says of a further model, from the facts of its checkpoint, checked before."""
    return _part(facts, str(facts["data"]["name"]))


def bases_of(facts: Mapping[str, Any]) -> tuple[Part, ...]:
    """Return the checkpoints that one was made from: bases, the nearest first, then those of loaded autoencoders."""
    bases = bases_within(facts)
    found = [_part(base, str(base["data"])) for base in bases]
    for one in (facts, *bases):
        origin = (one.get("autoencoder") or {}).get("base")
        if origin is not None:
            found += [_part(origin, str(origin["data"])), *bases_of(origin)]
    return tuple(dict.fromkeys(found))


def bases_within(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a checkpoint's facts say of its bases, the nearest first."""
    found = []
    base = facts.get("base")
    while isinstance(base, dict):
        found.append(base)
        base = base.get("base")
    return found


def _part(facts: Mapping[str, Any], dataset: str) -> Part:
    model = ModelFacts(str(facts["name"]), f"step {facts['step']}", str(facts["checkpoint"]))
    return Part(model, DatasetFacts(dataset, str(facts["datasets"][-1])))
