"""Rankings, trends, false discovery rates, bootstrap and intersections, by hand and by coverage."""

from math import log, log2, sqrt

import numpy as np
import pytest

from audit.metrics.bootstrap import by_cluster
from audit.metrics.estimate import Unmeasurable
from audit.metrics.impact import Passed
from audit.metrics.intersections import cells
from audit.metrics.multiplicity import benjamini_hochberg, benjamini_yekutieli
from audit.metrics.ranking import ndkl, ranked, skew_at_k, skews
from audit.metrics.trend import cochran_armitage, z_statistic
from audit.questions import Ranked
from audit.rankings import ranking_section

near = pytest.approx


def test_skew_by_hand():
    ranking = np.array([0, 0, 0, 1, 1, 1])
    found = skews(ranking, 4, ["a", "b"], {"a": 0.5, "b": 0.5})
    assert (found["a"].value, found["b"].value) == near((log(1.5), log(0.5)), abs=1e-12)
    assert isinstance(skews(ranking, 3, ["a", "b"], {"a": 0.5, "b": 0.5})["b"], Unmeasurable)
    assert isinstance(skew_at_k(1, 2, 0.0), Unmeasurable)
    assert isinstance(skew_at_k(0, 0, 0.5), Unmeasurable)
    assert skews(ranking, 100, ["a", "b"], {"a": 0.5, "b": 0.5})["a"].n == 6


def test_ndkl_by_hand():
    # prefixes a | a b: KL(1,0 || .5,.5) = ln 2, then 0; weights 1 and 1/log2(3)
    found = ndkl(np.array([0, 1]), ["a", "b"], {"a": 0.5, "b": 0.5})
    assert found.value == near(log(2) / (1 + 1 / log2(3)), abs=1e-12)
    assert isinstance(ndkl(np.array([], dtype=int), ["a"], {"a": 1.0}), Unmeasurable)
    assert isinstance(ndkl(np.array([0, 1]), ["a", "b"], {"a": 1.0}), Unmeasurable)


def test_a_ranking_of_many_values_lists_the_largest_and_counts_the_rest_as_one():
    codes = np.r_[np.arange(6000) % 100, np.arange(4000) % 1000 + 100]
    scores = np.random.default_rng(8).random(10_000)
    section = ranking_section(Ranked("s", "who", (1000,)), scores, codes, [f"v{i:04d}" for i in range(1100)])
    assert {f.subject["value"] for f in section.findings if f.metric == "skew"} == {f"v{i:04d}" for i in range(60)}
    (whole,) = [f for f in section.findings if f.metric == "ndkl"]
    rest = ranked(scores, np.minimum(codes, 60))
    share = {str(code): float((rest == code).mean()) for code in range(61)}
    assert whole.value == near(ndkl(rest, list(share), share).value)


def test_ranking_leaves_out_samples_without_score_or_value():
    scores = np.array([1.0, np.nan, 3.0, 3.0, np.inf])
    assert ranked(scores, np.array([0, 1, 2, 3, -1])).tolist() == [2, 3, 0]


def test_cochran_armitage_by_hand():
    groups = [Passed(10, 2), Passed(20, 10), Passed(30, 24)]
    n, k, x = np.array([10, 20, 30]), np.array([2, 10, 24]), np.array([0, 1, 2])
    total, pooled = 60, 36 / 60
    statistic = float((k - n * pooled) @ x)
    variance = pooled * (1 - pooled) * float(n @ x**2 - (n @ x) ** 2 / total)
    assert z_statistic(groups) == near(statistic / sqrt(variance), abs=1e-9)
    slope = float(
        np.polyfit(
            np.repeat(x, n), np.concatenate([np.r_[np.ones(a), np.zeros(b - a)] for a, b in zip(k, n, strict=True)]), 1
        )[0]
    )
    assert cochran_armitage(groups).value == near(slope, abs=1e-9)
    assert cochran_armitage(groups[::-1]).value == near(-slope, abs=1e-9)


def test_a_trend_needs_two_steps_and_both_outcomes():
    for groups in ([], [Passed(5, 2)], [Passed(5, 2), Passed(0, 0)], [Passed(5, 5), Passed(5, 5)], [Passed(5, 0)] * 2):
        assert isinstance(cochran_armitage(groups), Unmeasurable)
        assert z_statistic(groups) is None


def test_the_interval_of_the_trend_covers_what_was_planted():
    random = np.random.default_rng(5)
    rates = 0.6 - 0.03 * np.arange(10)
    covered = 0
    for _ in range(1000):
        covered += (
            (found := cochran_armitage([Passed(300, int(k)) for k in random.binomial(300, rates)])).low
            <= -0.03
            <= found.high
        )
    assert 930 <= covered <= 970


def test_q_values_by_hand():
    p = [0.01, 0.04, 0.03, 0.005]
    assert benjamini_hochberg(p) == near([0.02, 0.04, 0.04, 0.02], abs=1e-12)
    factor = 1 + 1 / 2 + 1 / 3 + 1 / 4
    assert benjamini_yekutieli(p) == near([0.02 * factor, 0.04 * factor, 0.04 * factor, 0.02 * factor], abs=1e-12)
    assert benjamini_hochberg([]) == []
    assert benjamini_hochberg([1.0]) == [1.0]
    with pytest.raises(ValueError, match="out of 0 to 1"):
        benjamini_hochberg([float("nan")])


def test_the_bootstrap_sees_that_samples_of_one_domain_are_alike():
    random = np.random.default_rng(6)
    # 40 domains of 250 samples; a domain's own rate varies widely
    rates = random.beta(2, 2, 40)
    kept = random.binomial(250, rates)
    counts = np.stack([kept, 250 - kept], axis=1)
    found = by_cluster(counts, lambda c: float(c[0] / c.sum()) if c.sum() else None)
    naive = 2 * 1.96 * sqrt(0.25 / 10_000)
    assert found.high - found.low > 3 * naive
    assert found.value == near(kept.sum() / 10_000)
    assert by_cluster(counts, lambda c: float(c[0] / c.sum())) == found


def test_the_bootstrap_refuses_too_few_clusters_and_undefined_figures():
    assert isinstance(by_cluster(np.ones((9, 2)), lambda c: 1.0), Unmeasurable)
    assert isinstance(by_cluster(np.ones((20, 2)), lambda c: None), Unmeasurable)
    assert isinstance(by_cluster(np.zeros((20, 2)), lambda c: 1.0), Unmeasurable)


def test_the_bootstrap_covers_over_clusters():
    random = np.random.default_rng(7)
    covered = 0
    for run in range(200):
        kept = random.binomial(50, random.beta(4, 4, 100))
        found = by_cluster(np.stack([kept, 50 - kept], axis=1), lambda c: float(c[0] / c.sum()), run, 300)
        covered += found.low <= 0.5 <= found.high
    assert 0.90 <= covered / 200 <= 0.99


def test_residuals_by_hand():
    table = {("a", "x"): 30, ("a", "y"): 10, ("b", "x"): 10, ("b", "y"): 30}
    found = cells(table, ["a", "b"], ["x", "y"])
    # adjusted residual of a 2x2 table squared is its chi-squared statistic: 20
    assert [round(cell.residual**2, 9) for cell in found] == [20.0] * 4
    assert [cell.small for cell in found] == [False, True, True, False]
    assert all(cell.residual is None for cell in cells({}, ["a"], ["x", "y"]))
    assert cells({("a", "x"): 5}, ["a"], ["x"])[0].residual is None
