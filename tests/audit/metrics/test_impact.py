"""Disparate impact, amplification and the chain: by hand, by fairlearn, and by coverage of what was planted."""

from math import exp, log, sqrt

import numpy as np
import pytest

from audit.metrics.estimate import Unmeasurable, two_shares_p
from audit.metrics.impact import (
    Passed,
    Verdict,
    amplification,
    best,
    chain,
    disparate_impact,
    four_fifths,
    is_exclusion,
    pass_rates,
    ratio,
)

Z = 1.959963984540054
near = pytest.approx


def test_katz_by_hand():
    found = ratio(Passed(200, 70), Passed(400, 200))
    error = sqrt(1 / 70 - 1 / 200 + 1 / 200 - 1 / 400)
    assert found.value == near(0.7, abs=1e-12)
    assert (found.low, found.high) == near((0.7 * exp(-Z * error), 0.7 * exp(Z * error)), abs=1e-12)


def test_nothing_passing_is_the_strongest_finding_and_not_a_missing_one():
    found = ratio(Passed(500, 0), Passed(500, 250))
    assert (found.value, found.low) == (0.0, 0.0)
    assert 0 < found.high < 0.05
    assert found.p < 1e-9
    assert four_fifths(found) is Verdict.FAIL


def test_where_nothing_fails_the_interval_has_the_width_that_its_samples_allow():
    both = ratio(Passed(30, 30), Passed(970, 970))
    assert both.value == 1.0
    # as Wilson has it: 30 of 30 may be 88.6 %, 970 of 970 may be 99.6 %
    assert (both.low, both.high) == near((0.8865, 1.0040), abs=1e-4)
    swapped = ratio(Passed(970, 970), Passed(30, 30))
    assert (swapped.low, swapped.high) == near((1 / both.high, 1 / both.low), abs=1e-9)
    rare = ratio(Passed(30, 30), Passed(1000, 1))
    assert rare.low == near(1000 / rare.high * 1000, rel=0.1)
    assert 0 < rare.low < rare.value == 1000 < rare.high


def test_intervals_cover_rates_at_which_often_nothing_fails():
    random = np.random.default_rng(6)
    covered = 0
    for _ in range(2000):
        found = ratio(Passed(40, int(random.binomial(40, 0.97))), Passed(900, int(random.binomial(900, 0.99))))
        covered += found.low <= 0.97 / 0.99 <= found.high
    assert covered / 2000 >= 0.93


def test_the_test_of_a_value_never_points_the_other_way_than_its_ratio():
    # 53 % pass of a, which is above all others together and below the lucky best of 30 samples
    groups = {"a": Passed(10_000, 5300), "b": Passed(30, 20), "c": Passed(20_000, 2000)}
    found = disparate_impact(groups)
    assert found["a"].value == near(0.795)
    assert found["a"].p == ratio(groups["a"], groups["b"]).p > 0.05
    # c is below both, so that the comparison that choosing the best does not bias decides
    assert found["c"].p == two_shares_p(2000, 20_000, 5320, 10_030)
    named = disparate_impact(groups, "c")
    assert named["a"].value > 1
    assert named["a"].p == two_shares_p(5300, 10_000, 2020, 20_030)


def test_four_fifths_fails_only_where_the_whole_interval_is_below():
    assert four_fifths(ratio(Passed(2000, 700), Passed(2000, 1000))) is Verdict.FAIL
    assert four_fifths(ratio(Passed(40, 15), Passed(40, 20))) is Verdict.WARN
    assert four_fifths(ratio(Passed(40, 19), Passed(40, 20))) is Verdict.PASS
    assert four_fifths(ratio(Passed(0, 0), Passed(40, 20))) is Verdict.NOT_MEASURABLE


def test_impact_is_against_the_best_of_enough_samples_or_a_named_group():
    groups = {"a": Passed(100, 50), "b": Passed(100, 80), "tiny": Passed(2, 2), "none": Passed(0, 0)}
    assert best(groups, 30) == "b"
    assert best({"a": Passed(40, 20), "b": Passed(80, 40), "c": Passed(80, 40)}) == "b"
    found = disparate_impact(groups)
    assert (found["a"].value, found["b"].value) == near((0.625, 1.0))
    assert (found["b"].low, found["b"].high) == (1.0, 1.0)
    assert disparate_impact(groups, "a")["b"].value == near(1.6)
    assert isinstance(found["none"], Unmeasurable)
    assert all(isinstance(item, Unmeasurable) for item in disparate_impact(groups, "nobody").values())
    alone = disparate_impact({"a": Passed(100, 50)})["a"]
    assert alone.value == 1.0


def test_fairlearn_gives_the_same_rates_and_ratio():
    metrics = pytest.importorskip("fairlearn.metrics", reason="fairlearn is not installed: pip install fairlearn")
    random = np.random.default_rng(0)
    region = random.choice(["Africa", "Asia", "Europe"], 5000, p=[0.1, 0.5, 0.4])
    kept = (random.random(5000) < np.where(region == "Africa", 0.35, 0.55)).astype(int)
    frame = metrics.MetricFrame(metrics=metrics.selection_rate, y_true=kept, y_pred=kept, sensitive_features=region)
    groups = {str(r): Passed(int((region == r).sum()), int(kept[region == r].sum())) for r in np.unique(region)}
    rates = pass_rates(groups)
    for value, rate in frame.by_group.items():
        assert rates[value].value == near(float(rate), abs=1e-9)
    ratios = disparate_impact(groups)
    assert min(item.value for item in ratios.values()) == near(float(frame.ratio()), abs=1e-9)
    parity = metrics.demographic_parity_ratio(kept, kept, sensitive_features=region)
    assert min(item.value for item in ratios.values()) == near(float(parity), abs=1e-9)
    difference = max(item.value for item in rates.values()) - min(item.value for item in rates.values())
    assert difference == near(float(frame.difference()), abs=1e-9)


def test_amplification_is_share_after_over_share_before():
    groups = {"a": Passed(100, 20), "b": Passed(300, 180)}
    found = amplification(groups, "a")
    assert found.value == near((20 / 200) / (100 / 400), abs=1e-12)
    assert found.low < found.value < found.high < 1
    assert is_exclusion(found, 0.25, 0.5)
    assert not is_exclusion(found, 0.25, 0.2)
    assert isinstance(amplification({"a": Passed(5, 5)}, "a"), Unmeasurable)
    assert isinstance(amplification(groups, "nobody"), Unmeasurable)


def test_the_chain_attributes_the_whole_ratio_to_its_steps():
    seen = {"a": 1000, "b": 1000}
    first = {"R1": {"a": 100, "b": 100}, "R2": {"a": 450, "b": 90}}
    one, two = chain(first, seen, "a", ["R1", "R2"])
    assert one.ratio.value == near(1.0)
    assert two.ratio.value == near((450 / 900) / (810 / 900), abs=1e-12)
    assert one.contribution + two.contribution == near(log((450 / 1000) / (810 / 1000)), abs=1e-12)
    gone = chain({"R1": {"a": 1000}, "R2": {}}, seen, "a", ["R1", "R2"])
    assert gone[0].contribution is None
    assert isinstance(gone[1].ratio, Unmeasurable)


def test_intervals_cover_the_planted_impact():
    random = np.random.default_rng(4)
    mine, others = 0.353, 0.53
    share = 0.1
    truth = share * mine / (share * mine + (1 - share) * others) / share
    covered = {"ratio": 0, "amplification": 0}
    for _ in range(1000):
        seen = int(random.binomial(5000, share))
        a = Passed(seen, int(random.binomial(seen, mine)))
        b = Passed(5000 - seen, int(random.binomial(5000 - seen, others)))
        found = ratio(a, b)
        covered["ratio"] += found.low <= mine / others <= found.high
        amplified = amplification({"a": a, "b": b}, "a")
        covered["amplification"] += amplified.low <= truth <= amplified.high
    assert all(930 <= count <= 970 for count in covered.values()), covered


def test_counts_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="0 or more"):
        Passed(1, 2)
