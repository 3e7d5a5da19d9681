"""Whatever the counts, a metric gives a finite estimate inside its interval, or says why there is none."""

import random
from math import isfinite

import numpy as np
import pytest

from audit.metrics.association import cramers_v, distinctive_words, log_odds, npmi, npmi_gap, share_given
from audit.metrics.bootstrap import by_cluster
from audit.metrics.divergence import concentration, effective_number, entropy, gini, js, kl, total_variation
from audit.metrics.estimate import Estimate, Unmeasurable
from audit.metrics.impact import Passed, amplification, chain, disparate_impact, ratio
from audit.metrics.intersections import cells
from audit.metrics.ranking import ndkl, skew_at_k
from audit.metrics.shares import disparity_ratio, share
from audit.metrics.trend import cochran_armitage

SIZES = (0, 0, 1, 2, 7, 40, 10**4, 10**9, 10**13)


def below(source, n):
    return source.choice((0, n, n // 2, source.randint(0, n)))


def measurements(source):
    n = source.choice(SIZES)
    k = below(source, n)
    n2 = source.choice(SIZES)
    k2 = below(source, n2)
    yield "share", share(k, n, source.choice((None, 0.0, 0.3, 1.0)))
    yield "disparity_ratio", disparity_ratio(k, n, source.choice((0.0, 1e-9, 0.3, 1.0)))
    counts = {name: source.choice(SIZES) for name in "abcd"[: source.randint(0, 4)]}
    reference = {name: source.choice((0.0, 1e-12, 0.2, 3.0)) for name in "abcde"[: source.randint(0, 5)]}
    for metric in (kl, js, total_variation):
        yield metric.__name__, metric(counts, reference)
    for metric in (entropy, effective_number, concentration, gini):
        yield metric.__name__, metric(counts)
    six = [source.choice(SIZES) for _ in range(6)]
    a, b, alone, d, e, _ = six
    yield "npmi", npmi(a, a + alone, a + d, a + alone + d + e)
    yield "npmi_gap", npmi_gap(a, b, a + b + alone, a + d, b + e, sum(six))
    yield "share_given", share_given(k, n, k + k2, n + n2)
    yield "log_odds", log_odds(k, n, k2, n2)
    yield "cramers_v", cramers_v([six[:3], six[3:]])
    groups = {"a": Passed(n, k), "b": Passed(n2, k2), "c": Passed(5, 3)}
    yield "ratio", ratio(groups["a"], groups["b"])
    yield from ((f"impact {value}", item) for value, item in disparate_impact(groups).items())
    yield "amplification", amplification(groups, "a")
    steps = chain({"R": {"a": k, "b": k2}}, {"a": n, "b": n2}, "a", ["R"])
    yield from (("chain", step.ratio) for step in steps)
    yield "skew", skew_at_k(k, n, source.choice((0.0, 1e-9, 0.5, 1.0)))
    yield "trend", cochran_armitage(list(groups.values()))


@pytest.mark.parametrize("seed", range(150))
def test_every_metric_is_finite_or_says_why(seed):
    for name, found in measurements(random.Random(seed)):
        if isinstance(found, Unmeasurable):
            assert found.why, name
            continue
        assert isinstance(found, Estimate), name
        assert all(isfinite(x) for x in (found.value, found.low, found.high, found.p) if x is not None), name
        assert found.p is None or 0 <= found.p <= 1, (name, found)
        if found.low is not None:
            slack = 1e-9 * max(1.0, abs(found.value))
            assert found.low <= found.value + slack, (name, found)
            if not (name == "npmi" and found.value <= -0.5):
                assert found.value <= found.high + slack, (name, found)


def test_tables_words_rankings_and_clusters_are_finite_too():
    source = random.Random(1)
    for _ in range(100):
        table = {(a, b): source.choice(SIZES) for a in "xy" for b in "pq"}
        assert all(c.residual is None or isfinite(c.residual) for c in cells(table, ["x", "y"], ["p", "q"]))
        one, other, prior = ({w: source.choice(SIZES) for w in "abc"} for _ in range(3))
        assert all(isfinite(word.z) and 0 <= word.p <= 1 for word in distinctive_words(one, other, prior))
        ranking = np.array([source.randrange(3) for _ in range(source.randint(0, 5))], dtype=np.int64)
        found = ndkl(ranking, ["a", "b", "c"], {"a": 0.5, "b": source.choice((0.0, 0.5))})
        assert isinstance(found, Unmeasurable) or isfinite(found.value)
        rows = np.array([[source.choice(SIZES), source.choice(SIZES)] for _ in range(source.randint(0, 30))])
        drawn = by_cluster(rows.reshape(-1, 2), lambda c: float(c[0] / c[1]) if c[1] else None, resamples=50)
        assert isinstance(drawn, Unmeasurable) or isfinite(drawn.value)
