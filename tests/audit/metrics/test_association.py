"""Associations are those of their formulas; their intervals cover what was planted."""

from math import log, log2, sqrt

import numpy as np
import pytest

from audit.metrics.association import cramers_v, distinctive_words, log_odds, npmi, npmi_gap, share_given
from audit.metrics.estimate import Unmeasurable

Z = 1.959963984540054
near = pytest.approx


def test_npmi_by_hand():
    # 40 of 1000 both, 100 and 80 each: ln(.04 / (.1 * .08)) / -ln(.04)
    found = npmi(40, 100, 80, 1000)
    assert found.value == near(log(5) / -log(0.04), abs=1e-12)
    assert npmi(8, 100, 80, 1000).value == near(0.0, abs=1e-12)
    assert npmi(80, 80, 80, 1000).value > 0.95


def test_the_npmi_interval_is_that_of_numeric_derivatives():
    a, x, y, n = 40, 100, 80, 1000
    p = np.array([a, x - a, y - a, n - x - y + a]) / n

    def f(cells):
        both, one, other, _ = cells
        return log(both / ((both + one) * (both + other))) / -log(both)

    step = 1e-6
    g = np.array([(f(p + step * e) - f(p - step * e)) / (2 * step) for e in np.eye(4)])
    error = sqrt((p @ g**2 - (p @ g) ** 2) / n)
    found = npmi(a, x, y, n)
    assert found.high - found.value == near(Z * error, abs=1e-6)


def test_the_gap_is_a_difference_and_its_interval_that_of_numeric_derivatives():
    both1, both2, concept, group1, group2, n = 60, 10, 100, 300, 400, 2000
    found = npmi_gap(both1, both2, concept, group1, group2, n)
    assert found.value == near(
        npmi(both1, concept, group1, n).value - npmi(both2, concept, group2, n).value, abs=1e-12
    )
    p = np.array([60, 10, 30, 240, 390]) / n

    def f(c):
        x = c[0] + c[1] + c[2]
        parts = [(c[0], c[0] + c[3]), (c[1], c[1] + c[4])]
        values = [log(a / (x * y)) / -log(a) for a, y in parts]
        return values[0] - values[1]

    step = 1e-7
    g = np.array([(f(p + step * e) - f(p - step * e)) / (2 * step) for e in np.eye(5)])
    error = sqrt((p @ g**2 - (p @ g) ** 2) / n)
    assert found.high - found.value == near(Z * error, abs=1e-6)
    swapped = npmi_gap(both2, both1, concept, group2, group1, n)
    assert (swapped.value, swapped.low, swapped.high) == near((-found.value, -found.high, -found.low), abs=1e-12)


def test_log_odds_by_hand():
    found = log_odds(30, 100, 10, 100)
    assert found.value == near(log2(30 * 90 / (70 * 10)), abs=1e-12)
    error = sqrt(1 / 30 + 1 / 70 + 1 / 10 + 1 / 90) / log(2)
    assert (found.low, found.high) == near((found.value - Z * error, found.value + Z * error), abs=1e-12)
    assert log_odds(0, 50, 10, 50).value == near(log2(0.5 * 40.5 / (50.5 * 10.5)), abs=1e-12)


def test_share_given_compares_with_the_other_samples():
    found = share_given(87, 100, 487, 1000)
    assert found.value == 0.87
    pooled = 487 / 1000
    z = (0.87 - 400 / 900) / sqrt(pooled * (1 - pooled) * (1 / 100 + 1 / 900))
    from statistics import NormalDist

    assert found.p == near(2 * NormalDist().cdf(-z), rel=1e-9)
    assert share_given(5, 10, 5, 10).p is None


def test_cramers_v_by_hand():
    # chi2 = 20 (2x2: 30 10 / 10 30 of 80), phi2 = .25 - 1/79, r~ = 2 - 1/79
    found = cramers_v([[30, 10], [10, 30]])
    assert found.value == near(sqrt((0.25 - 1 / 79) / (1 - 1 / 79)), abs=1e-9)
    assert cramers_v([[10, 10], [10, 10]]).value == 0.0
    assert cramers_v([[50, 0], [0, 50]]).value == near(1.0, abs=1e-9)
    assert cramers_v([[30, 10, 0], [10, 30, 0], [0, 0, 0]]) == found
    assert found.low < found.value < found.high
    large = cramers_v([[300_000, 100_000], [100_000, 300_000]])
    assert large.value == near(0.5, abs=1e-5)
    assert 0 < large.high - large.low < 0.01


def test_cramers_v_covers_the_planted_association():
    random = np.random.default_rng(3)
    p = np.array([[0.3, 0.1], [0.2, 0.4]])
    outer = np.outer(p.sum(axis=1), p.sum(axis=0))
    truth = sqrt(float(((p - outer) ** 2 / outer).sum()))
    covered = 0
    for draw in random.multinomial(1500, p.ravel(), size=1000):
        found = cramers_v(draw.reshape(2, 2).tolist())
        covered += found.low <= truth <= found.high
    assert 930 <= covered <= 975


def test_distinctive_words_by_hand():
    one, other = {"pink": 30, "car": 70}, {"pink": 10, "car": 90}
    prior = {"pink": 40, "car": 160, "tree": 0}
    found = {word.word: word for word in distinctive_words(one, other, prior, strength=10)}
    y, y_other = 30 + 2, 10 + 2
    delta = log(y / (110 - y)) - log(y_other / (110 - y_other))
    assert found["pink"].log_odds == near(delta, abs=1e-12)
    assert found["pink"].z == near(delta / sqrt(1 / y + 1 / y_other), abs=1e-12)
    assert list(found) == ["pink", "car"]
    assert distinctive_words({}, other, prior) == []


def test_zero_joint_counts_have_a_figure_and_empty_margins_none():
    gap = npmi_gap(0, 50, 100, 300, 300, 2000)
    assert gap.value < -0.1
    assert gap.high < 0
    assert npmi(0, 10, 10, 100).low >= -1
    for measured in (
        npmi(0, 0, 5, 10),
        npmi(5, 10, 5, 10),
        npmi_gap(0, 5, 5, 0, 10, 20),
        npmi_gap(0, 0, 0, 5, 5, 20),
        npmi_gap(5, 5, 20, 5, 5, 20),
        share_given(0, 0, 5, 10),
        log_odds(0, 0, 1, 2),
        log_odds(0, 5, 0, 5),
        cramers_v([]),
        cramers_v([[1, 2]]),
        cramers_v([[0, 0], [0, 0]]),
    ):
        assert isinstance(measured, Unmeasurable)


def test_intervals_cover_the_planted_association():
    random = np.random.default_rng(2)
    # concept and (women, men, neither): the CEO is a man in 87 %, in a corpus half of each
    p = np.array([0.0052, 0.0348, 0.02, 0.2448, 0.2152, 0.48])
    x, y1, y2 = p[:3].sum(), p[0] + p[3], p[1] + p[4]
    truth = log(p[0] / (x * y1)) / -log(p[0]) - log(p[1] / (x * y2)) / -log(p[1])
    odds = log2(p[0] * p[4] / (p[1] * p[3]))
    given = p[0] / (p[0] + p[1])
    covered = {"gap": 0, "odds": 0, "share": 0}
    n = 20_000
    for a, b, alone, d, e, _ in random.multinomial(n, p, size=1000).tolist():
        gap = npmi_gap(a, b, a + b + alone, a + d, b + e, n)
        covered["gap"] += gap.low <= truth <= gap.high
        found = log_odds(a, a + b, d, d + e)
        covered["odds"] += found.low <= odds <= found.high
        mine = share_given(a, a + b, a + d, a + b + d + e)
        covered["share"] += mine.low <= given <= mine.high
    assert all(930 <= count <= 970 for count in covered.values()), covered
