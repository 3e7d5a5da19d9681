"""Moment matching, after M4 (Alabdulmohsin et al. 2024, CLIP the Bias, ICLR): weights q under which attributes have
their target shares (first order) and have them within each label too (second order).

    minimise   1/2 E[(q - 1)^2] + penalty * (sum of slacks)
    so that    |share_q(s_k) - pi_k| <= representation + slack                for each attribute k,
               |share_q(s_k | y_r) - pi_k| <= association + slack             for each attribute k and label r,
               E[q] = 1,   low <= q <= high

Shares are among the samples that have a value of the attribute's group. The paper bounds |E_q[(s_k - pi_k) y_r]|,
where a rare label costs nothing; here both sides are divided by the label's weight, so that a bound is a difference of
shares for every label. Bounds are linear in q all the same, so the problem is convex; its dual is smooth with the
penalty as a bound on each multiplier (l1 exact penalty), and L-BFGS-B solves it (Byrd et al. 1995). What cannot be
met is met as nearly as the penalty pays for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, sparse

#: Largest violation of a bound, in shares, that counts as met.
TOLERANCE = 1e-4
_STEPS = 5000


@dataclass(frozen=True)
class Attribute:
    """One value of a group: `is_` (c,) of 0 and 1, `base` (c,) whether the cell has a value of the group, target."""

    is_: np.ndarray
    base: np.ndarray
    target: float


@dataclass(frozen=True)
class Matched:
    """Weights (c,) of cells, mean 1 over samples, and how it went.

    `violation` is by how much the worst bound is exceeded, in shares (0: none). `empty` counts bounds on a label that
    no sample with a value of the attribute's group has: they say nothing.
    """

    weights: np.ndarray
    converged: bool
    steps: int
    violation: float
    empty: int


def match(
    counts: np.ndarray,
    attributes: Sequence[Attribute],
    labels: Sequence[np.ndarray],
    representation: float,
    association: float,
    bounds: tuple[float, float],
    penalty: float,
) -> Matched:
    """Return the weights of cells with `counts` (c,) samples. `labels`: (c,) of 0 and 1 each.

    `representation` and `association` are differences of shares, 0 or more; `bounds` are (low <= 1 <= high).
    """
    low, high = bounds
    if not 0 <= low <= 1 <= high or representation < 0 or association < 0 or penalty <= 0:
        raise ValueError("bounds must hold 1, tolerances be 0 or more, the penalty above 0")
    share = counts / counts.sum()
    rows, empty = _rows(share, attributes, labels, representation, association)
    if not rows:
        return Matched(np.ones(len(counts)), True, 0, 0.0, empty)
    matrix = sparse.vstack(rows, format="csr")

    def dual(multipliers: np.ndarray) -> tuple[float, np.ndarray]:
        pull = matrix.T @ multipliers[:-1] + multipliers[-1]
        q = np.clip(1 - pull, low, high)
        value = float(share @ (0.5 * (q - 1) ** 2 + q * pull)) - float(multipliers[-1])
        weighted = share * q
        return -value, -np.r_[matrix @ weighted, weighted.sum() - 1]

    start = np.zeros(matrix.shape[0] + 1)
    limits = [(0.0, penalty)] * matrix.shape[0] + [(None, None)]
    options = {"maxiter": _STEPS, "maxfun": 4 * _STEPS, "ftol": 1e-16, "gtol": 1e-10, "maxcor": 50}
    found = optimize.minimize(dual, start, jac=True, method="L-BFGS-B", bounds=limits, options=options)
    pull = matrix.T @ found.x[:-1] + found.x[-1]
    weights = np.clip(1 - pull, low, high)
    weights = weights / float(share @ weights)
    violation = max(0.0, float((matrix @ (share * weights)).max()))
    return Matched(weights, violation <= TOLERANCE, int(found.nit), violation, empty)


def _rows(
    share: np.ndarray, attributes: Sequence[Attribute], labels: Sequence[np.ndarray], first: float, second: float
) -> tuple[list[sparse.csr_matrix], int]:
    """Return the bounds as rows a with E[a q] <= 0, in units of shares, and how many labels say nothing."""
    rows, empty = [], 0
    for attribute in attributes:
        for label, tolerance in ((np.ones(len(share)), first), *((label, second) for label in labels)):
            among = attribute.base * label
            size = float(share @ among)
            if size == 0:
                empty += 1
                continue
            at = np.flatnonzero(among)
            apart = (attribute.is_[at] - attribute.target) * among[at]
            both = np.stack([apart, -apart]) - tolerance * among[at]
            where = (np.repeat([0, 1], len(at)), np.tile(at, 2))
            rows.append(sparse.csr_matrix((both.reshape(-1) / size, where), shape=(2, len(share))))
    return rows, empty
