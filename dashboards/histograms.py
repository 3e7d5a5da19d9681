"""Histograms of score columns, counted part by part. Only ranges and bins are held in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, isfinite

import numpy as np

#: Bins of one histogram, at most.
BINS = 56

#: A column whose largest value is this many times its mean is shown on a logarithmic axis.
_HEAVY_TAIL = 12.0

#: So is one with a bound in this first part of the axis: what lies around a bound is what matters.
_CROWDED = 0.08


@dataclass
class Spread:
    """Range and mean of a column's finite values."""

    low: float = inf
    high: float = -inf
    total: float = 0.0
    count: int = 0

    def add(self, values: np.ndarray) -> None:
        """Take in finite values (n,)."""
        if len(values):
            self.low = min(self.low, float(values.min()))
            self.high = max(self.high, float(values.max()))
            self.total += float(values.sum())
            self.count += len(values)

    @property
    def mean(self) -> float:
        """Mean of the values; 0 where there are none."""
        return self.total / self.count if self.count else 0.0


@dataclass(frozen=True)
class Axis:
    """Edges of the bins (bins + 1,), ascending.

    `log`: drawn by log(1 + value). `integer`: the edges lie between integers.
    """

    edges: np.ndarray
    log: bool = False
    integer: bool = False

    def place(self, value: float) -> float:
        """Return where `value` stands on the axis, 0 (left end) to 1; outside of that where it is off the axis."""
        low, high = self._scale(float(self.edges[0])), self._scale(float(self.edges[-1]))
        return (self._scale(value) - low) / (high - low)

    def place_bound(self, side: str, bound: float) -> float:
        """Return where a bound stands: between the last integer that passes and the first that does not."""
        if self.integer:
            bound = float(np.ceil(bound)) - 0.5 if side == "low" else float(np.floor(bound)) + 0.5
        return self.place(bound)

    def _scale(self, value: float) -> float:
        # integers on a logarithmic axis have bins from -0.5 on
        return float(np.log1p(max(value, -0.999))) if self.log else value


def make_axis(spread: Spread, integer: bool, bounds: list[float]) -> Axis:
    """Choose bins for a column; a bound a little outside of the values gets room on the axis."""
    low, high = spread.low, spread.high
    if spread.count == 0:
        return Axis(np.array([0.0, 1.0]))
    if low == high:
        pad = 0.5 if integer or low == 0 else abs(low) / 10
        return Axis(np.array([low - pad, high + pad]), False, integer)
    width = high - low
    for bound in bounds:
        if isfinite(bound) and low - width / 2 <= bound <= high + width / 2:
            low, high = min(low, bound), max(high, bound)
    crowded = any(low <= bound < low + _CROWDED * (high - low) for bound in bounds)
    log = low >= 0 and high > 20 and (crowded or spread.high > _HEAVY_TAIL * spread.mean)
    if integer:
        return Axis(_integer_edges(int(low), int(np.ceil(high)), log), log, True)
    if log:
        return Axis(np.expm1(np.linspace(np.log1p(low), np.log1p(high), BINS + 1)), True)
    return Axis(np.linspace(low, high, BINS + 1))


def _integer_edges(low: int, high: int, log: bool) -> np.ndarray:
    """Return edges between integers, so that no bin is empty only because it holds no integer."""
    if log:
        inner = np.round(np.expm1(np.linspace(np.log1p(low), np.log1p(high + 1), BINS + 1)))
        return np.asarray(np.unique(inner), dtype=np.float64) - 0.5
    step = -(-(high - low + 1) // BINS)
    bins = -(-(high - low + 1) // step)
    return low - 0.5 + step * np.arange(bins + 1, dtype=np.float64)


@dataclass
class Histogram:
    """Samples a bin: all of them, and those that were kept."""

    axis: Axis
    spread: Spread
    total: np.ndarray = field(init=False)
    kept: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.total = np.zeros(len(self.axis.edges) - 1, dtype=np.int64)
        self.kept = np.zeros_like(self.total)

    def add(self, values: np.ndarray, kept: np.ndarray) -> None:
        """Take in finite values (n,) and whether each sample was kept (n,) bool."""
        bins = np.searchsorted(self.axis.edges, values, side="right") - 1
        # the ends are inclusive, and rounding of logarithms must not lose the extremes
        bins = np.clip(bins, 0, len(self.total) - 1)
        self.total += np.bincount(bins, minlength=len(self.total))
        self.kept += np.bincount(bins[kept], minlength=len(self.total))
