"""False positives of the NSFW scores on harmless pictures: `python -m benchmarks.nsfw`; one JSON line a figure.

Harmless by origin: the 500 photos under ASSAY_SHARED_DATA and drawings of openclipart. **Recall is not measured**: no
unsafe picture is at hand. A user with labelled ones runs `assay evaluate nsfw --images DIR --labels labels.csv`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.watermark import drawings, photos
from filters.scorers.nsfw import NsfwScorer
from filters.scorers.nudity import NudityScorer
from filters.scoring import Batch, Picture

#: The bounds at which rates are given: the makers' "unsafe" for Open-NSFW (0.8), and a stricter one.
BOUNDS = (0.5, 0.8)


def measure(name: str, images: Iterable[Image.Image]) -> None:
    """Print the share of pictures above each bound, for each column."""
    whole, nudity = NsfwScorer(threads=1), NudityScorer()
    values: dict[str, list[float]] = {"nsfw": [], "nsfw_parts": [], "nsfw_combined": []}
    seconds = 0.0
    source = iter(images)
    while some := list(islice(source, 16)):
        batch = Batch(
            [str(at) for at in range(len(some))], [""] * len(some), [b""] * len(some), list(map(Picture, some))
        )
        known = {"nsfw": whole.score(batch).column("nsfw")}
        began = time.process_time()
        found, _ = nudity.score_with_evidence(batch, known)
        seconds += time.process_time() - began
        values["nsfw"] += known["nsfw"].to_pylist()
        for column in ("nsfw_parts", "nsfw_combined"):
            values[column] += found.column(column).to_pylist()
    for column, scores in values.items():
        above = {f"fpr@{bound}": float((np.array(scores) > bound).mean()) for bound in BOUNDS}
        line = {"figure": f"{column} on {name}", "pictures": len(scores), **above, "highest": round(max(scores), 4)}
        if column == "nsfw_parts":
            line["cpu_ms_per_picture"] = round(1000 * seconds / len(scores), 1)
        print(json.dumps(line), flush=True)


def main() -> None:
    """Measure photos and drawings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=Path(".cache/openclipart"))
    parser.add_argument("--drawings", type=int, default=400)
    options = parser.parse_args()
    measure("the 500 photos", photos(500))
    measure("openclipart, evenly spread", drawings(options.corpus, "", options.drawings))
    measure("openclipart, people", drawings(options.corpus, "people", options.drawings))


if __name__ == "__main__":
    main()
