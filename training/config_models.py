"""Configuration of the three networks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from filters.encoders.uri import parse_uri
from filters.errors import BadInput
from training.config_base import Section

#: Channels of one level; more than any published model has (SDXL, arXiv:2307.01952: 1280).
Width = Annotated[int, Field(ge=1, le=8192)]


class AutoencoderLosses(Section):
    """What an autoencoder trained here is trained for (arXiv:2112.10752, appendix G)."""

    reconstruction: Literal["l1", "l2"] = Field(
        "l1", description="difference of pixels, a mean over values: absolute or squared (ours)"
    )
    kl: float = Field(
        1e-6,
        ge=0,
        description="weight of the KL divergence from a standard normal, a mean over latent values (arXiv:2112.10752: "
        "about 1e-6)",
    )
    perceptual: float = Field(
        0.5, ge=0, description="weight of the distance of features of builtin:mini's MobileNetV2 (as arXiv:1801.03924)"
    )
    adversarial: float = Field(
        0.0, ge=0, description="weight of the patch critic's hinge loss (arXiv:2012.09841); 0 trains no critic"
    )
    adversarial_start: int = Field(500, ge=0, description="step from which the critic takes part (arXiv:2012.09841)")
    critic_width: int = Field(32, ge=4, le=512, description="channels of the patch critic's first layer (ours)")


class Autoencoder(Section):
    """Between pictures and latents."""

    kind: Literal["train", "load", "pixels"] = Field(
        "train",
        description="train one here first; load one; or `pixels`: no autoencoder, the denoiser sees pixels themselves "
        "(latents: arXiv:2112.10752; pixels: arXiv:2006.11239)",
    )
    path: str = Field(
        "",
        description="for `load`: a folder in diffusers' layout (AutoencoderKL or AutoencoderTiny), or the name of one "
        "on a model hub that is already in the local cache",
    )
    channels: int = Field(4, ge=1, le=64, description="channels of the latents (arXiv:2112.10752: 4)")
    widths: list[Width] = Field(
        [32, 64, 64],
        min_length=1,
        max_length=8,
        description="channels a level; each level but the last halves the side (ours)",
    )
    layers: int = Field(
        1, ge=1, le=8, description="residual blocks a level (ours; AutoencoderKL's `layers_per_block`)"
    )
    groups: int = Field(
        16, ge=1, description="groups of the group normalisation; divides every width (ours; arXiv:1803.08494: 32)"
    )
    steps: int = Field(500, ge=1, le=10**9, description="optimiser steps of the autoencoder's own training (ours)")
    rate: float = Field(
        1e-3, gt=0, le=100, description="its peak learning rate (ours; small networks bear more than 1e-4)"
    )
    losses: AutoencoderLosses = AutoencoderLosses()
    cache: Literal["none", "float16", "bfloat16", "float32"] = Field(
        "none",
        description="encode every picture once before the denoiser trains, and keep the latents' means beside the "
        "shards in this precision (a retraction deletes them there too); none encodes in every step (ours)",
    )

    @model_validator(mode="after")
    def _possible(self) -> Autoencoder:
        if (self.kind == "load") != bool(self.path):
            raise ValueError("kind load and a path belong together")
        if self.kind == "pixels" and self.cache != "none":
            raise ValueError("kind pixels has no latents to cache")
        if any(width % self.groups for width in self.widths):
            raise ValueError(f"groups ({self.groups}) must divide every width ({self.widths})")
        return self


class Denoiser(Section):
    """The network that is trained to take noise away."""

    kind: Literal["unet", "transformer"] = Field(
        "unet",
        description="U-Net with cross-attention (arXiv:2112.10752), or a DiT-style transformer with cross-attention "
        "(arXiv:2212.09748; PixArt's blocks, arXiv:2310.00426)",
    )
    widths: list[Width] = Field(
        [64, 128, 128], min_length=1, max_length=8, description="U-Net: channels a level (ours)"
    )
    layers: int = Field(
        2, ge=1, le=64, description="U-Net: residual blocks a level (arXiv:2006.11239: 2); transformer: blocks (ours)"
    )
    attention_levels: int = Field(
        2,
        ge=0,
        le=8,
        description="U-Net: so many of the lowest resolutions have attention (arXiv:2006.11239: low ones)",
    )
    head_width: int = Field(32, ge=4, le=256, description="channels an attention head (ours; arXiv:2105.05233: 64)")
    heads: int = Field(
        6,
        ge=1,
        le=64,
        description="transformer: attention heads; its width is heads * head_width (arXiv:2212.09748, S: 6)",
    )
    patch: int = Field(2, ge=1, le=16, description="transformer: latent pixels a side of one token (arXiv:2212.09748)")
    groups: int = Field(
        16,
        ge=1,
        description="U-Net: groups of the group normalisation; divides every width (ours; arXiv:1803.08494: 32)",
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="dropout inside the blocks (arXiv:2006.11239: 0.1 for CIFAR-10)"
    )
    checkpointing: bool = Field(
        False,
        description="compute activations again in the backward pass: less memory for one more forward pass "
        "(arXiv:1604.06174)",
    )

    @model_validator(mode="after")
    def _possible(self) -> Denoiser:
        if self.kind == "unet" and any(width % self.groups for width in self.widths):
            raise ValueError(f"groups ({self.groups}) must divide every width ({self.widths})")
        if self.attention_levels > len(self.widths):
            raise ValueError(f"attention_levels is {self.attention_levels}, but there are {len(self.widths)} widths")
        attending = self.widths[len(self.widths) - self.attention_levels :]
        if self.kind == "unet" and any(width % self.head_width for width in [*attending, self.widths[-1]]):
            raise ValueError(f"head_width ({self.head_width}) must divide every width with attention ({self.widths})")
        if self.kind == "transformer" and self.heads * self.head_width % 4:
            raise ValueError(
                f"heads ({self.heads}) times head_width ({self.head_width}) must be a multiple of 4: places are "
                "told by a sine and a cosine of each direction"
            )
        return self


class Text(Section):
    """What the denoiser reads of captions."""

    model: str = Field(
        "", description="encoder URI (builtin:mini, open-clip:…, file:…); empty: the one of the dataset's recipe"
    )
    tokens: int = Field(
        24, ge=1, le=77, description="tokens of a caption that the denoiser sees; the rest is cut off (ours)"
    )
    cache_mb: int = Field(
        256, ge=0, description="megabytes for captions' vectors that were computed already; 0 for none (ours)"
    )

    @field_validator("model")
    @classmethod
    def _readable(cls, uri: str) -> str:
        try:
            if uri:
                parse_uri(uri)
        except BadInput as error:
            raise ValueError(str(error)) from None
        return uri
