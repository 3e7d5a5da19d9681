"""What the heads compute: pure functions over L2-normalised picture embeddings, in float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from filters.heads.weights import Weights

#: Keras' Normalization layer divides by max(sqrt(variance), epsilon).
_EPSILON = 1e-7


def aesthetic(vectors: np.ndarray, weights: Weights) -> np.ndarray:
    """Return float64 (n,), a rating on SAC's and AVA's scale of 1 to 10, for embeddings (n, dimension).

    V1: `w . x + b`. V2 (the `linearMSE` files): five such layers, no activation between them (LAION-AI's
    aesthetic-predictor; christophschuhmann's improved-aesthetic-predictor, `simple_inference.py`). Nothing clips the
    value: embeddings that lie far from any picture give less than 1 or more than 10. Rows are brought to length 1.
    """
    values = unit(vectors, weights.layers[0][0].shape[1])
    for weight, bias in weights.layers:
        values = values @ weight.T + bias
    rating: np.ndarray = values[:, 0]
    return rating


def nsfw_logit(vectors: np.ndarray, weights: Weights, lookups: Sequence[int]) -> np.ndarray:
    """Return float64 (n,), the log odds of NSFW, for embeddings (n, dimension). Rows are brought to length 1.

    LAION's CLIP-based NSFW detector: the columns `lookups` set to 0, (x - mean) / standard deviation, linear layers
    with ReLU between; the published model ends in a sigmoid.
    """
    if weights.mean is None or weights.variance is None:
        raise ValueError("an NSFW head has a normalisation")
    values = unit(vectors, weights.layers[0][0].shape[1])
    values[:, list(lookups)] = 0
    values = (values - weights.mean) / np.maximum(np.sqrt(weights.variance), _EPSILON)
    for weight, bias in weights.layers[:-1]:
        values = np.maximum(values @ weight.T + bias, 0)
    weight, bias = weights.layers[-1]
    logit: np.ndarray = (values @ weight.T + bias)[:, 0]
    return logit


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(logit))
    probability: np.ndarray = np.where(logit < 0, small, 1) / (1 + small)
    return probability


def unit(vectors: np.ndarray, dimension: int) -> np.ndarray:
    """Return float64 rows of length 1. Raises ValueError for another shape, zero rows or values not finite."""
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise ValueError(f"embeddings of shape {vectors.shape}, expected (n, {dimension})")
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        raise ValueError("embeddings hold zero rows or values that are not finite")
    rows: np.ndarray = wide / lengths
    return rows
