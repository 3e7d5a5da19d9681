"""Match probability: what a similarity says, on a scale that carries over between encoders.

Matched pairs are the corpus's own; mismatched ones are its pictures with captions of other samples. A logistic
curve tells how likely a pair of this similarity is to be a matched one, where both kinds are equally frequent
(Platt, "Probabilistic outputs for support vector machines", 1999, with his smoothed targets). Captions of the
corpus may be wrong, so a "matched" pair is one that the corpus states, not one that fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log

import numpy as np

from filters.evaluation import auc

#: Newton steps at most; two parameters on thousands of points converge in under ten.
_STEPS = 100


@dataclass(frozen=True)
class Calibration:
    """p(match | similarity) = 1 / (1 + exp(-(slope * similarity + offset))); `auc` of matched against mismatched.

    `matched` and `mismatched` are the numbers of pairs that it was fitted on.
    """

    slope: float
    offset: float
    auc: float
    matched: int
    mismatched: int

    def probability(self, similarity: np.ndarray) -> np.ndarray:
        """Return the match probability (n,), 0 to 1, of similarities (n,); NaN stays NaN."""
        logits: np.ndarray = np.clip(self.slope * similarity + self.offset, -500, 500)
        probabilities: np.ndarray = 1.0 / (1.0 + np.exp(-logits))
        return probabilities

    def bound(self, probability: float) -> float:
        """Return the similarity at which the match probability is `probability` (0 to 1).

        Where similarity tells nothing (slope 0 or less), nothing can pass a bound: inf.
        """
        if self.slope <= 0:
            return inf
        if probability <= 0 or probability >= 1:
            return -inf if probability <= 0 else inf
        return (log(probability / (1 - probability)) - self.offset) / self.slope


def fit(matched: np.ndarray, mismatched: np.ndarray) -> Calibration:
    """Fit the curve to similarities of matched and mismatched pairs; both count for one half.

    NaN is left out. Raises ValueError where one of the two is empty.
    """
    matched, mismatched = (values[np.isfinite(values)].astype(np.float64) for values in (matched, mismatched))
    if len(matched) == 0 or len(mismatched) == 0:
        raise ValueError("calibration needs matched and mismatched pairs")
    x = np.concatenate([matched, mismatched])
    scale = float(x.std()) or 1.0
    centre = float(x.mean())
    design = np.stack([(x - centre) / scale, np.ones(len(x))], axis=1)
    target = np.concatenate(
        [
            np.full(len(matched), (len(matched) + 1) / (len(matched) + 2)),
            np.full(len(mismatched), 1 / (len(mismatched) + 2)),
        ]
    )
    weight = np.concatenate(
        [np.full(len(matched), 0.5 / len(matched)), np.full(len(mismatched), 0.5 / len(mismatched))]
    )
    slope, offset = _newton(design, target, weight)
    return Calibration(
        slope=slope / scale,
        offset=offset - slope * centre / scale,
        auc=auc(matched, mismatched),
        matched=len(matched),
        mismatched=len(mismatched),
    )


def _newton(design: np.ndarray, target: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Maximise the weighted log-likelihood of a logistic curve by Newton's method with a tiny ridge."""
    parameters = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(design @ parameters, -500, 500)))
        gradient = design.T @ (weight * (p - target)) + 1e-9 * parameters
        curvature = (design * (weight * p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(design.shape[1])
        step = np.linalg.solve(curvature, gradient)
        # separable classes would send the slope to infinity: no step changes a logit by more than 4
        step *= min(1.0, 4.0 / (np.abs(step).max() + 1e-12))
        parameters -= step
        if np.abs(step).max() < 1e-10:
            break
    return float(parameters[0]), float(parameters[1])


def mismatches(count: int, rounds: int, seed: int = 0) -> np.ndarray:
    """Return partners (rounds, count): for each row another row, by a random cyclic shift of a random order.

    No row is its own partner (for `count` of 2 or more). Deterministic for a seed.
    """
    random = np.random.default_rng(seed)
    partners = np.empty((rounds, count), dtype=np.int64)
    for turn in range(rounds):
        order = random.permutation(count)
        shift = int(random.integers(1, max(2, count)))
        partners[turn, order] = np.roll(order, shift)
    return partners
