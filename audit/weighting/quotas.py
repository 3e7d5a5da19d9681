"""Quotas: minimum shares of values, reached by leaving out samples of the over-full values and no others.

For counts n_v and minimum shares m_v, the largest T is sought for which integers k_v <= n_v with k_v >= m_v T and
sum k_v = T exist: T <= n_v / m_v for every v, T <= sum n_v, and sum ceil(m_v T) <= T. Given T, who gives is decided by
water-filling: k_v = min(n_v, max(lower_v, level)), the choice of largest entropy under those bounds (governance
reference, section 5; the level is that of Cover and Thomas 2006, section 9.4). All in integers, no solver.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

#: Shares are read as fractions with denominators up to this, so that 0.2 is one fifth and 0.3333333333 one third.
DENOMINATOR = 1_000_000
_CHUNK = 4096


@dataclass(frozen=True)
class Filled:
    """How many samples of each value stay.

    `reached` is false where a minimum cannot be reached; `short` then names the values that stay below theirs, with
    the share that they come to. `absent` are those among them of which there is no sample at all.
    """

    keep: Mapping[str, int]
    reached: bool
    short: Mapping[str, float]
    absent: tuple[str, ...]

    @property
    def total(self) -> int:
        """The number of samples that stay."""
        return sum(self.keep.values())


def fraction(share: float) -> Fraction:
    """Return a share as the fraction that was meant."""
    return Fraction(share).limit_denominator(DENOMINATOR)


def fill(counts: Mapping[str, int], minimum: Mapping[str, Fraction], least: int = 0) -> Filled:
    """Return how many of each value stay so that every value of `minimum` has its share, keeping as many as possible.

    `counts`: samples by value, 0 or more; shares are of their sum. `minimum`: shares above 0, at most 1 in sum.
    `least`: as many samples must stay at any rate. Where the shares cannot be had so, exactly `least` stay (or few
    more, where whole samples ask for it): every short value whole, and each other minimum value with its share.
    Raises `ValueError` for shares that are none.
    """
    if any(share <= 0 for share in minimum.values()) or sum(minimum.values()) > 1:
        raise ValueError(f"minimum shares must be above 0 and at most 1 in sum: {dict(minimum)}")
    there = {value: count for value, count in sorted(counts.items()) if count > 0}
    absent = tuple(sorted(value for value in minimum if value not in there))
    asked = {value: share for value, share in sorted(minimum.items()) if value in there}
    total = sum(there.values())
    least = min(max(least, 1), total)
    if total == 0:
        return Filled({}, not minimum, dict.fromkeys(absent, 0.0), absent)
    most = min([total, *(int(there[value] / share) for value, share in asked.items())])
    found = _largest(most, least, list(asked.values()))
    if found is None:
        lower = {value: min(there[value], _ceil(share * least)) for value, share in asked.items()}
        found = max(least, sum(lower.values()))
    else:
        lower = {value: _ceil(share * found) for value, share in asked.items()}
    keep = level(there, lower, found)
    short = {
        value: keep.get(value, 0) / found for value, share in minimum.items() if keep.get(value, 0) < share * found
    }
    return Filled(keep, not short, dict(sorted(short.items())), absent)


def _largest(most: int, least: int, shares: list[Fraction]) -> int | None:
    """Return the largest T of [least, most] for which the shares, in whole samples, do not add up to more than T."""
    above = np.array([share.numerator for share in shares], dtype=np.int64)[:, None]
    below = np.array([share.denominator for share in shares], dtype=np.int64)[:, None]
    top = most
    while top >= least:
        candidates = np.arange(top, max(least, top - _CHUNK + 1) - 1, -1, dtype=np.int64)
        fits = np.flatnonzero((-(-above * candidates // below)).sum(axis=0) <= candidates)
        if len(fits):
            return int(candidates[fits[0]])
        top -= _CHUNK
    return None


def _ceil(share: Fraction) -> int:
    return -(-share.numerator // share.denominator)


def level(counts: Mapping[str, int], lower: Mapping[str, int], total: int) -> dict[str, int]:
    """Return k_v = min(n_v, max(lower_v, level)) with sum `total`; what does not divide goes to the largest values.

    Needs sum lower <= total <= sum counts and lower_v <= n_v. Raises `ValueError` otherwise.
    """
    names = sorted(counts, key=lambda value: (-counts[value], value))
    n = np.array([counts[value] for value in names], dtype=np.int64)
    least = np.array([lower.get(value, 0) for value in names], dtype=np.int64)
    if (least > n).any() or not least.sum() <= total <= n.sum():
        raise ValueError(f"no {total} samples between {int(least.sum())} and {int(n.sum())}")
    low, high = 0, int(n.max(initial=0))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.clip(middle, least, n).sum() <= total else (low, middle - 1)
    keep = np.clip(low, least, n)
    rest = int(total - keep.sum())
    keep[np.flatnonzero((keep == low) & (n > low))[:rest]] += 1
    return dict(zip(names, keep.tolist(), strict=True))
