"""Samples that a training never sees, so that something is left to measure it on."""

from __future__ import annotations

import numpy as np

from training.data.mixing import keys, uniform

#: Purpose of the draw, apart from those of the order (`training.data.mixing`).
_HELD_OUT = 200


def held_out(words: np.ndarray, share: float) -> np.ndarray:
    """Return bool (n,): which of the uids `words` uint64 (n, 2) are held out.

    It depends on the uid alone: all trainings with the same share hold out the same samples, whatever their seed and
    whichever version of the dataset, and a larger share holds out those of a smaller one too.
    """
    return uniform(keys(words, _HELD_OUT, 0)) < share
