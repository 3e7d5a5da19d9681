"""What goes with whom: concepts and groups in the same samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, log2, sqrt

import numpy as np
from scipy import optimize, special

from audit.metrics.estimate import Estimate, Measured, Unmeasurable, Z, check_counts, finite, normal, two_shares_p
from audit.metrics.shares import share

#: Added to every cell of a table that has a zero, so that its logarithm exists (Haldane 1956, Anscombe 1956).
_HALF = 0.5


def _npmi(both: float, one: float, other: float, n: float) -> tuple[float, float, float, float]:
    """Return nPMI and its derivatives by the shares of (both), (one only) and (other only)."""
    a, x, y = both / n, one / n, other / n
    numerator = log(a) - log(x) - log(y)
    scale = -log(a)
    by_both = ((1 / a - 1 / x - 1 / y) * scale + numerator / a) / scale**2
    return numerator / scale, by_both, -1 / (x * scale), -1 / (y * scale)


def _error(shares: Sequence[float], gradient: Sequence[float], n: float) -> float:
    p, g = np.array(shares), np.array(gradient)
    return sqrt(max(0.0, float(p @ g**2 - (p @ g) ** 2)) / n)


def npmi(both: int, one: int, other: int, n: int) -> Measured:
    """Return the normalised pointwise mutual information of two marks of samples, from -1 to 1 (Bouma 2009).

    `both` of `n` samples have both, `one` and `other` have each. 0 is independence. The interval is by the delta
    method on the four cells, with 0.5 added to each where one of them is zero; p is the test of independence of the
    2x2 table.
    """
    check_counts((both, one - both, other - both, n - one - other + both))
    if min(one, other) == 0 or max(one, other) == n:
        return Unmeasurable("one of the two is in no sample, or in all")
    p = two_shares_p(both, one, other - both, n - one)
    add = _HALF if min(both, one - both, other - both, n - one - other + both) == 0 else 0.0
    total, a, x, y = n + 4 * add, both + add, one + 2 * add, other + 2 * add
    value, *gradient = _npmi(a, x, y, total)
    half = Z * _error([a / total, (x - a) / total, (y - a) / total], gradient, total)
    return finite(value, max(-1.0, value - half), min(1.0, value + half), p, n)


def npmi_gap(both1: int, both2: int, concept: int, group1: int, group2: int, n: int) -> Measured:
    """Return nPMI(concept, group 1) - nPMI(concept, group 2): above 0 the concept goes more with group 1.

    The association gap of Aka et al. 2021 (AIES). The groups must not overlap: `both1` and `both2` of the `concept`
    samples are in each. Interval and p (of no gap) by the delta method on the six cells, 0.5 added to each where one
    is zero.
    """
    cells = (both1, both2, concept - both1 - both2, group1 - both1, group2 - both2)
    check_counts((*cells, n - sum(cells)))
    if min(group1, group2) == 0:
        return Unmeasurable("one of the two groups has no sample")
    if concept == 0:
        return Unmeasurable("no sample has the concept")
    if concept == n:
        return Unmeasurable("every sample has the concept")
    add = _HALF if min(*cells, n - sum(cells)) == 0 else 0.0
    total = n + 6 * add
    a1, a2, alone, d1, d2 = (cell + add for cell in cells)
    x = a1 + a2 + alone
    value1, both_1, one_1, other_1 = _npmi(a1, x, a1 + d1, total)
    value2, both_2, one_2, other_2 = _npmi(a2, x, a2 + d2, total)
    gradient = [both_1 - one_2, one_1 - both_2, one_1 - one_2, other_1, -other_2]
    error = _error([cell / total for cell in (a1, a2, alone, d1, d2)], gradient, total)
    return normal(value1 - value2, error, n)


def share_given(k: int, n: int, k_all: int, n_all: int) -> Measured:
    """Return the share of a group's value among the samples of a concept that have any: P(feminine | nurse, gendered).

    `k` of `n` of them; `k_all` of `n_all` in the whole corpus, the concept included. Wilson's interval; p compares
    with the samples without the concept (exact or score test), so that the base's own uncertainty counts.
    """
    check_counts((k, n - k, k_all - k, (n_all - k_all) - (n - k)))
    if n == 0:
        return Unmeasurable("no sample of the concept has a value of this group")
    found = share(k, n)
    if isinstance(found, Unmeasurable) or n_all == n:
        return found
    return Estimate(found.value, found.low, found.high, two_shares_p(k, n, k_all - k, n_all - n), n)


def log_odds(k: int, n: int, k_other: int, n_other: int) -> Measured:
    """Return log2 of the odds ratio of k of n against k_other of n_other: 1 is twice the odds (Woolf 1955).

    0.5 is added to each cell where one is zero; p is the exact or score test of the table as it is.
    """
    check_counts((k, n - k, k_other, n_other - k_other))
    if min(n, n_other) == 0 or k + k_other in (0, n + n_other):
        return Unmeasurable("one of the two has no sample, or all samples are alike")
    cells = (k, n - k, k_other, n_other - k_other)
    a, b, c, d = (cell + (_HALF if min(cells) == 0 else 0.0) for cell in cells)
    value = log2(a * d / (b * c))
    half = Z * sqrt(1 / a + 1 / b + 1 / c + 1 / d) / log(2)
    return finite(value, value - half, value + half, two_shares_p(k, n, k_other, n_other), n + n_other)


@dataclass(frozen=True)
class Word:
    """How much more a word is used with one group than with the other: log odds (nats), its z score and p."""

    word: str
    log_odds: float
    z: float
    p: float


def distinctive_words(
    one: Mapping[str, int], other: Mapping[str, int], prior: Mapping[str, int], strength: float = 500.0
) -> list[Word]:
    """Return words by how distinctive they are, most for `one` first (log-odds with informative Dirichlet prior).

    Monroe, Colaresi & Quinn 2008, eqs. 15, 16, 22. The counts are of words; `prior` are counts of the whole corpus,
    scaled to `strength` words in all. Words without a count in the prior are left out. Empty where there is nothing to
    compare.
    """
    for counts in (one, other, prior):
        check_counts(counts)
    n_one, n_other, n_prior = sum(one.values()), sum(other.values()), sum(prior.values())
    if min(n_one, n_other, n_prior) == 0:
        return []
    found = []
    for word, count in prior.items():
        a = strength * count / n_prior
        y, y_other = one.get(word, 0) + a, other.get(word, 0) + a
        rest, rest_other = n_one + strength - y, n_other + strength - y_other
        if min(y, y_other, rest, rest_other) <= 0:
            continue
        delta = log(y / rest) - log(y_other / rest_other)
        z = delta / sqrt(1 / y + 1 / y_other)
        found.append(Word(word, delta, z, 2 * float(special.ndtr(-abs(z)))))
    return sorted(found, key=lambda item: (-item.z, item.word))


def cramers_v(table: Sequence[Sequence[int]]) -> Measured:
    """Return Cramér's V of a table of counts, bias-corrected: 0 no association, 1 complete (Bergsma 2013).

    Empty rows and columns are left out. p is Pearson's chi-squared test; the interval turns the noncentral chi-squared
    interval of the statistic into V (Smithson 2003), with the same correction.
    """
    counts = np.array(table, dtype=np.float64)
    if counts.ndim != 2 or counts.size == 0 or counts.min() < 0:
        return Unmeasurable("there is no table of counts")
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    rows, columns = counts.shape
    n = float(counts.sum())
    if min(rows, columns) < 2 or n < 2:
        return Unmeasurable("fewer than two values of one of the two have samples")
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / n
    statistic = float(((counts - expected) ** 2 / expected).sum())
    freedom = (rows - 1) * (columns - 1)

    def corrected(x: float) -> float:
        phi = max(0.0, x / n - freedom / (n - 1))
        smaller = min(side - (side - 1) ** 2 / (n - 1) for side in (rows, columns)) - 1
        return min(1.0, sqrt(phi / smaller)) if smaller > 0 else 0.0

    low, high = (freedom + _noncentrality(statistic, freedom, tail) for tail in (0.975, 0.025))
    value = corrected(statistic)
    p = float(special.chdtrc(freedom, statistic))
    return finite(value, min(value, corrected(low)), max(value, corrected(high)), p, int(n))


def _noncentrality(statistic: float, freedom: int, tail: float) -> float:
    """Return the noncentrality at which the chi-squared distribution has `tail` below the statistic (Brent)."""

    def below(noncentrality: float) -> float:
        if statistic < 1000:
            return float(special.chndtr(statistic, freedom, noncentrality))
        # large ones are normal, and the exact series is slow there (Abramowitz & Stegun 26.4.27)
        return float(special.ndtr((statistic - freedom - noncentrality) / sqrt(2 * (freedom + 2 * noncentrality))))

    if below(0.0) <= tail:
        return 0.0
    # a sum of squares of normals: its root is within a few units of the root of the noncentrality
    bound = (sqrt(statistic) + 10.0) ** 2
    return float(optimize.brentq(lambda noncentrality: below(noncentrality) - tail, 0.0, bound, rtol=1e-10))
