"""A linear probe on latents: where on a direction the picture lies that a latent stands for.

The guidance needs the gradient of a direction at latents. Through decoder and encoder it would cost a pass back
through both in every step, and would find changes that move the encoder's number and nothing that one sees. A linear
probe costs two products, and its direction is made of what varies among the run's own pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: Pictures at most; the normal equations grow with the square of them.
MOST = 4096

#: Strengths of the ridge that are tried, as parts of the mean square of a latent vector.
_RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


@dataclass(frozen=True)
class Probe:
    """y = weights * (latent - centre), in standard deviations of the training pictures, plus nothing.

    `weights`, `pattern`, `centre` float32 (c, h, w). `pattern`: how latents change with one standard deviation of y
    (Haufe et al. 2014: the covariance times the weights). `r2`: of pictures that it was not fitted on; `mean`, `std`:
    of the measure among the training pictures; `count`: those it was fitted on.
    """

    weights: Tensor
    pattern: Tensor
    centre: Tensor
    r2: float
    mean: float
    std: float
    count: int

    def read(self, latents: Tensor) -> Tensor:
        """Return y (n,) of latents (n, c, h, w)."""
        centred = (latents - self.centre.to(latents.device)).flatten(1)
        found: Tensor = centred @ self.weights.to(latents.device).flatten()
        return found

    def body(self) -> dict[str, Any]:
        """Return the probe as JSON values."""
        tensors = {name: getattr(self, name).flatten().tolist() for name in ("weights", "pattern", "centre")}
        numbers = {name: getattr(self, name) for name in ("r2", "mean", "std", "count")}
        return {**tensors, **numbers, "shape": list(self.weights.shape)}


def read_probe(body: dict[str, Any]) -> Probe:
    """Return what `body` gave. Raises `ValueError`, `KeyError` or `TypeError` for anything else."""
    shape = [int(side) for side in body["shape"]]
    tensors = [
        torch.tensor(body[name], dtype=torch.float32).reshape(shape) for name in ("weights", "pattern", "centre")
    ]
    numbers = [float(body[name]) for name in ("r2", "mean", "std")]
    if (
        not all(bool(torch.isfinite(one).all()) for one in tensors)
        or not np.isfinite(numbers).all()
        or len(shape) != 3
    ):
        raise ValueError("not finite")
    weights, pattern, centre = tensors
    r2, mean, std = numbers
    return Probe(weights, pattern, centre, r2, mean, std, int(body["count"]))


def fit_probe(latents: np.ndarray, measured: np.ndarray, order: np.ndarray) -> Probe:
    """Fit a probe to latents (n, c, h, w) and what was measured of their pictures (n,).

    `order` (n,): numbers that deal pictures out by themselves, such as hashes: of ten parts two choose the ridge and
    two, looked at once, give `r2`. What is returned is fitted on all but those last two. Raises `ValueError` where
    the measure does not vary.
    """
    shape = latents.shape[1:]
    x = latents.reshape(len(latents), -1).astype(np.float64)
    mean, std = float(measured.mean()), float(measured.std())
    if not std > 1e-9:
        raise ValueError("all pictures measure the same")
    y = (measured.astype(np.float64) - mean) / std
    part = order % np.uint64(10)
    fit, choose, test = part < 6, (part >= 6) & (part < 8), part >= 8
    scored = [(_r2(x[choose], y[choose], *_ridge(x[fit], y[fit], ridge)), ridge) for ridge in _RIDGES]
    best = max(scored)[1]
    weights, centre, offset = _ridge(x[~test], y[~test], best)
    r2 = _r2(x[test], y[test], weights, centre, offset)
    centred = x[~test] - centre
    # the intercept goes into the centre, along the weights
    centre = centre - weights * offset / max(float(weights @ weights), 1e-30)
    predicted = centred @ weights
    pattern = centred.T @ predicted / len(predicted)
    along = float(weights @ pattern)
    pattern = pattern / along if along > 1e-30 else pattern * 0.0

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.reshape(shape).astype(np.float32))

    return Probe(tensor(weights), tensor(pattern), tensor(centre), r2, mean, std, int((~test).sum()))


def _ridge(x: np.ndarray, y: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Return weights (d,), centre (d,) and intercept of ridge regression; in the smaller of the two spaces."""
    centre, offset = x.mean(axis=0), float(y.mean())
    centred = x - centre
    count, width = x.shape
    strength = ridge * float((centred**2).sum()) / min(count, width)
    if width <= count:
        weights = np.linalg.solve(centred.T @ centred + strength * np.eye(width), centred.T @ (y - offset))
    else:
        weights = centred.T @ np.linalg.solve(centred @ centred.T + strength * np.eye(count), y - offset)
    return weights, centre, offset


def _r2(x: np.ndarray, y: np.ndarray, weights: np.ndarray, centre: np.ndarray, offset: float) -> float:
    left = y - ((x - centre) @ weights + offset)
    return float(1 - (left**2).sum() / max(float(((y - y.mean()) ** 2).sum()), 1e-30))
