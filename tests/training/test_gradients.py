"""Learning rate, gradient noise and moving average are what their formulas say."""

import math

import pytest
import torch

from training.gradients import MovingAverage, add_noise, gradient_noise, learning_rate


def test_the_rate_rises_evenly_then_falls_as_half_a_cosine():
    rates = [learning_rate(step, 2.0, 10, 110, 0.0) for step in range(111)]
    assert rates[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    assert rates[10] == 2.0
    assert rates[60] == pytest.approx(1.0)
    assert rates[110] == pytest.approx(0.0)


def test_a_final_share_keeps_the_rate_up():
    assert learning_rate(1000, 2.0, 0, 1000, 0.25) == pytest.approx(0.5)
    assert learning_rate(700, 2.0, 0, 1000, 1.0) == 2.0


def test_gradient_noise_fades_by_its_formula():
    assert gradient_noise(0.3, 0.55, 0) == pytest.approx(math.sqrt(0.3))
    assert gradient_noise(0.3, 0.55, 99) == pytest.approx(math.sqrt(0.3 / 100**0.55))


def test_gradient_noise_has_its_deviation_and_repeats_for_a_seed():
    one, other = torch.zeros(2, 10_000)
    add_noise([one], 0.5, seed=3)
    add_noise([other], 0.5, seed=3)
    assert torch.equal(one, other)
    assert float(one.std()) == pytest.approx(0.5, rel=0.05)


def test_the_moving_average_follows_its_formula():
    value = torch.tensor([0.0])
    average = MovingAverage([value], 0.5)
    value.fill_(1.0)
    average.update([value])  # decay min(0.5, 1 / 10)
    assert average.shadows[0].item() == pytest.approx(0.9)
    average.update([value])  # decay min(0.5, 2 / 11)
    assert average.shadows[0].item() == pytest.approx(0.9 * 2 / 11 + 9 / 11)
    average.updates = 100
    value.fill_(0.0)
    before = average.shadows[0].item()
    average.update([value])
    assert average.shadows[0].item() == pytest.approx(before * 0.5)
