"""DDIM inversion: from a clean latent back to the noise that a deterministic sampler made it from.

Source: J. Song, C. Meng, S. Ermon: Denoising Diffusion Implicit Models (arXiv 2010.02502), equation 13, run upwards.
The arrays are whatever the denoiser takes, torch tensors or NumPy arrays; nothing here imports either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def invert(
    latent: Any,
    parts: Callable[[Any, int], tuple[Any, Any]],
    signal: Sequence[float],
    noise: Sequence[float],
    refinements: int = 1,
) -> Any:
    """Return the noise of the last level, in the shape of `latent`.

    The latent at level i is `signal[i] * x + noise[i] * e` with e ~ N(0, I); levels run from clean (`signal[0]` near
    1) to noisy, whose signal may be 0. `parts(latent, i)` returns (x, e) as the model sees them at level i, with an
    empty prompt and guidance 1. A sampler's step down from level i + 1 asks the model there; going up, that latent is
    what is looked for. Each refinement (one more call of the model a step) puts the last guess of it into the
    model: 0 is the plain inversion.
    """
    if len(signal) != len(noise) or len(signal) < 2:
        raise ValueError("signal and noise need the same number of levels, at least two")
    if refinements < 0:
        raise ValueError("refinements must not be negative")
    current = latent
    for i in range(len(signal) - 1):
        guess = current
        for _ in range(refinements + 1):
            clean, estimate = parts(guess, i + 1)
            # The step's difference, and no division: at a level without signal one would be by 0.
            guess = current + (signal[i + 1] - signal[i]) * clean + (noise[i + 1] - noise[i]) * estimate
        current = guess
    return current
