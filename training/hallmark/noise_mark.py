"""Looking for the mark in the noise: a picture is brought back to it with the checkpoint that may have made it.

Needs the training extras (torch, diffusers), which nothing else of `assay verify` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from filters.errors import BadInput
from training.hallmark.gaussian_shading import GaussianShading, Geometry
from training.hallmark.inversion import invert
from training.hallmark.registry import HallmarkRegistry
from training.hallmark.watermark import WatermarkKey
from training.models.denoiser import denoise
from training.objectives import Prediction, to_x0
from training.sampling.model import Model
from training.sampling.noise import geometry_of
from training.sampling.schedulers import default_kind, make_scheduler

#: Steps of the inversion. Measured on eight pictures of the demo's checkpoint: 3 and 5 are best, 20 lose a quarter of
#: the score, for each step adds to what the autoencoder's way there and back has changed.
STEPS = 5

#: Pixels up to which a picture is looked at in its own size too, or four times the training's where that is more: a
#: huge upload must not keep the denoiser busy for minutes.
_MOST_PIXELS = 1024 * 1024

Inversion: TypeAlias = Callable[[], np.ndarray]

_PREDICTIONS: dict[str, Prediction] = {"epsilon": "epsilon", "v_prediction": "v", "sample": "x0"}


@dataclass(frozen=True)
class Ladder:
    """The levels of a deterministic sampler, clean first: signal, noise, and what the denoiser calls each."""

    signal: tuple[float, ...]
    noise: tuple[float, ...]
    names: tuple[float, ...]
    prediction: Prediction


def ladder(model: Model, steps: int) -> Ladder:
    """Return the checkpoint's levels. Raises `BadInput` for steps that it does not have."""
    flow = default_kind(model.scheduler) == "flow-euler"
    scheduler = make_scheduler("flow-euler" if flow else "ddim", model.scheduler, steps)
    levels = [float(one) for one in reversed(scheduler.timesteps)]
    if flow:
        times = [float(one) for one in reversed(scheduler.sigmas[: len(levels)])]
        return Ladder((1.0, *(1 - t for t in times)), (0.0, *times), (0.0, *levels), "flow")
    bars = [float(scheduler.alphas_cumprod[int(level)]) for level in levels]
    signal, noise = ((1.0, *(b**0.5 for b in bars)), (0.0, *((1 - b) ** 0.5 for b in bars)))
    return Ladder(signal, noise, (0.0, *levels), _PREDICTIONS[str(model.scheduler["prediction_type"])])


@torch.no_grad()
def recovered(model: Model, pixels: np.ndarray, steps: int = STEPS) -> np.ndarray:
    """Return the initial noise, float32 (c, h, w), that uint8 (h, w, 3) may have been sampled from.

    The sides must be multiples of `model.multiple`. The prompt is not known: the inversion takes the empty one.
    """
    levels = ladder(model, steps)
    picture = torch.from_numpy(pixels.copy()).to(model.device).permute(2, 0, 1)[None]
    latent = model.codec.encode(picture.float() * (2 / 255) - 1)
    words = model.text.encode([""])
    vectors, mask = words.vectors.to(model.dtype), words.mask

    def parts(noisy: Tensor, at: int) -> tuple[Tensor, Tensor]:
        name = torch.tensor([levels.names[at]], device=model.device)
        output = denoise(model.network, noisy.to(model.dtype), name, vectors, mask).float()
        signal, noise = (torch.tensor([one[at]], device=model.device) for one in (levels.signal, levels.noise))
        clean = to_x0(levels.prediction, noisy, output, signal, noise)
        return clean, (noisy - levels.signal[at] * clean) / levels.noise[at]

    back = invert(latent, parts, levels.signal, levels.noise, refinements=0)
    found: np.ndarray = back[0].float().cpu().numpy()
    return found


def sizes(model: Model, width: int, height: int) -> list[tuple[int, int]]:
    """Return the sizes (width, height) at which a picture may have been sampled: its own, and that of the training.

    Sides are rounded to what the checkpoint can do; one that holds no mark is left out.
    """
    share = (model.side**2 / (width * height)) ** 0.5
    most = max(_MOST_PIXELS, 4 * model.side**2)
    wanted = [(width * share, height * share)]
    if width * height <= most:
        wanted.insert(0, (float(width), float(height)))
    found: dict[tuple[int, int], None] = {}
    for size in wanted:
        w, h = (max(1, round(side / model.multiple)) * model.multiple for side in size)
        if w * h <= 2 * most and _geometry(model, w, h) is not None:
            found[w, h] = None
    return list(found)


def noise_detector(model: Model, key: WatermarkKey, registry: HallmarkRegistry, steps: int = STEPS) -> GaussianShading:
    """Return the detector of the pictures that this checkpoint made, as the register knows them."""
    return GaussianShading(key, partial(registry.nonces, model.identity), noises_of(model, steps))


def noises_of(model: Model, steps: int = STEPS) -> Callable[[np.ndarray], list[tuple[Geometry, Inversion]]]:
    """Return the function from a picture to its possible geometries, each with the call that inverts the picture."""

    def noises(pixels: np.ndarray) -> list[tuple[Geometry, Inversion]]:
        height, width = pixels.shape[:2]
        found: list[tuple[Geometry, Inversion]] = []
        for size in sizes(model, width, height):
            geometry = _geometry(model, *size)
            assert geometry is not None
            found.append((geometry, partial(_inverted, model, pixels, size, steps)))
        return found

    return noises


def _inverted(model: Model, pixels: np.ndarray, size: tuple[int, int], steps: int) -> np.ndarray:
    if size != (pixels.shape[1], pixels.shape[0]):
        pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    return recovered(model, pixels, steps)


def _geometry(model: Model, width: int, height: int) -> Geometry | None:
    factor = model.codec.factor
    try:
        return geometry_of((model.channels, height // factor, width // factor))
    except BadInput:
        return None
