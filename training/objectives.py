"""What the denoiser learns: pure functions of clean samples, noise and levels.

A noised sample is x_t = alpha * x0 + sigma * noise. Diffusion has alpha^2 + sigma^2 = 1 at discrete steps
(arXiv:2006.11239); rectified flow has alpha = 1 - t, sigma = t for t in [0, 1] (arXiv:2209.03003). Signal-to-noise
ratio: alpha^2 / sigma^2. Levels are (n,) float32, samples (n, ...) of any shape behind.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Prediction = Literal["epsilon", "v", "x0", "flow"]

#: Times of rectified flow stay this far from 0, where the variational bound's weight has its pole.
EARLIEST = 1e-3

_TINY = 1e-20


def like(values: Tensor, samples: Tensor) -> Tensor:
    """Return values (n,) shaped to multiply samples (n, ...)."""
    return values.reshape(-1, *(1,) * (samples.ndim - 1))


def noised(x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Return alpha * x0 + sigma * noise."""
    return like(alpha, x0) * x0 + like(sigma, x0) * noise


def target(prediction: Prediction, x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Return what the denoiser should give.

    epsilon: the noise (arXiv:2006.11239); v: alpha * noise - sigma * x0 (arXiv:2202.00512, appendix D); x0: the
    sample; flow: noise - x0, the velocity of the straight path (arXiv:2209.03003).
    """
    if prediction == "epsilon":
        return noise
    if prediction == "v":
        return like(alpha, x0) * noise - like(sigma, x0) * x0
    return x0 if prediction == "x0" else noise - x0


def to_x0(prediction: Prediction, xt: Tensor, output: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Return the clean sample that an output stands for; for epsilon alpha must not be 0."""
    a, s = like(alpha, xt), like(sigma, xt)
    if prediction == "epsilon":
        return (xt - s * output) / a
    if prediction == "v":
        return a * xt - s * output
    return output if prediction == "x0" else xt - s * output


def error_scale(prediction: Prediction, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Return the factor (n,) from the squared error of an output to the squared error of its clean sample.

    It follows from `to_x0`: sigma^2 / alpha^2 for epsilon, sigma^2 for v and for flow, 1 for x0. In v's case it
    takes alpha^2 + sigma^2 = 1.
    """
    if prediction == "epsilon":
        return (sigma / alpha.clamp(min=_TINY)) ** 2
    return torch.ones_like(sigma) if prediction == "x0" else sigma**2


def min_snr_weight(prediction: Prediction, alpha: Tensor, sigma: Tensor, gamma: float) -> Tensor:
    """Return the loss weights (n,) of min-SNR-gamma (arXiv:2303.09556, section 3.4).

    The clean sample's error weighs min(SNR, gamma), brought to each output by `error_scale`: min(SNR, gamma) / SNR
    for epsilon, min(SNR, gamma) / (SNR + 1) for v, min(SNR, gamma) for x0, min(SNR, gamma) * t^2 for flow. With a
    zero terminal SNR the last step of v weighs nothing.
    """
    signal, noise = alpha**2, sigma**2
    if prediction == "epsilon":  # min(SNR, gamma) / SNR without a division by zero
        return torch.clamp(gamma * noise / signal.clamp(min=_TINY), max=1.0)
    snr = signal / noise.clamp(min=_TINY)
    return torch.clamp(snr, max=gamma) * error_scale(prediction, alpha, sigma)


def squared_error(output: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean squared error of each sample, float32 (n,)."""
    return (output.float() - wanted.float()).square().flatten(1).mean(dim=1)


def step_bound(prediction: Prediction, errors: Tensor, steps: Tensor, alpha_bar: Tensor) -> Tensor:
    """Return each sample's estimate (n,) of the diffusion part of the variational bound, in nats a dimension.

    `errors` (n,): `squared_error` of outputs at `steps` (n,), drawn uniformly. Step t contributes
    (SNR(t-1) - SNR(t)) / 2 times the squared error of the clean sample (arXiv:2107.00630, equation 13); T times its
    mean is the sum. Step 0, whose term needs a likelihood of the data, is left out; so is the prior's term.
    """
    bars = alpha_bar.to(device=errors.device, dtype=torch.float64)
    snr = bars / (1.0 - bars).clamp(min=_TINY)
    before = snr[(steps - 1).clamp(min=0)]
    here, bar = snr[steps], bars[steps]
    scale = error_scale(prediction, bar.sqrt(), (1.0 - bar).sqrt())
    # for epsilon SNR(t) * scale is 1
    weight = before * scale - 1.0 if prediction == "epsilon" else (before - here) * scale
    inside = (steps > 0).to(weight.dtype)
    return (0.5 * len(bars) * inside * weight * errors.double()).float()


def flow_bound(errors: Tensor, times: Tensor) -> Tensor:
    """Return each sample's estimate (n,) of the diffusion part of the bound for rectified flow, in nats a dimension.

    Continuous time: -SNR'(t) / 2 times the clean sample's squared error (arXiv:2107.00630, equation 17), which is
    (1 - t) / t times the velocity's. `times` (n,) must be drawn uniformly from [EARLIEST, 1].
    """
    return (1.0 - times) / times * errors
