"""JPEGs decoded at a half or less: what is saved, and what it does to scores: `python -m benchmarks.drafts`.

Prints one JSON line a size. Large photos are not at hand, so the shared small ones are enlarged and get grain (a
standard deviation of 3 levels), without which too little would be left for a decoder to read; JPEG quality 90. Both
ways run in turns, picture by picture, on one thread; times are CPU seconds.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from filters.decoding import decode
from filters.scorers.nsfw import NsfwScorer
from filters.scorers.similarity import SimilarityScorer
from filters.scoring import Batch, Picture


def enlarged(path: Path, side: int, rng: np.random.Generator) -> bytes:
    """Return a JPEG of the photo with a shorter side of `side` pixels."""
    image = Image.open(path).convert("RGB")
    scale = side / min(image.size)
    large = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 3, (large.height, large.width, 1))
    buffer = io.BytesIO()
    noisy = np.clip(np.asarray(large) + grain, 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def measure(paths: list[Path], captions: list[str], side: int) -> dict[str, object]:
    """Return the ratio of decoding times, and how far scores of a drafted picture lie from those of a whole one."""
    rng = np.random.default_rng(side)
    similarity, nsfw = SimilarityScorer(), NsfwScorer(threads=1)
    for scorer in (similarity, nsfw):
        scorer.load()
    wanted = max(similarity.draft_side(), nsfw.draft_side())
    took: dict[int | None, float] = {None: 0.0, wanted: 0.0}
    scores, vectors = [], []
    for path, caption in zip(paths, captions, strict=True):
        data = enlarged(path, side, rng)
        pictures: list[Picture] = []
        for draft in (None, wanted):
            start = time.process_time()
            pictures.append(decode(data, draft_side=draft))
            took[draft] += time.process_time() - start
        batch = Batch(["0" * 32] * 2, [caption] * 2, [data] * 2, pictures)
        columns, both = similarity.score_with_embeddings(batch)
        scores.append([columns.column(0).to_numpy(), nsfw.score(batch).column(0).to_numpy()])
        vectors.append(both.image.astype(np.float64))
    apart = np.abs(np.diff(np.array(scores), axis=2))[:, :, 0]
    pairs = np.array(vectors)
    cosines = (pairs[:, 0] * pairs[:, 1]).sum(axis=1) / np.linalg.norm(pairs, axis=2).prod(axis=1)
    return {
        "figure": f"JPEG drafts, shorter side {side}",
        "pictures": len(paths),
        "wanted_side": wanted,
        "times_as_fast": round(took[None] / took[wanted], 2),
        "decode_ms": [round(1e3 * seconds / len(paths), 1) for seconds in took.values()],
        "similarity_apart": [round(float(value), 5) for value in (apart[:, 0].mean(), apart[:, 0].max())],
        "nsfw_apart": [round(float(value), 5) for value in (apart[:, 1].mean(), apart[:, 1].max())],
        "smallest_cosine": round(float(cosines.min()), 5),
        "command": "python -m benchmarks.drafts " + " ".join(sys.argv[1:]),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, default=Path("../shared/data/flickr8k_sample"))
    parser.add_argument("--pictures", type=int, default=40)
    parser.add_argument("--sides", type=int, nargs="+", default=[1536, 3072])
    arguments = parser.parse_args()
    captions = json.loads((arguments.photos / "captions.json").read_text(encoding="utf-8"))
    names = sorted(captions)[: arguments.pictures]
    paths = [arguments.photos / "images" / name for name in names]
    for side in arguments.sides:
        print(json.dumps(measure(paths, [captions[name][0] for name in names], side)), flush=True)


if __name__ == "__main__":
    main()
