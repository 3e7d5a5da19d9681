"""Every objective leads back to the clean sample, and its weights are what their papers' closed forms say."""

import math

import pytest
import torch

from training.config_objective import Objective
from training.noise import Draws
from training.objectives import (
    error_scale,
    flow_bound,
    min_snr_weight,
    noised,
    squared_error,
    step_bound,
    target,
    to_x0,
)
from training.schedules import alpha_bars
from training.stages import bars_of, levels_of

DIFFUSION = ["epsilon", "v", "x0"]
ALL = [*DIFFUSION, "flow"]


def levels(prediction, count=64):
    """Levels (alpha, sigma) as the prediction has them."""
    t = torch.linspace(0.02, 0.98, count, dtype=torch.float64)
    return (1 - t, t) if prediction == "flow" else ((1 - t).sqrt(), t.sqrt())


@pytest.mark.parametrize("prediction", ALL)
def test_a_perfect_output_gives_back_the_clean_sample(prediction):
    x0, noise = torch.randn(2, 64, 3, 4, dtype=torch.float64)
    alpha, sigma = levels(prediction)
    xt = noised(x0, noise, alpha, sigma)
    output = target(prediction, x0, noise, alpha, sigma)
    torch.testing.assert_close(to_x0(prediction, xt, output, alpha, sigma), x0)


@pytest.mark.parametrize("prediction", ALL)
def test_regression_of_gaussian_data_finds_the_closed_form_optimum(prediction):
    # data N(0, s^2): E[x0 | xt] = alpha s^2 / (alpha^2 s^2 + sigma^2) xt, so the best linear output is known
    generator = torch.Generator().manual_seed(3)
    s, count = 0.7, 400_000
    x0 = s * torch.randn(count, 1, generator=generator, dtype=torch.float64)
    noise = torch.randn(count, 1, generator=generator, dtype=torch.float64)
    alpha, sigma = (0.4, 0.6) if prediction == "flow" else (0.6, 0.8)
    a, b = torch.full((count,), alpha, dtype=torch.float64), torch.full((count,), sigma, dtype=torch.float64)
    xt, wanted = noised(x0, noise, a, b), target(prediction, x0, noise, a, b)
    slope = float((xt * wanted).sum() / (xt * xt).sum())
    variance = alpha**2 * s**2 + sigma**2
    clean, dirty = alpha * s**2 / variance, sigma / variance  # of x0 and of the noise
    best = {"epsilon": dirty, "x0": clean, "v": alpha * dirty - sigma * clean, "flow": dirty - clean}[prediction]
    assert slope == pytest.approx(best, abs=0.005)


@pytest.mark.parametrize("prediction", ALL)
def test_an_outputs_error_scales_to_the_clean_samples_error(prediction):
    x0, noise, wrong = torch.randn(3, 64, 5, dtype=torch.float64)
    alpha, sigma = levels(prediction)
    xt = noised(x0, noise, alpha, sigma)
    output = target(prediction, x0, noise, alpha, sigma)
    errors = wrong.square().mean(dim=1)
    found = (to_x0(prediction, xt, output + wrong, alpha, sigma) - x0).square().mean(dim=1)
    torch.testing.assert_close(found, errors * error_scale(prediction, alpha, sigma))


@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr_weights_have_their_closed_forms(gamma):
    alpha, sigma = levels("v")
    snr = alpha**2 / sigma**2
    capped = snr.clamp(max=gamma)
    torch.testing.assert_close(min_snr_weight("epsilon", alpha, sigma, gamma), capped / snr)
    torch.testing.assert_close(min_snr_weight("v", alpha, sigma, gamma), capped / (snr + 1))
    torch.testing.assert_close(min_snr_weight("x0", alpha, sigma, gamma), capped)
    alpha, sigma = levels("flow")
    capped = (alpha**2 / sigma**2).clamp(max=gamma)
    torch.testing.assert_close(min_snr_weight("flow", alpha, sigma, gamma), capped * sigma**2)


@pytest.mark.parametrize("prediction", DIFFUSION)
def test_min_snr_weighs_the_same_clean_error_whatever_is_predicted(prediction):
    alpha, sigma = levels(prediction)
    weight = min_snr_weight(prediction, alpha, sigma, 5.0) / error_scale(prediction, alpha, sigma)
    torch.testing.assert_close(weight, min_snr_weight("x0", alpha, sigma, 5.0))


@pytest.mark.parametrize("prediction", ["v", "x0"])
def test_weights_are_finite_without_any_signal(prediction):
    weight = min_snr_weight(prediction, torch.zeros(1), torch.ones(1), 5.0)
    assert weight.tolist() == [0.0]


@pytest.mark.parametrize("prediction", DIFFUSION)
def test_the_bound_of_gaussian_data_is_its_closed_form(prediction):
    # for N(0, s^2) the best denoiser's squared error is s^2 sigma^2 / (alpha^2 s^2 + sigma^2), so the sum is known
    s, bars = 0.7, alpha_bars("cosine", 50, 0, 1, False)
    snr = bars / (1 - bars)
    clean = s**2 * (1 - bars) / (bars * s**2 + 1 - bars)
    exact = float((0.5 * (snr[:-1] - snr[1:]) * clean[1:]).sum())
    steps = torch.arange(50)
    errors = clean / error_scale(prediction, bars.sqrt(), (1 - bars).sqrt())
    found = float(step_bound(prediction, errors.float(), steps, bars).mean())
    assert found == pytest.approx(exact, rel=1e-4)


def test_the_bound_of_rectified_flow_is_that_of_the_clean_samples_error():
    # -SNR'(t) / 2 times t^2 times the velocity's error, with SNR = (1 - t)^2 / t^2
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(((1 - t) ** 2 / t**2).sum(), t)
    errors = torch.tensor([2.0, 3.0, 4.0], dtype=torch.float64)
    torch.testing.assert_close(flow_bound(errors, t.detach()), -slope / 2 * t.detach() ** 2 * errors)


def test_the_squared_error_is_a_mean_over_a_samples_values():
    output = torch.tensor([[[1.0, 3.0]], [[0.0, 0.0]]])
    assert squared_error(output, torch.zeros(2, 1, 2)).tolist() == [5.0, 0.0]


def drawn(objective, count=2000):
    draws = Draws(0, 1, [f"{number:032x}" for number in range(count)], torch.device("cpu"))
    return levels_of(objective, draws, bars_of(objective))


def test_levels_are_drawn_uniformly_over_all_steps():
    alpha, sigma, steps, given = drawn(Objective(prediction="v", steps=10))
    assert torch.equal(steps, given)
    assert torch.bincount(steps, minlength=10).min() > 140
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(2000))


def test_rectified_flow_reads_a_thousand_times_its_time():
    alpha, sigma, _, given = drawn(Objective(prediction="flow"))
    torch.testing.assert_close(alpha + sigma, torch.ones(2000))
    torch.testing.assert_close(given, sigma * 1000)
    assert 0 < float(sigma.min()) < 0.01


def test_logit_normal_times_are_logistic_of_normal_ones():
    _, sigma, _, _ = drawn(Objective(prediction="flow", times="logit-normal"))
    normal = torch.logit((sigma - 1e-3) / (1 - 1e-3))
    assert abs(float(normal.mean())) < 0.08
    assert float(normal.std()) == pytest.approx(1, abs=0.05)


def test_draws_depend_on_seed_step_and_sample_alone():
    device = torch.device("cpu")
    both = Draws(7, 3, ["a", "b"], device).normal("noise", (4,))
    alone = Draws(7, 3, ["b"], device).normal("noise", (4,))
    assert torch.equal(both[1], alone[0])
    for other in (Draws(8, 3, ["b"], device), Draws(7, 4, ["b"], device)):
        assert not torch.equal(other.normal("noise", (4,)), alone)
    assert not torch.equal(Draws(7, 3, ["b"], device).normal("posterior", (4,)), alone)
    assert Draws(7, 3, [], device).normal("noise", (4,)).shape == (0, 4)


def test_normal_draws_are_normal():
    values = Draws(0, 0, [str(number) for number in range(200)], torch.device("cpu")).normal("noise", (100,))
    assert abs(float(values.mean())) < 4 / math.sqrt(20_000)
    assert float(values.std()) == pytest.approx(1, abs=0.02)
