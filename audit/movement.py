"""Before and after in one table: each value's share of what came in, of what reached the balance, was kept, weighs."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from audit.findings import LEAST
from audit.gate_judging import weights_of
from audit.metrics.estimate import Estimate, Measured
from audit.metrics.shares import share
from audit.metrics.weighted import effective_size, weighted_share
from audit.sections import largest
from audit.tally import Tally

#: Samples that no rule, duplicate or opt-out stopped: what the balance chose from.
BEFORE = "reached:balance"
#: Most values of one group in the table; the rest are in the tally.
MOST_ROWS = 60


@dataclass(frozen=True)
class Figure:
    """A count and its share among all with a value, with Wilson's interval; None where nobody has one."""

    count: float
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Move:
    """One value of a group at four points of the job. `enough` tells whether its kept samples bear a statement."""

    value: str
    came: Figure
    before_balance: Figure
    kept: Figure
    weighted: Figure
    enough: bool

    def record(self) -> dict[str, object]:
        """Return it as plain JSON values."""
        return asdict(self)


def movement(tally: Tally, group: str, divides: bool = True) -> list[Move]:
    """Return the values of a group, the most frequent first.

    Shares are among the samples with a value; for groups whose values overlap (`divides` false), among all samples.
    """
    base = {name: sum(tally.by(group, name).values()) if divides else tally.total(name) for name in _POINTS}
    if divides:
        whole, squares = weights_of(tally, group)
    else:
        whole, squares = tally.weight(), tally.weight(squared=True)
    found = []
    for value in largest(tally.by(group))[:MOST_ROWS]:
        counts = {name: tally.count(group, value, name) for name in _POINTS}
        came, before, kept = (_figure(counts[name], share(counts[name], base[name])) for name in _POINTS)
        weight = tally.weight(group, value)
        weighted = _figure(weight, weighted_share(weight, whole, squares, base["kept"]))
        found.append(Move(value, came, before, kept, weighted, counts["kept"] >= LEAST))
    return found


_POINTS = ("all", BEFORE, "kept")


def _figure(count: float, measured: Measured) -> Figure:
    if isinstance(measured, Estimate):
        return Figure(count, measured.value, measured.low, measured.high)
    return Figure(count, None, None, None)


@dataclass(frozen=True)
class Cost:
    """What the balance cost: samples it dropped, and what the weights leave of those kept (Kish)."""

    came: int
    before_balance: int
    kept: int
    effective: float
    weighs: bool

    def record(self) -> dict[str, object]:
        """Return it as plain JSON values."""
        return asdict(self)


def cost(tally: Tally) -> Cost:
    """Return what the balance of a run cost."""
    weight, squares, kept = tally.weight(), tally.weight(squared=True), tally.total("kept")
    # weights of 1 add up to the number kept, and so do their squares; anything else weighs
    weighs = kept > 0 and (abs(weight - kept) > 1e-6 * kept or abs(squares - kept) > 1e-6 * kept)
    return Cost(tally.total(), tally.total(BEFORE), kept, effective_size(weight, squares), weighs)
