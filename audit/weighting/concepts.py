"""Caps on concepts, as MetaCLIP curates (Xu et al. 2024, Demystifying CLIP Data, ICLR, algorithm 1).

A concept e that count_e samples match is kept with p_e = min(1, t / count_e); each matched concept of a sample draws
by itself and the sample stays if any draw keeps it: with probability 1 - prod (1 - p_e). Expected samples a concept
are at least min(count_e, t), and more where samples stay for rarer concepts of theirs.
"""

from __future__ import annotations

import numpy as np


def probabilities(counts: np.ndarray, t: float) -> np.ndarray:
    """Return p_e = min(1, t / count_e) of concepts (c,); 1 for a concept without samples. `t` is above 0."""
    if not t > 0:
        raise ValueError(f"t must be above 0: {t}")
    found: np.ndarray = np.minimum(1.0, t / np.maximum(counts.astype(np.float64), 1e-300))
    return found


def keep_probability(rows: np.ndarray, codes: np.ndarray, p: np.ndarray, samples: int) -> np.ndarray:
    """Return the probability (samples,) with which each sample stays; 0 for one that matches no concept.

    Sample `rows[i]` matches concept `codes[i]`; `p` (c,) is the concepts' probability.
    """
    missed = np.ones(samples)
    np.multiply.at(missed, rows, 1.0 - p[codes])
    found: np.ndarray = 1.0 - missed
    return found


def drawn(rows: np.ndarray, codes: np.ndarray, p: np.ndarray, uniform: np.ndarray, samples: int) -> np.ndarray:
    """Return (samples,) bool: any of the sample's concepts kept it. `uniform[i]` in [0, 1) is pair i's own draw."""
    kept = np.zeros(samples, dtype=bool)
    kept[rows[uniform < p[codes]]] = True
    return kept
