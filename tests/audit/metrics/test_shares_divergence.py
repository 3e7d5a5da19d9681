"""Shares and divergences are those of their formulas, to 1e-9, and say so where there is nothing to measure."""

from math import exp, log, log2, sqrt

import numpy as np
import pytest

from audit.metrics.divergence import concentration, effective_number, entropy, gini, js, kl, total_variation
from audit.metrics.estimate import Estimate, Unmeasurable, finite, normal, two_shares_p
from audit.metrics.shares import disparity_ratio, share, shares, wilson

Z = 1.959963984540054
near = pytest.approx


def test_wilson_is_the_root_of_the_score_equation():
    for k, n in ((3, 10), (87, 100), (1, 1000), (0, 20), (20, 20)):
        p = k / n
        for bound in wilson(k, n):
            # (p - bound)^2 = z^2 bound (1 - bound) / n
            assert (p - bound) ** 2 == near(Z**2 * bound * (1 - bound) / n, abs=1e-12)
    assert wilson(0, 20)[0] == 0.0
    assert wilson(20, 20)[1] == 1.0


def test_wilson_of_a_published_example():
    # Newcombe 1998, Statistics in Medicine 17: 81 of 263 gives 0.2553 to 0.3662
    low, high = wilson(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


def test_shares_and_ratio_to_a_reference():
    found = shares({"a": 3, "b": 1, "c": 0})
    assert [item.value for item in found.values()] == [0.75, 0.25, 0.0]
    ratio = disparity_ratio(23, 1000, 0.19)
    low, high = wilson(23, 1000)
    assert (ratio.value, ratio.low, ratio.high) == near((0.023 / 0.19, low / 0.19, high / 0.19), abs=1e-12)
    assert ratio.p < 1e-9
    assert disparity_ratio(190, 1000, 0.19).p == near(1.0)


def test_exact_binomial_test_by_hand():
    # 9 of 10 at one half: 2 * (C(10,9) + C(10,10)) / 2^10
    assert share(9, 10, 0.5).p == near(22 / 1024, abs=1e-12)


def test_two_shares_by_hand():
    # large table: z of the score test
    p = (30 + 50) / 200
    z = (0.3 - 0.5) / sqrt(p * (1 - p) * (2 / 100))
    from statistics import NormalDist

    assert two_shares_p(30, 100, 50, 100) == near(2 * NormalDist().cdf(z), abs=1e-12)
    # Fisher's tea: 3 of 4 against 1 of 4: (16 + 1) * 2 / 70
    assert two_shares_p(3, 4, 1, 4) == near(34 / 70, abs=1e-12)
    assert two_shares_p(0, 5, 0, 7) == two_shares_p(5, 5, 7, 7) == 1.0


def test_divergences_by_hand():
    counts, reference = {"a": 6, "b": 2}, {"a": 0.5, "b": 0.5}
    assert kl(counts, reference).value == near(0.75 * log2(1.5) + 0.25 * log2(0.5), abs=1e-12)
    middle = (0.625, 0.375)
    by_hand = (0.75 * log2(0.75 / 0.625) + 0.25 * log2(0.25 / 0.375)) / 2
    by_hand += (0.5 * log2(0.5 / middle[0]) + 0.5 * log2(0.5 / middle[1])) / 2
    assert js(counts, reference).value == near(by_hand, abs=1e-12)
    assert total_variation(counts, reference).value == near(0.25, abs=1e-12)
    assert js({"a": 5}, {"b": 1.0}).value == near(1.0, abs=1e-12)
    assert kl({"a": 5, "b": 5}, reference).p == near(1.0)
    # reference counts work as shares, and a value that has none counts
    assert total_variation({"a": 4}, {"a": 1, "b": 1}).value == 0.5


def test_the_delta_interval_of_kl_is_that_of_its_variance():
    n, p, r = 400, (0.75, 0.25), (0.5, 0.5)
    g = [log2(a / b) for a, b in zip(p, r, strict=True)]
    variance = (
        sum(a * x * x for a, x in zip(p, g, strict=True)) - sum(a * x for a, x in zip(p, g, strict=True)) ** 2
    ) / n
    found = kl({"a": 300, "b": 100}, {"a": 0.5, "b": 0.5})
    assert found.high - found.value == near(Z * sqrt(variance), abs=1e-12)


def test_spread_by_hand():
    counts = {"a": 6, "b": 2, "c": 0}
    h = -(0.75 * log(0.75) + 0.25 * log(0.25))
    assert entropy(counts).value == near(h / log(3), abs=1e-12)
    assert effective_number(counts).value == near(exp(h), abs=1e-12)
    assert concentration(counts).value == near(0.75**2 + 0.25**2, abs=1e-12)
    # mean absolute difference over twice the mean: (6 + 2 + 4) * 2 / 9 / (2 * 8 / 3)
    assert gini(counts).value == near(24 / 9 / (16 / 3), abs=1e-12)
    assert entropy({"a": 1, "b": 1}).value == near(1.0)
    assert effective_number({"a": 7}).value == 1.0


def test_nothing_to_measure_says_why():
    for measured in (
        share(0, 0),
        disparity_ratio(0, 0, 0.5),
        disparity_ratio(1, 2, 0.0),
        kl({}, {"a": 1.0}),
        kl({"a": 1}, {}),
        kl({"a": 1, "b": 1}, {"a": 1.0}),
        kl({"a": 1}, {"a": 1.0}),
        js({}, {"a": 1.0}),
        total_variation({"a": 0}, {"a": 1.0}),
        entropy({}),
        entropy({"a": 3}),
        effective_number({"a": 0}),
        concentration({}),
        gini({"a": 1}),
        finite(1.0, float("-inf"), 2.0),
    ):
        assert isinstance(measured, Unmeasurable)
        assert measured.why


def test_impossible_counts_are_no_user_error():
    for call in (lambda: share(2, 1), lambda: kl({"a": -1}, {"a": 1.0}), lambda: Estimate(float("nan"))):
        with pytest.raises(ValueError, match="must"):
            call()
    assert normal(0.0, 0.0, 5).p == 1.0


def test_intervals_of_divergences_cover_the_planted_value():
    random = np.random.default_rng(1)
    truth, reference = np.array([0.6, 0.3, 0.1]), {"a": 0.2, "b": 0.3, "c": 0.5}
    r = np.array(list(reference.values()))
    h = -float(truth @ np.log(truth))
    m = (truth + r) / 2
    planted = {
        kl: float(truth @ np.log2(truth / r)),
        js: float(truth @ np.log2(truth / m) + r @ np.log2(r / m)) / 2,
        total_variation: float(np.abs(truth - r).sum()) / 2,
    }
    covered = dict.fromkeys([*planted, entropy, effective_number], 0)
    for draw in random.multinomial(2000, truth, size=1000):
        counts = dict(zip("abc", draw.tolist(), strict=True))
        for metric, value in planted.items():
            found = metric(counts, reference)
            covered[metric] += found.low <= value <= found.high
        for metric, value in ((entropy, h / log(3)), (effective_number, exp(h))):
            found = metric(counts)
            covered[metric] += found.low <= value <= found.high
    assert all(930 <= count <= 970 for count in covered.values()), covered


def test_the_exact_test_is_that_of_scipy_and_takes_no_time_for_large_counts():
    from scipy.stats import fisher_exact

    random = np.random.default_rng(8)
    compared = 0
    while compared < 200:
        n1, n2 = (int(v) for v in random.integers(1, 60, 2))
        k1, k2 = int(random.integers(0, n1 + 1)), int(random.integers(0, n2 + 1))
        share_both = (k1 + k2) / (n1 + n2)
        if 0 < min(n1, n2) * min(share_both, 1 - share_both) < 5:
            compared += 1
            assert two_shares_p(k1, n1, k2, n2) == near(fisher_exact([[k1, n1 - k1], [k2, n2 - k2]])[1], abs=1e-9)
    assert 0 < two_shares_p(1, 10**13, 6, 10**13) < 0.2
    assert two_shares_p(2, 40, 10**13, 10**13) == near(0.0)
