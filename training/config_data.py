"""Configuration of the data path: sizes, order, weights, decoding."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from filters.decoding import MAX_PIXELS
from training.config_base import Section

#: Steps of a side in pixels: one latent pixel of a common autoencoder is 8, one of its U-Net's deepest level 64.
_STEPS = (8, 16, 32, 64)


class Buckets(Section):
    """Picture sizes that training uses (aspect-ratio bucketing: novelai.net, "Aspect Ratio Bucketing", 2022)."""

    resolution: int = Field(
        64, ge=8, le=4096, description="side of the square size in pixels; every size has at most its area (ours)"
    )
    step: int = Field(8, description="sides are multiples of it: 8, 16, 32 or 64 (64: SDXL, arXiv:2307.01952)")
    max_aspect: float = Field(
        2.0,
        ge=1,
        le=8,
        description="longest side over shortest; 1 makes every picture square (ours; SDXL, arXiv:2307.01952: 4)",
    )
    sizes: list[tuple[int, int]] = Field(
        [], max_length=100, description="width and height of each size, instead of those made from the keys above"
    )

    @model_validator(mode="after")
    def _possible(self) -> Buckets:
        if self.step not in _STEPS:
            raise ValueError(f"step must be one of {', '.join(map(str, _STEPS))}, not {self.step}")
        if not self.sizes and self.resolution % self.step:
            raise ValueError(f"resolution ({self.resolution}) must be a multiple of step ({self.step})")
        for width, height in self.sizes:
            if width % self.step or height % self.step or not 8 <= min(width, height) <= max(width, height) <= 4096:
                raise ValueError(f"sizes: {width} x {height}: sides are multiples of {self.step}, from 8 to 4096")
        if len(set(self.sizes)) != len(self.sizes):
            raise ValueError("sizes: one stands twice")
        return self


class Data(Section):
    """What is read, in which order, how pictures become tensors."""

    batch: int = Field(
        32, ge=1, le=65_536, description="samples a batch over all processes together (ours; arXiv:2006.11239: 128)"
    )
    seed: int = Field(0, ge=-(2**63), lt=2**63, description="decides order, crops, flips and dropped captions")
    weighting: Literal["sample", "loss"] = Field(
        "sample",
        description="sample: a sample of twice the weight is seen twice as often, to within one exposure of the exact "
        "ratio at any time (systematic resampling); loss: each is seen once an epoch and its loss is weighted (ours)",
    )
    shuffle_shards: int = Field(
        0,
        ge=0,
        description="shuffle within so many shards at a time, for data on slow disks or far away; 0 shuffles all "
        "together (ours; webdataset's shuffle buffers do alike)",
    )
    buckets: Buckets = Buckets()
    crop: Literal["centre", "random"] = Field(
        "centre", description="which part of a picture is used where its shape is not the size's (ours)"
    )
    flip: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of pictures mirrored left to right; ruins lettering (arXiv:2006.11239: 0.5)",
    )
    caption_dropout: float = Field(
        0.1, ge=0, le=1, description="share of captions left empty, for guidance (arXiv:2207.12598: 0.1 to 0.2)"
    )
    held_out: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="share of the samples that the training never sees, chosen by a hash of the uid; assay evaluate "
        "generation measures on them (ours)",
    )
    workers: int = Field(
        2,
        ge=0,
        le=256,
        description="decoding processes; 0 decodes in the training process, unguarded against crashes (ours)",
    )
    prefetch: int = Field(4, ge=1, le=256, description="batches decoded ahead (ours)")
    decode_seconds: float = Field(
        60.0,
        gt=0,
        description="a decoder that works on one picture for longer is ended; that costs the picture (ours)",
    )
    max_pixels: int = Field(MAX_PIXELS, ge=1, description="pixels of one picture (source: Pillow's own warning limit)")
    max_unreadable: float = Field(
        0.01,
        ge=0,
        le=1,
        description="share of the samples that may be unreadable; more ends training with exit code 4 (ours)",
    )
    cached_shards: int = Field(
        64,
        ge=1,
        description="shards whose cached latents are held in memory (ours); at least shuffle_shards, where "
        "that is set",
    )

    @model_validator(mode="after")
    def _together(self) -> Data:
        if self.shuffle_shards > self.cached_shards:
            raise ValueError(f"cached_shards ({self.cached_shards}) must be at least shuffle_shards")
        return self
