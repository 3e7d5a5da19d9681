"""Which latents a cache holds, and filling it before the denoiser trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from filters.encoders.weights import state_digest
from filters.errors import TooManyFailures
from training.config import Config
from training.data.encoding import fill_latents, latent_key
from training.data.latents import LatentCache
from training.data.samples import ShardSet
from training.memory import memory_errors
from training.models.autoencoder import Codec
from training.together import on_first


def latent_cache(
    config: Config, shards: ShardSet, codec: Codec, accelerator: Any, say: Callable[[str], None]
) -> LatentCache:
    """Return the cache of this autoencoder's latents, filled as `fill_cache` does; raises what that raises.

    Latents are the posterior's means.
    """
    network = codec.network
    model = f"{type(network).__name__}@sha256:{state_digest(network)}"
    scale, shift = (
        float(network.config.get(f"{name}_factor") or fallback) for name, fallback in (("scaling", 1), ("shift", 0))
    )
    key = latent_key(config.data, model, config.autoencoder.cache, scale, shift)
    cache = LatentCache(shards.url, key, config.data.cached_shards)
    fill_cache(cache, config, shards, codec, accelerator, say)
    return cache


def fill_cache(
    cache: LatentCache, config: Config, shards: ShardSet, codec: Codec, accelerator: Any, say: Callable[[str], None]
) -> None:
    """Have the first process cache what the shards' cache has not, while the others wait. All must call it.

    Raises on all processes `TooManyFailures` where more pictures are unreadable than allowed, `BadInput` where memory
    does not do.
    """

    def encode(pixels: Tensor) -> Tensor:
        return codec.encode(pixels.to(accelerator.device))

    def fill() -> None:
        with memory_errors("latents", "while their cache was made", config):
            done, failed = fill_latents(cache, shards, config.data, encode)
        say(f"latents: {done} computed, {len(shards) - done - len(failed)} were there, {len(failed)} unreadable")
        if len(failed) > config.data.max_unreadable * len(shards):
            raise TooManyFailures(f"{shards.url}: {len(failed)} of {len(shards)} pictures are unreadable")

    on_first(accelerator, fill)
    cache.forget()
