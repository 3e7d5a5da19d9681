"""A checkpoint made ready for sampling: checked against its hashes, loaded, and put on a device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from filters.encoders.torchvision_fix import ensure_torchvision
from filters.errors import BadInput, first_line
from training.checkpoints import newest as newest  # named here for all that loads models
from training.checkpoints import verified_facts
from training.contents import CONFIG, INDEX
from training.models.autoencoder import Codec, load_autoencoder
from training.models.text import TextEncoder
from training.sampling.stated import read_object, require_same_data, require_stated

Precision = Literal["fp32", "bf16", "fp16"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

#: Stages whose checkpoints are whole models: trained from nothing, or distilled into few steps.
WHOLE = ("denoiser", "consistency", "progressive")

#: Side in pixels up to which a picture is decoded in one piece.
_TILE = 512

#: Megabytes for prompts' vectors; a batch of prompts is small beside a training's captions.
_TEXT_MB = 16


@dataclass(frozen=True)
class Running:
    """How the networks run. The autoencoder stays in float32: half precision overflows in some of them."""

    precision: Precision = "fp32"
    device: Literal["auto", "cpu"] = "auto"
    compile: bool = False
    tiling: bool = False

    def place(self) -> torch.device:
        """Return the device. Raises `BadInput` where it cannot do the precision."""
        if self.precision not in DTYPES:
            raise BadInput(f"--precision {self.precision}: one of {', '.join(DTYPES)}")
        device = torch.device("cuda" if self.device == "auto" and torch.cuda.is_available() else "cpu")
        if self.precision == "fp16" and device.type == "cpu":
            raise BadInput("--precision fp16 needs a GPU: take fp32 or bf16")
        return device


@dataclass(frozen=True)
class Model:
    """A loaded checkpoint: its networks, its facts (`assay.json`), and its scheduler's configuration."""

    path: Path
    facts: dict[str, Any]
    network: Any
    codec: Codec
    text: TextEncoder
    scheduler: dict[str, Any]
    device: torch.device
    dtype: torch.dtype

    @property
    def identity(self) -> str:
        """Return the checkpoint's SHA-256, 64 hex digits."""
        return str(self.facts["checkpoint"])

    @property
    def channels(self) -> int:
        """Return the channels of the latents."""
        return int(self.network.config.in_channels)

    @property
    def side(self) -> int:
        """Return the side in pixels of the square pictures that it was trained on."""
        return int(self.network.config.sample_size) * self.codec.factor

    @property
    def multiple(self) -> int:
        """Return what the sides of a picture must be multiples of."""
        config = self.network.config
        levels = config.get("block_out_channels")
        return self.codec.factor * (2 ** (len(levels) - 1) if levels else int(config.patch_size))


def load_model(path: Path, running: Running) -> Model:
    """Load a checkpoint of `assay train`. Raises `BadInput` where it is none, or its files are not the stated ones.

    Only safetensors are read, nothing is fetched, and no code of the checkpoint runs.
    """
    device = running.place()
    facts = checked_facts(path)
    if facts.get("stage") not in WHOLE:
        raise BadInput(f"{path}: a checkpoint of the stage {facts.get('stage')}; pictures need one of the denoiser")
    ensure_torchvision()
    dtype = DTYPES[running.precision]
    network = _network(path, dtype).eval().requires_grad_(False).to(device)
    index, scheduler = read_object(path / INDEX), read_object(path / "scheduler" / "scheduler_config.json")
    text = TextEncoder(str(index["text_model"]), int(index["text_tokens"]), _TEXT_MB, device)
    if index.get("text_id") != text.id:
        raise BadInput(f"{path}: trained with the text encoder {index.get('text_id')}, but this is {text.id}")
    vae: Any = load_autoencoder(str(path)) if (path / "vae").is_dir() else None
    if running.tiling:
        if vae is None:
            raise BadInput("--tiling: this checkpoint works on pixels and has no autoencoder to tile")
        vae.enable_tiling()
        # a new autoencoder's own bound is 32 pixels; seams cost quality, so only what is large is cut
        vae.tile_sample_min_size, vae.tile_latent_min_size = _TILE, _TILE // Codec(vae).factor
    if running.compile:
        network = torch.compile(network)
    codec = Codec(None if vae is None else vae.to(device))
    return Model(path, facts, network, codec, text, scheduler, device, dtype)


def checked_facts(path: Path) -> dict[str, Any]:
    """Return a checkpoint's facts, with every shipped file held against its hash. Raises `BadInput`.

    The identity goes into signed credentials, so it must be that of the weights that make the pictures; so do name,
    step, data and bases, which must be those that the training wrote.
    """
    facts = verified_facts(path)
    require_stated(path, facts)
    needed = {INDEX, CONFIG, "scheduler/scheduler_config.json"} if facts.get("stage") in WHOLE else set()
    if missing := needed - facts["files"].keys():
        raise BadInput(f"{path}: {', '.join(sorted(missing))} is missing")
    require_same_data(path, facts)
    return facts


def _network(path: Path, dtype: torch.dtype) -> Any:
    from diffusers import PixArtTransformer2DModel, UNet2DConditionModel

    kind: Any = UNet2DConditionModel if (path / "unet").is_dir() else PixArtTransformer2DModel
    folder = "unet" if (path / "unet").is_dir() else "transformer"
    try:
        return kind.from_pretrained(
            path, subfolder=folder, local_files_only=True, use_safetensors=True, torch_dtype=dtype
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise BadInput(f"{path / folder}: cannot be loaded ({first_line(error)})") from None
