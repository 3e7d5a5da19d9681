"""Waivers belong to one result of a gate, and lapse when the gate or the result is another one."""

import pytest

from filters.errors import BadInput
from pipelines.run.gates import gate_entries, standing, waived

WAIVER = {"by": "Ada", "why": "small corpus", "at": "2026-01-01T00:00:00+00:00"}


def fact(value=0.712345678, state="fail", minimum=0.8, maximum=None, who="Africa", name="g", **asked):
    judged = {"name": name, "kind": "disparate_impact", "state": state, "words": "w", "who": who, "value": value}
    bounds = {"low": None, "high": None, "n": 90, "minimum": minimum, "maximum": maximum}
    return {"judged": {**judged, **bounds}, "asked": {"min": minimum, **asked}}


def after(new, old=None):
    before = waived(gate_entries([old or fact()]), "g", WAIVER)
    return gate_entries([new], before)[0]


def test_figures_have_six_digits_so_that_hashes_agree():
    assert gate_entries([fact()])[0]["value"] == 0.712346


@pytest.mark.parametrize("value", [0.712345678, 0.7124, 0.75, 0.7118])
def test_a_waiver_stays_where_the_figure_shown_is_no_worse(value):
    assert after(fact(value))["waiver"] == WAIVER


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (fact(0.69), "the figure was 0.712 and is 0.69"),
        (fact(minimum=0.9), "asks something else"),
        (fact(against="Asia"), "asks something else"),
        (fact(who="Asia"), "is of Asia, and was of Africa"),
        (fact(None, "not measurable"), "the gate was: fail, and is: not measurable"),
    ],
)
def test_a_waiver_lapses_where_the_gate_or_its_result_is_another_one(new, why):
    entry = after(new)
    assert entry["waiver"] is None
    assert why in entry["lapsed"]["lapsed"]
    assert entry["lapsed"]["by"] == "Ada"


def test_an_upper_bound_is_worse_upwards():
    old = fact(0.3, minimum=None, maximum=0.2)
    assert after(fact(0.29, minimum=None, maximum=0.2), old)["waiver"] == WAIVER
    assert after(fact(0.31, minimum=None, maximum=0.2), old)["waiver"] is None


def test_a_gate_that_passes_by_now_needs_no_waiver():
    entry = after(fact(0.9, "pass"))
    assert (entry["passed"], entry["waiver"], entry["lapsed"]) == (True, None, None)


def test_what_cannot_be_measured_can_be_waived_and_stays_so():
    old = fact(None, "not measurable")
    assert after(fact(None, "not measurable"), old)["waiver"] == WAIVER


def test_nothing_to_waive_is_refused():
    entries = gate_entries([fact(), fact(0.9, "pass", name="fine")])
    with pytest.raises(BadInput, match="no gate 'other': there is g, fine"):
        waived(entries, "other", WAIVER)
    with pytest.raises(BadInput, match="'fine' passes"):
        waived(entries, "fine", WAIVER)
    with pytest.raises(BadInput, match="waived already, by Ada: small corpus"):
        waived(waived(entries, "g", WAIVER), "g", WAIVER)
    with pytest.raises(BadInput, match="the recipe has no gates"):
        waived([], "g", WAIVER)


def test_a_gate_blocks_until_it_passes_or_is_waived_and_one_that_was_never_measured_blocks():
    entries = gate_entries([fact(), fact(0.9, "pass", name="fine")])
    recipe = {"gates": {"g": {}, "fine": {}}}
    assert [gate["name"] for gate in standing({"gates": entries, "recipe": recipe})] == ["g"]
    assert standing({"gates": waived(entries, "g", WAIVER), "recipe": recipe}) == []
    assert [gate["name"] for gate in standing({"recipe": recipe})] == ["g", "fine"]
    assert standing({"recipe": {}}) == []
