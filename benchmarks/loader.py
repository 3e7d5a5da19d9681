"""Measure the data loader: `python -m benchmarks.loader RUN`; one JSON line a figure.

Reads the shards of a finished run with the training's loader, and with bare webdataset and Pillow (decode, crop to
the square, resize, no checks of any kind) in torch's DataLoader, in turns, with the same number of processes. A time
alone means nothing on a shared machine: look at the ratios. The first round of each warms the page cache.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset
from PIL import Image
from torch.utils.data import DataLoader

from pipelines.run.directory import open_run
from training.config_data import Data
from training.data.encoding import fill_latents, latent_key
from training.data.latents import LatentCache
from training.data.loader import Batches, Caches
from training.data.samples import ShardSet

_PICTURES = ("png", "jpg", "webp", "gif", "tif", "bmp", "avif")


def squared(data: bytes, side: int) -> torch.Tensor:
    """Decode and crop with plain Pillow; uint8 (3, side, side)."""
    image: Image.Image = Image.open(io.BytesIO(data))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.new("RGB", image.size, (255, 255, 255))
        image.paste(rgba, mask=rgba)
    image = image.convert("RGB")
    short = min(image.size)
    left, top = (image.width - short) / 2, (image.height - short) / 2
    box = (left, top, left + short, top + short)
    small = image.resize((side, side), Image.Resampling.LANCZOS, box, reducing_gap=3.0)
    return torch.from_numpy(np.asarray(small).transpose(2, 0, 1).copy())


class Decode:
    """Turns a webdataset sample into picture and caption; a class, so that processes can be given it."""

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, sample: dict[str, Any]) -> tuple[torch.Tensor, str]:
        """Return the pixels and the caption."""
        data = next(sample[suffix] for suffix in _PICTURES if suffix in sample)
        return squared(data, self.side), sample["txt"].decode()


def bare_rate(tars: list[str], config: Data, samples: int) -> float:
    """Return samples a second of bare webdataset."""
    side, workers = config.buckets.resolution, config.workers
    data = webdataset.WebDataset(tars, shardshuffle=False, workersplitter=webdataset.split_by_worker)
    data = data.map(Decode(side))
    loader = DataLoader(data, config.batch, num_workers=workers, prefetch_factor=config.prefetch if workers else None)
    return _rate(iter(loader), lambda batch: len(batch[1]), samples, config.batch)


def loader_rate(shards: ShardSet, config: Data, samples: int, caches: Caches | None = None) -> float:
    """Return samples a second of the training's loader."""
    with Batches(shards, config, caches=caches) as batches:
        return _rate(iter(batches), len, samples, config.batch)


def _rate(batches: Any, size: Callable[[Any], int], samples: int, batch: int) -> float:
    """Return samples a second once the first batch is there: processes start once a training."""
    next(batches)
    start = time.perf_counter()
    seen = sum(size(one) for one in islice(batches, samples // batch))
    return seen / (time.perf_counter() - start)


def report(figure: str, ours: list[float], theirs: list[float], **facts: object) -> None:
    """Print one figure: medians, and the median of the rounds' ratios."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    body = {
        "figure": figure,
        **facts,
        "samples_a_second": round(statistics.median(ours), 1),
        "bare_webdataset": round(statistics.median(theirs), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }
    print(json.dumps(body), flush=True)


def main() -> None:
    """Print one JSON line a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("run", help="folder of a finished run")
    parser.add_argument("--samples", type=int, default=1024, help="samples a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--latents", action="store_true", help="also cached latents (writes to the run's latents/)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    shards = ShardSet.open(open_run(arguments.run))
    print(
        json.dumps({"figure": "opening the run", "samples": len(shards), "s": round(time.perf_counter() - start, 2)})
    )
    tars = [str(Path(arguments.run) / f"{name}.tar") for name in shards.shards]
    buckets = {"resolution": arguments.resolution, "max_aspect": 1}
    plain = Data.model_validate({"batch": arguments.batch, "buckets": buckets, "weighting": "loss"})
    samples = min(arguments.samples, len(shards) // arguments.batch * arguments.batch - 2 * arguments.batch)
    for workers in arguments.workers:
        config = plain.model_copy(update={"workers": workers})
        ours, theirs = [], []
        for _ in range(arguments.rounds + 1):
            theirs.append(bare_rate(tars, config, samples))
            ours.append(loader_rate(shards, config, samples))
        report("loader over bare webdataset", ours[1:], theirs[1:], workers=workers, cores=os.cpu_count())
    if arguments.latents:
        config = plain.model_copy(update={"workers": 0})
        cache = LatentCache(shards.url, latent_key(config, "means of 8 x 8 pixels", "float16", 1.0))
        fill_latents(cache, shards, config, lambda pixels: torch.nn.functional.avg_pool2d(pixels, 8))
        rates = [loader_rate(shards, config, samples, Caches(latents=cache)) for _ in range(arguments.rounds)]
        print(json.dumps({"figure": "cached latents", "samples_a_second": round(statistics.median(rates), 1)}))


if __name__ == "__main__":
    main()
