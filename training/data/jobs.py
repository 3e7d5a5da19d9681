"""From samples to decoding: what chance decides for each, where its picture lies, and who decodes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.config_data import Data
from training.data.decode import Job
from training.data.mixing import CROP_X, CROP_Y, DROPOUT, FLIP, keys, uniform
from training.data.order import Entries
from training.data.pool import Decoder, Inline, Pool
from training.data.samples import ShardSet
from training.data.view import View


@dataclass(frozen=True)
class Draws:
    """What is decided for each of n places of the stream: caption dropped, picture mirrored, part that is cropped."""

    dropped: np.ndarray
    flip: np.ndarray
    across: np.ndarray
    down: np.ndarray


def draws(view: View, entries: Entries, config: Data) -> Draws:
    """Decide by hashes of seed, epoch and uid (and of which repeat in the epoch it is)."""
    words = view.words[entries.rows]
    drop, flip, across, down = (
        uniform(keys(words, purpose, config.seed, entries.origin, entries.repeat))
        for purpose in (DROPOUT, FLIP, CROP_X, CROP_Y)
    )
    if config.crop == "centre":
        across = down = np.full(len(words), 0.5)
    return Draws(drop < config.caption_dropout, flip < config.flip, across, down)


def jobs_of(shards: ShardSet, rows: np.ndarray, across: np.ndarray, down: np.ndarray, flip: np.ndarray) -> list[Job]:
    """Return the decoding jobs of some rows."""
    tars = [f"{name}.tar" for name in shards.shards]
    columns = (
        shards.shard_of(rows).tolist(),
        shards.offset[rows].tolist(),
        shards.size[rows].tolist(),
        shards.sha256[rows],
        across.tolist(),
        down.tolist(),
        flip.tolist(),
    )
    return [
        Job(tars[shard], offset, size, digest.tobytes(), x, y, mirrored)
        for shard, offset, size, digest, x, y, mirrored in zip(*columns, strict=True)
    ]


def make_decoder(url: str, config: Data, batch: int, sizes: list[tuple[int, int]]) -> Decoder:
    """Return the decoder that the configuration asks for, for batches of at most `batch` pictures of the run `url`."""
    if config.workers == 0:
        return Inline(url, config.max_pixels)
    largest = max(3 * width * height for width, height in sizes) * batch
    return Pool(url, config.workers, config.prefetch + 1, largest, config.max_pixels, config.decode_seconds)
