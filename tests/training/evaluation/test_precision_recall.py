"""Improved precision and recall: against a plain loop, and on sets whose answer is known."""

import numpy as np

from training.evaluation import manifolds
from training.evaluation.manifolds import overlap


def rows(count, seed, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1.0, (count, 4))


def plain(points, centres, k):
    """How many points lie within the reach of a centre, one by one."""
    reach = [sorted(np.linalg.norm(centres - centre, axis=1))[k] for centre in centres]
    return sum(any(np.linalg.norm(point - c) <= r for c, r in zip(centres, reach, strict=True)) for point in points)


def test_equals_a_plain_loop(monkeypatch):
    monkeypatch.setattr(manifolds, "_BLOCK", 7)  # several blocks
    real, made = rows(40, 0), rows(30, 1, 0.8)
    found = overlap(real, made)
    assert (found.precise, found.recalled) == (plain(made, real, 3), plain(real, made, 3))
    assert (found.generated, found.real) == (30, 40)
    assert 0 < found.precise < 30


def test_sets_apart_have_neither():
    found = overlap(rows(50, 0), rows(50, 1, 100.0))
    assert (found.precise, found.recalled) == (0, 0)


def test_a_model_that_knows_half_of_the_data_is_precise_and_recalls_half():
    one, other = rows(100, 0), rows(100, 1, 50.0)
    found = overlap(np.concatenate([one, other]), rows(100, 2))
    assert found.precise > 90
    assert 80 < found.recalled <= 100  # of 200
