"""Connected components by alternating stars, for graphs that no single machine holds.

One step takes the edges of some nodes (all edges of each of them) and returns new edges; `large` and `small` steps in
turns end in stars around each component's smallest node. Every step keeps the components as they are.

Source: Kiveris et al., Connected Components in MapReduce and Beyond (2014) §3.
"""

from __future__ import annotations

import numpy as np


def directed(edges: np.ndarray, step: str) -> np.ndarray:
    """Return edges int64 (m, 2) as (node, neighbour) rows: each node that a step looks at with its neighbours.

    `large`: both directions. `small`: only from the larger node to the smaller one.
    """
    low, high = edges.min(axis=1), edges.max(axis=1)
    down = np.stack([high, low], axis=1)
    return down if step == "small" else np.concatenate([down, np.stack([low, high], axis=1)])


def stepped(rows: np.ndarray, step: str) -> np.ndarray:
    """Return the new edges (m, 2), larger node first, each once, for (node, neighbour) rows of whole nodes."""
    rows = rows[rows[:, 0] != rows[:, 1]]
    if len(rows) == 0:
        return np.empty((0, 2), dtype=np.int64)
    order = np.lexsort([rows[:, 1], rows[:, 0]])
    node, neighbour = rows[order, 0], rows[order, 1]
    starts = np.flatnonzero(np.concatenate([[True], np.diff(node) != 0]))
    sizes = np.diff(np.append(starts, len(node)))
    smallest = np.minimum(neighbour[starts], node[starts])
    to = np.repeat(smallest, sizes)
    if step == "large":
        larger = neighbour > node
        found = np.stack([neighbour[larger], to[larger]], axis=1)
    else:
        itself = np.stack([node[starts], smallest], axis=1)
        found = np.concatenate([np.stack([neighbour, to], axis=1), itself])
    return np.unique(found[found[:, 0] != found[:, 1]], axis=0)


def digest(edges: np.ndarray) -> int:
    """Return a number that tells sets of edges (m, 2) apart, and adds up over parts of a set."""
    if len(edges) == 0:
        return 0
    a, b = (edges[:, i].astype(np.uint64) for i in range(2))
    mixed = (a * np.uint64(0x9E3779B97F4A7C15)) ^ (b * np.uint64(0xC2B2AE3D27D4EB4F) + np.uint64(0x165667B19E3779F9))
    mixed = (mixed ^ (mixed >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    return int((mixed ^ (mixed >> np.uint64(29))).sum(dtype=np.uint64))
