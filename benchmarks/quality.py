"""Measure the technical-quality score: `python -m benchmarks.quality`; one JSON line a figure.

Each picture is damaged in five ways (`filters.degradations`); the score is right where the original's is higher.
Pictures: the 500 photos under ASSAY_SHARED_DATA (nothing was fitted or chosen on them) and openclipart drawings of
artists that the fit has not seen. A copy that differs from its original by less than 1 of 255 in the mean (a black
and white drawing over-exposed) has nothing to see and is left out; `left_out` counts those.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from filters.decoding import Undecodable, decode
from filters.degradations import MILD, STANDARD
from filters.scorers.quality import quality
from scripts.build_quality import drawings

#: Mean absolute difference, of 255, below which a copy counts as unchanged.
UNCHANGED = 1.0


def photos(limit: int) -> Iterator[Image.Image]:
    """Yield the evaluation photos."""
    folder = Path(os.environ.get("ASSAY_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    for path in sorted((folder / "flickr8k_sample" / "images").glob("*.jpg"))[:limit]:
        yield decode(path.read_bytes()).image


def held_out(limit: int) -> Iterator[Image.Image]:
    """Yield openclipart drawings of artists outside the fit, at least 64 pixels on each side."""
    for data in drawings("test", limit):
        try:
            image = decode(data).image
        except Undecodable:
            continue
        if min(image.size) >= 64:
            yield image


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=500, help="pictures of each kind")
    limit = parser.parse_args().limit
    for name, pictures in (("flickr8k", photos(limit)), ("openclipart", held_out(limit))):
        originals: list[float] = []
        spent: list[float] = []
        found: dict[str, list[float]] = {}
        left_out: dict[str, int] = {}
        for image in pictures:
            start = time.process_time()
            originals.append(quality(image))
            spent.append(time.process_time() - start)
            for strength, kinds in (("standard", STANDARD), ("mild", MILD)):
                for kind, damage in kinds.items():
                    copy = damage(image)
                    change = np.abs(np.asarray(copy, np.float32) - np.asarray(image, np.float32)).mean()
                    if change < UNCHANGED:
                        left_out[f"{strength} {kind}"] = left_out.get(f"{strength} {kind}", 0) + 1
                    else:
                        difference = originals[-1] - quality(copy)
                        found.setdefault(f"{strength} {kind}", []).append(float(difference > 0))
        for kind, right in found.items():
            figure = {"figure": f"quality pairwise accuracy: {name}, {kind}", "value": round(float(np.mean(right)), 4)}
            print(json.dumps({**figure, "pairs": len(right), "left_out": left_out.get(kind, 0)}))
        values = np.percentile(originals, [5, 25, 50, 75, 95]).round(3).tolist()
        print(json.dumps({"figure": f"quality of originals: {name}, percentiles 5 25 50 75 95", "value": values}))
        cost = {"figure": f"quality ms a picture: {name}", "value": round(1e3 * float(np.median(spent)), 2)}
        print(json.dumps({**cost, "note": "median processor time, one thread"}))


if __name__ == "__main__":
    main()
