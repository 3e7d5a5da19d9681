"""Gates: pass, fail, not measurable, on made counts; what cannot be measured never passes."""

import math
from collections import Counter

import numpy as np
import pytest

from audit import planted
from audit.gate_judging import judge
from audit.gates import (
    FAIL,
    NOT_MEASURABLE,
    PASS,
    ConceptGap,
    Coverage,
    DisparateImpact,
    Disparity,
    EffectiveSample,
    Gate,
    Rate,
    Share,
)
from audit.groups import Assigner, Group, reference, un_population
from audit.metrics.shares import wilson
from audit.tally import UNIT, Key, Tally, tally

REGION = Group("region", "place")
GENDER = Group("gender", "terms", lexicon="gender_terms")
TONE = Group("tone", "labels", column="tone")
JOBS = Group("jobs", "terms", lexicon="occupations", overlap="each")


def counted(**groups):
    """A tally of values with (seen, kept) each, of one group a keyword."""
    counts = Counter()
    for group, values in groups.items():
        for value, (seen, kept) in values.items():
            cells = {"all": seen, "kept": kept, "weight": kept * UNIT, "weight2": kept * UNIT}
            for outcome, count in cells.items():
                counts[Key(group, value, "", "", outcome)] += count
                counts[Key("", "", "", "", outcome)] += count
    return Tally(counts)


def judged(rule, total, surely=False, **references):
    found = judge(Gate("g", rule, surely), total, references, [REGION, GENDER, JOBS, TONE])
    for number in (found.value, found.low, found.high):
        assert number is None or math.isfinite(number)
    assert "nan" not in found.words
    assert found.passed is (found.state == PASS)
    return found


def test_a_share_is_compared_with_its_bound_by_hand():
    total = counted(gender={"feminine": (50, 33), "masculine": (80, 67)})
    found = judged(Share("gender", "feminine", min=0.35), total)
    assert (found.state, found.value, found.n) == (FAIL, 0.33, 100)
    assert (found.low, found.high) == pytest.approx(wilson(33, 100), abs=1e-12)
    assert "feminine is 33.0 %" in found.words
    assert "at least 35.0 %" in found.words
    assert judged(Share("gender", "feminine", min=0.33), total).state == PASS
    assert judged(Share("gender", "feminine", max=0.3), total).state == FAIL
    # the interval from 24.6 % must be inside, where it is asked to
    assert judged(Share("gender", "feminine", min=0.30), total, surely=True).state == FAIL
    assert judged(Share("gender", "feminine", min=0.24), total, surely=True).state == PASS


def test_a_value_that_nobody_has_is_a_share_of_nothing_and_fails():
    total = counted(gender={"masculine": (80, 67)})
    assert judged(Share("gender", "feminine", min=0.1), total).state == FAIL


def test_weights_count_where_asked():
    total = counted(gender={"feminine": (50, 50), "masculine": (50, 50)})
    counts = Counter(total.counts)
    counts[Key("gender", "feminine", "", "", "weight")] = 50 * 3 * UNIT
    counts[Key("gender", "feminine", "", "", "weight2")] = 50 * 9 * UNIT
    weighed = Tally(counts)
    found = judged(Share("gender", "feminine", max=0.6, weighted=True), weighed)
    assert (found.state, found.value) == (FAIL, 0.75)
    # Kish: 200^2 / (50 * 9 + 50) = 80 samples' worth
    assert found.low == pytest.approx(wilson(60, 80)[0], abs=1e-9)
    assert judged(Share("gender", "feminine", max=0.6), weighed).state == PASS


def test_disparate_impact_is_decided_by_the_worst_value_with_enough_samples():
    total = counted(region={"A": (100, 80), "B": (100, 60), "C": (29, 0)})
    found = judged(DisparateImpact("region", None, 0.8), total)
    assert (found.state, found.who) == (FAIL, "B")
    assert found.value == pytest.approx(0.75, abs=1e-12)
    assert "1 without enough samples" in found.words
    assert judged(DisparateImpact("region", None, 0.7), total).state == PASS
    assert judged(DisparateImpact("region", None, 0.7, against="B"), total).value == pytest.approx(80 / 60)


def test_a_planted_filter_fails_its_gate_and_not_that_of_another_rule():
    table = planted.disfavoured(20_000, 11)
    total = Tally(tally(table, Assigner([REGION]).assign(table)))
    found = judged(DisparateImpact("region", "LOW_AESTHETIC", 0.8), total)
    assert (found.state, found.who) == (FAIL, "Africa")
    truth = planted.normal_pass(-0.35) / planted.normal_pass(0)
    assert found.low <= truth * 1.02
    assert found.value == pytest.approx(truth, rel=0.08)
    assert judged(DisparateImpact("region", "NSFW", 0.8), total).state == PASS


def test_planted_occupations_fail_the_gap_gate():
    table = planted.occupations(20_000, 12)
    total = Tally(tally(table, Assigner([JOBS, GENDER]).assign(table), [("jobs", "gender")]))
    found = judged(ConceptGap("jobs", "gender", ("feminine", "masculine"), 0.1), total)
    assert found.state == FAIL
    assert found.who in ("nurse", "ceo", "engineer")
    table = planted.null(20_000, 13)
    total = Tally(tally(table, Assigner([JOBS, GENDER]).assign(table), [("jobs", "gender")]))
    assert judged(ConceptGap("jobs", "gender", ("feminine", "masculine"), 0.1), total).state == PASS


def test_disparity_coverage_rate_and_effective_sample():
    total = counted(region={"Africa": (100, 20), "Asia": (100, 180)}, toxicity={"insult": (9, 9)})
    mine = reference("mine", {"Africa": 0.5, "Asia": 0.5}, "s", "d")
    found = judged(Disparity("region", min=0.5), total, region=mine)
    assert (found.state, found.who, found.value) == (FAIL, "Africa", 0.2)
    assert judged(Disparity("region", min=0.1, max=2), total, region=mine).state == PASS
    assert judged(Disparity("region", max=1.5, weighted=True), total, region=mine).who == "Asia"
    kept = 209
    assert judged(Coverage("region", 0.5), total).value == pytest.approx(200 / kept)
    assert judged(Rate("toxicity", None, 0.05), total).state == PASS
    assert judged(Rate("toxicity", "insult", 0.04), total).state == FAIL
    assert judged(Rate("toxicity", "slur", 0.0), total).state == PASS
    found = judged(EffectiveSample(0.9), total)
    assert (found.state, found.value) == (PASS, 1.0)


def test_a_gate_that_must_surely_hold_does_not_pass_by_an_interval_without_width():
    everybody = counted(region={"A": (30, 30), "B": (970, 970)})
    assert judged(DisparateImpact("region", None, 0.99), everybody).state == PASS
    assert judged(DisparateImpact("region", None, 0.99), everybody, surely=True).state == FAIL
    assert judged(DisparateImpact("region", None, 0.88), everybody, surely=True).state == PASS


def test_a_named_value_of_too_few_samples_is_nothing_to_compare_with():
    rule = DisparateImpact("region", None, 0.8, against="A")
    found = judged(rule, counted(region={"A": (29, 29), "B": (999, 499)}))
    assert found.state == NOT_MEASURABLE
    assert "only 29 samples of A, which all are compared with, 30 are needed" in found.words
    assert judged(rule, counted(region={"A": (30, 30), "B": (999, 499)})).state == FAIL


def test_a_label_that_is_called_mixed_is_judged_and_samples_of_several_values_are_not():
    values = {"white": (400, 400), "mixed": (300, 20)}
    assert judged(DisparateImpact("tone", None, 0.8), counted(tone=values)).who == "mixed"
    words = counted(gender={"feminine": (400, 400), "masculine": (400, 400), "mixed": (300, 20)})
    assert judged(DisparateImpact("gender", None, 0.8), words).state == PASS


def test_a_name_stands_in_the_sentence_of_a_gate_as_it_is():
    hostile = "{value} {who} {x}"
    total = counted(tone={hostile: (100, 80), "b": (100, 60)})
    words = judged(DisparateImpact("tone", None, 0.8), total).words
    assert words.startswith(f"b passes all rules 0.75 times as often as {hostile} (95 %")
    words = judged(DisparateImpact("tone", None, 0.8, against="b"), total).words
    assert words.startswith(f"{hostile} passes all rules 1.33 times as often as b (95 %")


RULES = [
    DisparateImpact("region", None, 0.0),
    DisparateImpact("region", "NSFW", 0.0),
    DisparateImpact("region", None, 0.0, against="Nowhere"),
    Share("region", "Africa", min=0.0),
    Share("region", "Africa", max=1.0, weighted=True),
    Disparity("region", min=0.0),
    Disparity("region", min=0.0, weighted=True),
    ConceptGap("jobs", "gender", ("feminine", "masculine"), 2.0),
    Coverage("region", 0.0),
    Rate("region", None, 1.0),
    EffectiveSample(0.0),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_on_no_samples_nothing_is_measurable_and_nothing_passes(rule):
    found = judged(rule, Tally({}), region=un_population())
    assert found.state == NOT_MEASURABLE
    assert found.value is None
    assert found.words.startswith("not measurable, so it does not pass: ")


def test_one_value_only_and_few_samples_are_not_measurable():
    assert judged(DisparateImpact("region", None, 0.0), counted(region={"A": (99, 9)})).state == NOT_MEASURABLE
    few = counted(region={"Africa": (29, 20), "Asia": (29, 9)})
    assert judged(DisparateImpact("region", None, 0.0), few).state == NOT_MEASURABLE
    assert judged(Share("region", "Africa", min=0.0), few).words.endswith("only 29 samples, 30 are needed")
    nothing = counted(region={"A": (99, 0), "B": (99, 0)})
    assert judged(DisparateImpact("region", None, 0.0), nothing).state == NOT_MEASURABLE


@pytest.mark.parametrize("seed", range(30))
def test_any_counts_give_a_finite_answer(seed):
    random = np.random.default_rng(seed)
    values = {}
    for value in random.permutation(list(un_population().shares))[: random.integers(1, 7)]:
        seen = int(random.choice([0, 1, 29, 30, 1000, 10**9]))
        values[str(value)] = (seen, int(random.integers(0, seen + 1)))
    total = counted(region=values)
    for rule in RULES:
        assert judged(rule, total, region=un_population()).state in (PASS, FAIL, NOT_MEASURABLE)


def test_a_share_raked_to_its_target_passes_in_float32_and_one_that_misses_it_does_not():
    def weighed(feminine):
        cells = {("feminine", "kept"): 50, ("masculine", "kept"): 50}
        cells |= {("feminine", "weight"): feminine, ("masculine", "weight"): 100 * UNIT - feminine}
        cells |= {("feminine", "weight2"): 50 * UNIT, ("masculine", "weight2"): 50 * UNIT}
        return Tally(Counter({Key("gender", value, "", "", outcome): n for (value, outcome), n in cells.items()}))

    rule = Share("gender", "feminine", min=0.5, weighted=True)
    assert judged(rule, weighed(round(49.999992 * UNIT))).state == PASS
    assert judged(rule, weighed(round(49.99 * UNIT))).state == FAIL
