"""Pairs are counted as a look at every pair counts them."""

from itertools import combinations

import numpy as np
from test_duplicates_likeness import ALL, features

from filters.duplicates_likeness import Bounds, Likeness
from filters.evaluation_dedup import evaluate_pairs

GROUPS = np.array(["a", "a", "a", "b", "a", "c", "a", "a"])


def test_figures_equal_a_count_over_all_pairs(monkeypatch):
    monkeypatch.setattr("filters.evaluation_dedup._BLOCK", 3)
    likeness = Likeness(features(), ALL)
    true = found = both = 0
    for a, b in combinations(range(8), 2):
        same, near = GROUPS[a] == GROUPS[b], bool(likeness.near(a, np.array([b]))[0])
        true, found, both = true + same, found + near, both + (same and near)
    result = evaluate_pairs(features(), ALL, GROUPS)
    assert (result["all"].true, result["all"].found, result["all"].both) == (true, found, both)
    assert result["all"].recall == both / true
    assert result["all"].precision == both / found
    assert result["sha256"].found == 1
    assert set(result) == {"sha256", "pixels", "phash", "pdq", "pdq_dihedral", "embedding", "all"}


def test_ratios_that_are_undefined_are_none():
    result = evaluate_pairs(features(), Bounds(exact=False, phash=0), np.arange(8))
    assert (result["all"].recall, result["all"].precision, result["all"].f1) == (None, None, None)
