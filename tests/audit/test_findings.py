"""A finding is a finite figure that matters, or says why there is none."""

import json

import pytest

from audit.findings import NEGLIGIBLE, Finding, State, adjust, finding, not_measured, number, percent, verbatim
from audit.metrics.estimate import Estimate, Unmeasurable

SUBJECT = {"group": "region", "value": "Africa"}


def ratio(value, p, n=500):
    return finding(
        "disparate_impact", SUBJECT, Estimate(value, value - 0.05, value + 0.05, p, n), "{value} ({interval})"
    )


def test_states_follow_from_q_and_the_minimum():
    sure, small, unclear = adjust([ratio(0.5, 1e-6), ratio(0.95, 1e-6), ratio(0.5, 0.6)])
    assert [item.state for item in (sure, small, unclear)] == [State.FOUND, State.SMALL, State.UNCLEAR]
    assert sure.q == pytest.approx(1.5e-6)
    assert sure.words == "0.5 (95 % interval 0.45 to 0.55)"
    assert sure.minimum == NEGLIGIBLE["disparate_impact"]


def test_only_findings_with_a_test_are_in_the_family():
    plain = finding("share", SUBJECT, Estimate(0.1, 0.0, 0.2, None, 100), "{share} of {n} ({shares})")
    found = adjust([plain, ratio(0.5, 0.04), not_measured("share", SUBJECT, "no labels")])
    assert [item.state for item in found] == [State.DESCRIBED, State.FOUND, State.NOT_MEASURED]
    assert found[1].q == 0.04
    assert found[0].words == "10.0 % of 100 (95 % interval 0 % to 20.0 %)"
    assert adjust([]) == []


def test_dependent_families_need_more():
    p = [0.02, 0.03]
    assert all(item.state is State.FOUND for item in adjust([ratio(0.5, x) for x in p]))
    assert all(item.state is State.FOUND for item in adjust([ratio(0.5, x) for x in p], dependent=True))
    assert adjust([ratio(0.5, 0.04)] * 2, dependent=True)[0].state is State.UNCLEAR


def test_too_few_samples_and_no_figure_are_not_measured():
    few = ratio(0.5, 1e-9, n=12)
    assert few.state is State.NOT_MEASURED
    assert few.why == "only 12 samples, 30 are needed"
    none = finding("share", SUBJECT, Unmeasurable("nobody is there"), "{value}")
    assert none.value is None
    assert none.words == "Africa: share not measured: nobody is there"


def test_records_are_plain_json_without_nan():
    for item in (ratio(0.5, 0.01), not_measured("share", SUBJECT, "no labels"), _kl()):
        assert json.loads(json.dumps(item.record(), allow_nan=False))["subject"] == SUBJECT


def _kl():
    return finding("trend", SUBJECT, Estimate(0.5, n=100), "x", minimum=(float("-inf"), 0.2))


def test_an_open_bound_is_none_and_still_judges():
    assert _kl().minimum == (None, 0.2)
    item = finding("m", SUBJECT, Estimate(0.1, None, None, 0.001, 100), "x", minimum=(float("-inf"), 0.2))
    assert adjust([item])[0].state is State.SMALL


def test_numbers_that_are_none_are_refused():
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite"):
            Finding("m", SUBJECT, State.DESCRIBED, "x", value=value)
    with pytest.raises(ValueError, match="not measured"):
        Finding("m", SUBJECT, State.DESCRIBED, "x")


def test_names_from_the_data_do_not_fill_sentences_twice():
    item = finding("m", {"v": "{n}"}, Estimate(1.0, n=40), "{value} of {0} {x!r} %s")
    assert item.words == "1 of {0} {x!r} %s"


def test_a_name_of_the_data_fills_no_mark_of_the_sentence():
    name = "artist {n} {share} {{value}"
    item = finding("m", {"v": name}, Estimate(0.5, n=40), f"{verbatim(name)}: {{share}} of {{n}}")
    assert item.words == f"{name}: 50.0 % of 40"


def test_numbers_for_people():
    assert [number(x) for x in (0, 0.12345, 12345.6, 1e-7, 1234567.0)] == [
        "0",
        "0.123",
        "1.23e+04",
        "1.00e-07",
        "1.23e+06",
    ]
    assert [percent(x) for x in (0.4567, 0.00234, 0.0001)] == ["45.7 %", "0.23 %", "0.010 %"]
