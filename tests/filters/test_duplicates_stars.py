"""Alternating stars end where the union-find ends."""

import numpy as np
import pytest

from filters.duplicates import Edges, cluster
from filters.duplicates_stars import digest, directed, stepped


def by_stars(count, edges):
    while True:
        before = digest(edges)
        for step in ("large", "large", "small"):
            edges = stepped(directed(edges, step), step)
        if digest(edges) == before:
            break
    labels = np.full(count, -1)
    labels[edges[:, 0]] = edges[:, 1]
    labels[edges[:, 1]] = edges[:, 1]
    return labels


@pytest.mark.parametrize(
    "edges",
    [
        np.random.default_rng(0).integers(0, 300, (150, 2)),
        np.random.default_rng(1).integers(0, 300, (900, 2)),
        np.stack([np.arange(299), np.arange(1, 300)], axis=1),  # a chain
        np.stack([np.arange(1, 300)[::-1], np.arange(299)[::-1]], axis=1),
        np.stack([np.full(299, 299), np.arange(299)], axis=1),  # a star around the largest
        np.array([[5, 5]]),
    ],
    ids=["sparse", "dense", "chain", "chain back", "star", "itself"],
)
def test_stars_equal_the_union_find(edges):
    zeros = np.zeros(len(edges))
    assert (by_stars(300, edges.astype(np.int64)) == cluster(300, [Edges.of(edges[:, 0], edges[:, 1], zeros)])).all()
