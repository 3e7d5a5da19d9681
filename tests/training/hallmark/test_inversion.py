"""DDIM inversion against a denoiser that is known in closed form, and with a mark through it."""

import numpy as np
import pytest

from training.hallmark.gaussian_shading import Geometry, new_nonce, payload, scan, shade
from training.hallmark.inversion import invert
from training.hallmark.watermark import WatermarkKey

LEVELS = 20
ANGLES = np.linspace(0.05, 1.5, LEVELS + 1)
SIGNAL, NOISE = np.cos(ANGLES).tolist(), np.sin(ANGLES).tolist()


def denoise(latent, level):
    """The best guess of the noise where data are normal around 0.5 with a spread of 0.3 and a wave."""
    a, s = SIGNAL[level], NOISE[level]
    score = s * (latent - 0.5 * a) / (a * a * 0.09 + s * s)
    return score + 0.05 * np.sin(3 * latent)


def parts(latent, level):
    """Clean data and noise as the model sees them."""
    estimate = denoise(latent, level)
    return (latent - NOISE[level] * estimate) / SIGNAL[level], estimate


def sample(noise):
    """A deterministic DDIM sampler."""
    current = noise
    for i in range(LEVELS, 0, -1):
        estimate = denoise(current, i)
        clean = (current - NOISE[i] * estimate) / SIGNAL[i]
        current = SIGNAL[i - 1] * clean + NOISE[i - 1] * estimate
    return current


def error(start, refinements):
    back = invert(sample(start), parts, SIGNAL, NOISE, refinements)
    return float(np.sqrt(np.mean((back - start) ** 2)))


def test_the_noise_comes_back_and_refining_brings_it_nearer():
    start = np.random.default_rng(0).standard_normal((4, 16, 16))
    plain, once, often = (error(start, n) for n in (0, 1, 8))
    assert plain < 0.5
    assert once < plain
    assert often < plain / 5


def test_a_mark_survives_sampling_and_inversion():
    geometry, key, nonce = Geometry(4, 16, 16), WatermarkKey(b"k" * 32), new_nonce()
    noise = shade(key, nonce, payload("a", geometry), geometry, np.random.default_rng(0))
    found = scan([invert(sample(noise), parts, SIGNAL, NOISE)], [("a", nonce)], key, geometry)
    assert found.found
    assert found.matches > 0.95 * geometry.size


def test_tensors_are_inverted_too():
    torch = pytest.importorskip("torch", reason="the trainer's arrays")
    start = torch.zeros(1, 2, 2, dtype=torch.float64) + 0.3
    back = invert(start, lambda x, level: (x * 0.1, x * 0.1), SIGNAL, NOISE)
    assert isinstance(back, torch.Tensor)
    assert back.shape == start.shape


def test_a_last_level_without_signal_is_inverted_exactly():
    # One step from pure noise, as with a zero terminal SNR: clean data are 0.3, whatever the noise.
    start = np.random.default_rng(0).standard_normal((4, 8, 8))
    signal, noise = [0.8, 0.0], [0.6, 1.0]
    sampled = 0.8 * 0.3 + 0.6 * start

    def constant(latent, level):
        return np.full_like(latent, 0.3), (latent - signal[level] * 0.3) / noise[level]

    assert np.abs(invert(sampled, constant, signal, noise, refinements=40) - start).max() < 1e-6


def test_impossible_levels_are_refused():
    for signal, noise, refinements in (([1.0], [0.0], 1), ([1.0, 0.5], [0.0], 1), ([1.0, 0.5], [0.0, 0.5], -1)):
        with pytest.raises(ValueError, match=r"levels|refinements"):
            invert(np.zeros(3), parts, signal, noise, refinements)
