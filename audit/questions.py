"""What an audit is asked: groups, references, associations and gates. All names are known to fit each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from audit.gates import ConceptGap, Gate
from audit.groups import Group, Reference

#: Name of the group that intervals are resampled by; no declared group can have it (it is not printable as one).
RESAMPLED = "(resampled)"


@dataclass(frozen=True)
class Asked:
    """Which concepts go with `one` rather than with `other` of a group."""

    concepts: str
    group: str
    one: str
    other: str


@dataclass(frozen=True)
class Ranked:
    """Who of a group stands at the top `k` by a score."""

    column: str
    group: str
    k: tuple[int, ...]


@dataclass(frozen=True)
class Questions:
    """All that one audit is asked. `resample` says what is drawn as a whole: domain, creator or cluster."""

    groups: tuple[Group, ...]
    references: Mapping[str, Reference]
    associations: tuple[Asked, ...] = ()
    intersections: tuple[tuple[str, str], ...] = ()
    rates: tuple[tuple[str, str], ...] = ()
    rankings: tuple[Ranked, ...] = ()
    resample: str | None = None
    gates: tuple[Gate, ...] = ()

    def pairs(self) -> list[tuple[str, str]]:
        """Return the groups that the tally must cross, each pair once, in order."""
        found = [(asked.concepts, asked.group) for asked in self.associations]
        found += [(gate.rule.concepts, gate.rule.groups) for gate in self.gates if isinstance(gate.rule, ConceptGap)]
        found += [*self.intersections, *self.rates]
        if self.resample is not None:
            found += [(group.name, RESAMPLED) for group in self.dividing()]
        unique: dict[frozenset[str], tuple[str, str]] = {}
        for pair in found:
            unique.setdefault(frozenset(pair), pair)
        return list(unique.values())

    def dividing(self) -> list[Group]:
        """Return the groups whose values divide the samples, so that they can be compared."""
        return [group for group in self.groups if group.overlap == "mixed"]

    def concepts(self) -> list[Group]:
        """Return the groups of which a sample may have several values."""
        return [group for group in self.groups if group.overlap == "each"]
