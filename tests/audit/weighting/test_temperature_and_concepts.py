"""Temperature gives shares that go as n^tau; caps on concepts keep samples with the published probability."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.weighting.concepts import drawn, keep_probability, probabilities
from audit.weighting.temperature import temperature_weights, tempered
from filters.selection import redrawn, salt, tickets, unit


def test_square_roots_by_hand():
    # 100, 400 and 900 go as 10 : 20 : 30
    assert tempered({"a": 100, "b": 400, "c": 900}, 0.5, 300) == {"c": 150, "b": 100, "a": 50}
    assert tempered({"a": 100, "b": 400, "c": 900}, 0.0, 300) == {"c": 100, "b": 100, "a": 100}
    assert tempered({"a": 100, "b": 400, "c": 900}, 1.0, 140) == {"c": 90, "b": 40, "a": 10}


def test_a_value_gives_no_more_than_it_has():
    # 10 is all there is of a; the other 290 go as 20 : 30
    assert tempered({"a": 10, "b": 400, "c": 900}, 0.5, 300) == {"a": 10, "b": 116, "c": 174}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=8), st.floats(0, 1), st.floats(0, 1))
def test_tempering_adds_up_and_keeps_the_order(counts, tau, where):
    named = {f"v{i}": count for i, count in enumerate(counts)}
    total = round(where * sum(counts))
    keep = tempered(named, tau, total)
    assert sum(keep.values()) == total
    assert all(0 <= keep[name] <= named[name] for name in named)
    for one in named:
        for other in named:
            if named[one] > named[other]:
                assert keep[one] >= keep[other] - 1


def test_temperature_weights_are_exact_with_mean_one():
    counts = {"a": 100, "b": 400, "c": 900, "none": 0}
    weights = temperature_weights(counts, 0.5)
    mass = {value: counts[value] * weight for value, weight in weights.items()}
    assert mass["b"] / mass["a"] == pytest.approx(2, abs=1e-9)
    assert mass["c"] / mass["a"] == pytest.approx(3, abs=1e-9)
    assert sum(mass.values()) == pytest.approx(1400, abs=1e-9)
    assert temperature_weights({"a": 3, "b": 9}, 1.0) == {"a": 1.0, "b": 1.0}


def test_probabilities_and_pairs_by_hand():
    p = probabilities(np.array([10, 200, 0]), 50)
    assert p == pytest.approx([1, 0.25, 1], abs=1e-12)
    # sample 0 matches both, 1 only the frequent one, 2 none
    found = keep_probability(np.array([0, 0, 1]), np.array([0, 1, 1]), p, 3)
    assert found == pytest.approx([1.0, 0.25, 0.0], abs=1e-12)
    two = keep_probability(np.array([0, 0]), np.array([0, 1]), np.array([0.5, 0.25]), 1)
    assert two == pytest.approx([1 - 0.5 * 0.75], abs=1e-12)


def test_draws_by_uid_have_that_frequency_and_are_independent_of_each_other():
    n = 40_000
    lottery = tickets((f"{i:032x}" for i in range(n)), 7)
    rows, codes = np.repeat(np.arange(n), 2), np.tile([0, 1], n)
    p = np.array([0.3, 0.2])
    salts = np.array([salt("one"), salt("two")])[codes]
    uniform = unit(redrawn(lottery[rows], salts))
    kept = drawn(rows, codes, p, uniform, n)
    expected = keep_probability(rows, codes, p, n)[0]
    assert kept.mean() == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / n))
    both = (uniform.reshape(-1, 2) < p).all(axis=1).mean()
    assert both == pytest.approx(0.06, abs=4 * np.sqrt(0.06 * 0.94 / n))
    assert abs(np.corrcoef(unit(lottery), uniform.reshape(-1, 2).T)[0, 1:]).max() < 0.02


def test_tickets_depend_on_uid_and_seed_alone():
    one = tickets(["a" * 32, "b" * 32], 1)
    assert tickets(["b" * 32], 1)[0] == one[1]
    assert tickets(["a" * 32], 2)[0] != one[0]
    assert len(tickets([], 0)) == 0
    assert len(set(redrawn(tickets((f"{i}" for i in range(1000)), 0), salt("x")).tolist())) == 1000


def test_no_cap_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        probabilities(np.array([1]), 0)
    with pytest.raises(ValueError, match="out of range"):
        tempered({"a": 3}, 0.5, 4)
