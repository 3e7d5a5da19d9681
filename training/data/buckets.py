"""Aspect-ratio buckets: the few picture sizes that training uses, and which one each picture gets."""

from __future__ import annotations

import numpy as np

from training.config_data import Buckets


def bucket_sizes(config: Buckets) -> list[tuple[int, int]]:
    """Return (width, height) of each bucket, by width.

    Generated ones: for each width that is a multiple of `step`, the largest height of that kind with which the area
    is at most resolution squared and the aspect at most `max_aspect`; and the same the other way round.
    """
    if config.sizes:
        return sorted(config.sizes)
    side, step = config.resolution, config.step
    found = {(side, side)}
    for long in range(side, int(side * config.max_aspect) + 1, step):
        short = side * side // long // step * step
        if short and long <= short * config.max_aspect:
            found |= {(long, short), (short, long)}
    return sorted(found)


def assign(width: np.ndarray, height: np.ndarray, sizes: list[tuple[int, int]]) -> np.ndarray:
    """Return int16 (n,): for each picture the bucket whose aspect is nearest to its own, in the logarithm.

    Of equally near ones the larger area wins, then the first: so it does not depend on rounding of the last bit.
    """
    aspects = np.log(np.array([w / h for w, h in sizes]))
    areas = np.array([w * h for w, h in sizes])
    order = np.lexsort((np.arange(len(sizes)), -areas))
    own = np.log(width.astype(np.float64) / height.astype(np.float64))
    best = np.full(len(own), np.inf)
    found = np.zeros(len(own), dtype=np.int16)
    for bucket in order:
        distance = np.round(np.abs(own - aspects[bucket]), 9)
        nearer = distance < best
        best[nearer], found[nearer] = distance[nearer], bucket
    return found
