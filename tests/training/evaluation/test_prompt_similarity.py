"""Fit to prompts, beside shuffled prompts."""

import numpy as np
import pytest

from audit.metrics.estimate import Estimate, Unmeasurable
from training.evaluation.likeness import prompt_similarity


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def planted(strength, count=60, seed=0):
    """Pictures that share `strength` of their direction with their prompts."""
    random = np.random.default_rng(seed)
    texts = unit(random.normal(size=(count, 32)))
    return unit(strength * texts + unit(random.normal(size=(count, 32)))), [f"p{at}" for at in range(count)], texts


def test_finds_the_fit_that_is_there():
    found = prompt_similarity(*planted(1.0))
    assert isinstance(found.difference, Estimate)
    assert found.difference.low > 0.5
    assert found.auc > 0.95
    assert abs(found.shuffled.value) < 0.1


def test_finds_none_where_there_is_none():
    misses = 0
    for seed in range(40):
        found = prompt_similarity(*planted(0.0, seed=seed))
        misses += not found.difference.low <= 0 <= found.difference.high
    assert misses <= 6  # 5 % of 40 are 2


def test_one_prompt_many_times_is_one_prompt():
    pictures, prompts, texts = planted(1.0, 4)
    again = prompt_similarity(
        np.repeat(pictures, 50, axis=0), np.repeat(prompts, 50).tolist(), np.repeat(texts, 50, 0)
    )
    once = prompt_similarity(pictures, prompts, texts)
    assert again.difference.value == pytest.approx(once.difference.value)
    assert again.difference.low == pytest.approx(once.difference.low)


def test_says_that_a_single_prompt_cannot_be_shuffled():
    pictures, _, texts = planted(1.0, 3)
    found = prompt_similarity(pictures, ["same"] * 3, texts)
    assert isinstance(found.difference, Unmeasurable)
    assert found.auc is None
