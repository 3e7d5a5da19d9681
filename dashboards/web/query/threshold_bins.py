"""A score's histogram with the samples that would pass, and the samples nearest to a bound on either side of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np

from dashboards.histograms import BINS, Axis, Histogram, Spread, make_axis
from dashboards.web.catalogue import Opened
from dashboards.web.columns import Column
from dashboards.web.query.filters import Where, bit
from dashboards.web.query.samples import Sample, fetch
from dashboards.web.query.threshold_replay import Test

#: Pictures of one gallery.
PICTURES = 12


@dataclass(frozen=True)
class Bins:
    """A histogram: edges of the bins, readable samples in each, and those that pass every rule as asked."""

    edges: list[float]
    samples: list[int]
    passing: list[int]
    log: bool
    integer: bool
    low: float | None
    high: float | None
    mean: float | None


@dataclass(frozen=True)
class Nearest:
    """Samples nearest to one bound: on the side that passes (and pass all), and those that only this rule takes."""

    side: str
    bound: float
    kept: list[Sample]
    dropped: list[Sample]


def histogram_of(bins: Bins) -> Histogram:
    """Return the bins as `dashboards.figures.histogram` draws them."""
    total = sum(bins.samples)
    spread = Spread(_or(bins.low, inf), _or(bins.high, -inf), _or(bins.mean, 0.0) * total, total)
    found = Histogram(Axis(np.array(bins.edges), bins.log, bins.integer), spread)
    found.total, found.kept = np.array(bins.samples, np.int64), np.array(bins.passing, np.int64)
    return found


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def bins_and_nearest(opened: Opened, column: Column, test: Test, judged: Where) -> tuple[Bins, list[Nearest]]:
    """Return the histogram of `column` and the samples at each bound of `test`.

    `judged` is SQL for the reasons that a sample has when every rule as asked has judged it.
    """
    rows = opened.reader.rows("SELECT n, low, high, mean FROM spreads WHERE name = ?", [column.name])
    count, low, high, mean = rows[0]
    spread = Spread(_or(low, inf), _or(high, -inf), _or(mean, 0.0) * count, int(count))
    axis = make_axis(spread, column.kind == "whole", [bound for _, bound in test.sides])
    only = 1 << bit(test.reason.value)
    samples, passing, taken = _counts(opened, column, axis, judged, only)
    bins = Bins(axis.edges.tolist(), samples, passing, axis.log, axis.integer, low, high, mean)
    nearest = []
    for side, bound in test.sides:
        up = side == "low"  # values that pass lie above the bound
        kept = _some(opened, column, judged, bound, up, True, 0, _limit(axis.edges, passing, bound, up))
        dropped = _some(opened, column, judged, bound, not up, False, only, _limit(axis.edges, taken, bound, not up))
        nearest.append(Nearest(side, bound, kept, dropped))
    return bins, nearest


def _counts(
    opened: Opened, column: Column, axis: Axis, judged: Where, only: int
) -> tuple[list[int], list[int], list[int]]:
    """Count readable samples a bin: all, those without a reason, those with the reason `only` and no other."""
    place, bin_of = _places(axis, f"{column.sql}::DOUBLE")
    rows = opened.reader.rows(
        f"SELECT place, sum(n), sum(n) FILTER (judged = 0), sum(n) FILTER (judged = {only:d}::UBIGINT) FROM (SELECT "
        f"floor({place})::TINYINT AS place, {judged.sql} AS judged, count(*) AS n FROM samples "
        f"WHERE readable AND isfinite({column.sql}::DOUBLE) GROUP BY ALL) GROUP BY place",
        judged.values,
    )
    found = np.zeros((3, len(axis.edges) - 1), np.int64)
    for at, *counts in rows:
        # rounding may put the extremes one bin further
        found[:, bin_of[min(max(int(at), 0), len(bin_of) - 1)]] += [int(count or 0) for count in counts]
    samples, passing, taken = found.tolist()
    return samples, passing, taken


def _places(axis: Axis, value: str) -> tuple[str, list[int]]:
    """Return SQL for a place on an even scale (below 128, whole where a new one begins), and the bin of each place."""
    edges, bins = axis.edges, len(axis.edges) - 1
    start, stop = float(edges[0]), float(edges[-1])
    if not axis.log:
        return f"({value} - {start!r}::DOUBLE) * {bins / (stop - start)!r}::DOUBLE", list(range(bins))
    if not axis.integer:
        low, high = float(np.log1p(start)), float(np.log1p(stop))
        return f"(ln(1 + {value}) - {low!r}::DOUBLE) * {bins / (high - low)!r}::DOUBLE", list(range(bins))
    # edges of integers are rounded from an even scale, and fewer where two fell together
    low, high = float(np.log1p(start + 0.5)), float(np.log1p(stop + 0.5))
    grid = np.round(np.expm1(np.linspace(low, high, BINS + 1)))[:-1]
    bin_of = np.clip(np.searchsorted(edges, grid, side="right") - 1, 0, bins - 1)
    return f"(ln(1.5 + {value}) - {low!r}::DOUBLE) * {BINS / (high - low)!r}::DOUBLE", bin_of.tolist()


def _limit(edges: np.ndarray, counts: list[int], bound: float, up: bool) -> float | None:
    """Return a value between which and the bound enough samples lie, None where there are not so many.

    Whole bins beyond the bound's own are counted, and one more is given for what rounding put into a neighbour.
    """
    at = int(np.searchsorted(edges, bound, side="right")) - 1
    some = 0
    for place in range(at + 1, len(counts)) if up else range(at - 1, -1, -1):
        if 0 <= place < len(counts):
            some += counts[place]
        if some >= PICTURES:
            beyond = place + 2 if up else place - 1
            return float(edges[beyond]) if 0 <= beyond < len(edges) else None
    return None


def _some(
    opened: Opened,
    column: Column,
    judged: Where,
    bound: float,
    up: bool,
    inclusive: bool,
    reasons: int,
    limit: float | None,
) -> list[Sample]:
    """Return samples from a bound upward or downward, those with exactly these reasons, the nearest first."""
    start = _from(column, bound, up, inclusive)
    test = start if limit is None else start & _from(column, limit, not up, True)
    test = test & Where(f"readable AND {judged.sql} = {reasons:d}::UBIGINT", judged.values)
    rows = opened.reader.rows(
        f"SELECT row, {column.sql} FROM samples WHERE {test.sql} "
        f"ORDER BY {column.sql} {'ASC' if up else 'DESC'}, row LIMIT {PICTURES}",
        test.values,
    )
    return fetch(opened, [(row, value, True) for row, value in rows])


def _from(column: Column, bound: float, up: bool, inclusive: bool) -> Where:
    """Return the condition that a score lies from `bound` on, upward or downward, told in the column's own type.

    A score stands in the index as float32: the bound becomes the first float32 beyond it, which compares the same and
    lets DuckDB test the stored numbers as they are.
    """
    sign = ">" if up else "<"
    if column.kind != "number":
        return Where(f"{column.sql}::DOUBLE {sign}{'=' if inclusive else ''} ?::DOUBLE", (bound,))
    with np.errstate(over="ignore"):
        near, way = np.float32(bound), np.float32(inf if up else -inf)
        if (float(near) < bound if up else float(near) > bound) or (not inclusive and float(near) == bound):
            near = np.nextafter(near, way)
    return Where(f"{column.sql} {sign}= ?::FLOAT", (float(near),))
