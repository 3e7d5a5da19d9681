"""Noise schedules are those of diffusers' samplers, and end where they should."""

import pytest
import torch

from filters.encoders.torchvision_fix import ensure_torchvision
from training.config_objective import Objective
from training.schedulers import scheduler_of
from training.schedules import alpha_bars, zero_terminal_snr

SCHEDULES = ["linear", "scaled-linear", "cosine", "sigmoid"]


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_stored_sampler_has_the_levels_that_were_trained(schedule, zero):
    ensure_torchvision()
    objective = Objective(schedule=schedule, zero_terminal_snr=zero)
    ours = alpha_bars(schedule, 1000, objective.beta_start, objective.beta_end, zero)
    theirs = scheduler_of(objective, pixels=False).alphas_cumprod.double()
    # diffusers multiplies a thousand float32 numbers, and keeps 2^-24 where the last one is 0
    torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_levels_fall_from_nearly_one_towards_zero(schedule):
    bars = alpha_bars(schedule, 1000, 0.00085, 0.012, False)
    assert bars.dtype == torch.float64
    assert bars[0] > 0.99
    assert (bars.diff() < 0).all()
    assert 0 < bars[-1] < 0.1


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_zero_terminal_snr_is_zero_and_leaves_the_first_level(schedule):
    bars = alpha_bars(schedule, 1000, 0.00085, 0.012, False)
    changed = zero_terminal_snr(bars)
    assert changed[-1] == 0
    assert changed[0] == pytest.approx(float(bars[0]), rel=1e-12)
    assert (changed.diff() < 0).all()


def test_the_linear_schedule_multiplies_up_as_the_paper_says():
    bars = alpha_bars("linear", 4, 0.1, 0.4, False)
    assert bars.tolist() == pytest.approx([0.9, 0.9 * 0.8, 0.9 * 0.8 * 0.7, 0.9 * 0.8 * 0.7 * 0.6])


def test_the_scaled_linear_schedule_is_linear_in_the_root():
    bars = alpha_bars("scaled-linear", 3, 0.01, 0.09, False)
    assert (1 - bars[0]).item() == pytest.approx(0.01)
    assert (1 - bars[1] / bars[0]).item() == pytest.approx(0.04)  # ((0.1 + 0.3) / 2) squared
    assert (1 - bars[2] / bars[1]).item() == pytest.approx(0.09)
