"""Filling the cache of latents: every picture of the shards at its bucket's size, through the autoencoder once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from training.config_data import Data
from training.data.batch import Unreadable, scaled
from training.data.buckets import assign, bucket_sizes
from training.data.decode import Outcome
from training.data.jobs import jobs_of, make_decoder
from training.data.latents import Entry, Key, LatentCache
from training.data.pool import Decoder
from training.data.samples import ShardSet


def latent_key(config: Data, model: str, dtype: str, scale: float, shift: float = 0.0) -> Key:
    """Return the key of latents by the autoencoder `model` at the configuration's sizes."""
    return Key("latents", model, tuple(bucket_sizes(config.buckets)), "centre", dtype, scale, shift)


def fill_latents(
    cache: LatentCache, shards: ShardSet, config: Data, encode: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[int, list[Unreadable]]:
    """Cache the latents of all pictures that have none; return how many were computed, and what is unreadable.

    `encode` turns float32 pixels (b, 3, h, w) in [-1, 1] into latents (b, ...), scaled as the cache's key says.
    """
    sizes = bucket_sizes(config.buckets)
    decoder = make_decoder(shards.url, config, config.batch, sizes)
    done, failed = 0, list[Unreadable]()
    try:
        for shard in range(len(shards.shards)):
            rows = cache.missing(shards, shard)
            kept: list[int] = []
            entries: list[Entry] = []
            for some, pixels, outcomes in _decoded(decoder, shards, rows, config, sizes):
                good = [at for at, outcome in enumerate(outcomes) if not outcome.reason]
                uids = shards.uids(some)
                failed += [Unreadable(u, o.reason, o.detail) for u, o in zip(uids, outcomes, strict=True) if o.reason]
                if good:
                    latents = encode(scaled(torch.from_numpy(pixels[good])))
                    entries += [Entry(t, _geometry(outcomes[at])) for t, at in zip(latents, good, strict=True)]
                    kept += some[good].tolist()
            if kept:
                cache.add(shards, shard, np.array(kept), entries)
            done += len(kept)
    finally:
        decoder.close()
    return done, failed


def _decoded(
    decoder: Decoder, shards: ShardSet, rows: np.ndarray, config: Data, sizes: list[tuple[int, int]]
) -> Iterator[tuple[np.ndarray, np.ndarray, list[Outcome]]]:
    """Yield rows of one bucket, their pixels and outcomes; one batch is decoded while another one is encoded."""
    buckets = assign(shards.width[rows], shards.height[rows], sizes)
    waiting: list[tuple[np.ndarray, int]] = []
    for bucket in np.unique(buckets):
        mine = rows[buckets == bucket]
        for start in range(0, len(mine), config.batch):
            some = mine[start : start + config.batch]
            middle = np.full(len(some), 0.5)
            jobs = jobs_of(shards, some, middle, middle, np.zeros(len(some), dtype=bool))
            waiting.append((some, decoder.submit(jobs, *sizes[bucket])))
            if len(waiting) > config.prefetch:
                first, number = waiting.pop(0)
                yield first, *decoder.result(number)
    for some, number in waiting:
        yield some, *decoder.result(number)


def _geometry(outcome: Outcome) -> tuple[int, int, int, int]:
    return outcome.height, outcome.width, outcome.top, outcome.left
