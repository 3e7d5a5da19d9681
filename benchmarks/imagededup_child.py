"""Runs in imagededup's own environment: hashes a folder, searches given codes; prints one JSON line."""

from __future__ import annotations

import json
import os
import sys
import time

import numpy as np
from imagededup.methods import PHash


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main(folder: str, codes: str, radius: int) -> None:
    """Hash `folder`, then find the duplicates among `codes` (uint64 npy)."""
    method = PHash(verbose=False)
    wall, cpu = time.perf_counter(), _cpu()
    hashes = method.encode_images(image_dir=folder, num_enc_workers=0)
    found = {"pictures": len(hashes), "hash_seconds": time.perf_counter() - wall, "hash_cpu_seconds": _cpu() - cpu}
    encoded = {str(row): f"{int(code):016x}" for row, code in enumerate(np.load(codes).reshape(-1))}
    wall, cpu = time.perf_counter(), _cpu()
    pairs = method.find_duplicates(encoding_map=encoded, max_distance_threshold=radius, num_dist_workers=0)
    found |= {"search_seconds": time.perf_counter() - wall, "search_cpu_seconds": _cpu() - cpu}
    print(json.dumps({**found, "pairs": sum(map(len, pairs.values())) // 2}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
