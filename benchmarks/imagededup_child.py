"""Runs in imagededup's own environment; prints one JSON line.

`hash FOLDER WORKERS` hashes a folder (0 workers: in this process); `search CODES RADIUS PAIRS` searches given codes
(uint64 npy) in this process and writes the pairs that it finds (int64 npy).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from torchvision_child import ensure_torchvision

ensure_torchvision()

from imagededup.methods import PHash  # noqa: E402 -- needs torchvision


def _clocked(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    wall, before = time.perf_counter(), os.times()
    found = call()
    cpu = sum(now - then for now, then in zip(os.times()[:4], before[:4], strict=True))
    return found, {"seconds": round(time.perf_counter() - wall, 2), "cpu_seconds": round(cpu, 2)}


def hashed(folder: str, workers: int) -> dict[str, float]:
    """Hash `folder` as imagededup does by default (`workers` processes)."""
    method = PHash(verbose=False)
    hashes, took = _clocked(lambda: method.encode_images(image_dir=folder, num_enc_workers=workers))
    return {"pictures": len(hashes), **took}


def searched(codes: str, radius: int, pairs: str) -> dict[str, float]:
    """Find the duplicates among `codes`."""
    method = PHash(verbose=False)
    encoded = {str(row): f"{int(code):016x}" for row, code in enumerate(np.load(codes).reshape(-1))}
    found, took = _clocked(
        lambda: method.find_duplicates(encoding_map=encoded, max_distance_threshold=radius, num_dist_workers=0)
    )
    rows = [(int(a), int(b)) for a, others in found.items() for b in others if int(a) < int(b)]
    np.save(pairs, np.array(rows, dtype=np.int64).reshape(-1, 2))
    return {"pairs": len(rows), **took}


if __name__ == "__main__":
    if sys.argv[1] == "hash":
        print(json.dumps(hashed(sys.argv[2], int(sys.argv[3]))))
    else:
        print(json.dumps(searched(sys.argv[2], int(sys.argv[3]), sys.argv[4])))
