"""The autoencoder between pictures and latents: trained here, loaded, or none at all.

Pictures are float (n, 3, h, w) in [-1, 1]. Latents are what the denoiser sees: scaled to a variance of about 1
(arXiv:2112.10752, section 4.3.2) by the factor that diffusers keeps in the autoencoder's configuration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from filters.encoders.torchvision_fix import ensure_torchvision
from filters.errors import BadInput, first_line
from training.config_models import Autoencoder

#: The KL autoencoder's log variances are kept within these bounds (as diffusers' own posterior does).
_LOG_VARIANCES = (-30.0, 20.0)


class Codec(nn.Module):
    """A picture's way to latents and back, whichever autoencoder does it; `network` None passes pixels through."""

    def __init__(self, network: nn.Module | None) -> None:
        super().__init__()
        if network is not None:
            # measured: encoding costs 0.6 of the CPU time that it does with channels first
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network: Any = network

    @property
    def channels(self) -> int:
        """Channels of the latents."""
        return 3 if self.network is None else int(self.network.config.latent_channels)

    @property
    def factor(self) -> int:
        """Pixels a side of one latent pixel."""
        return 1 if self.network is None else int(2 ** (len(_levels(self.network)) - 1))

    @torch.no_grad()
    def encode(self, pixels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return scaled latents float32 (n, channels, h / factor, w / factor).

        `noise` of the latents' shape draws from the posterior of a KL autoencoder; without it, its mean.
        """
        if self.network is None:
            return pixels
        given = pixels.to(self.network.dtype, memory_format=torch.channels_last)
        found = self.network.encode(given, return_dict=False)[0]
        if not isinstance(found, Tensor):  # a posterior; the tiny autoencoder gives latents themselves
            found = found.mean if noise is None else found.mean + found.std * noise.to(found.mean.dtype)
        latents: Tensor = (found.float() - _shift(self.network)) * _scale(self.network)
        return latents.contiguous()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Return pictures float32 (n, 3, h, w) in [-1, 1] for scaled latents."""
        if self.network is None:
            return latents.float().clamp(-1, 1)
        raw = (latents / _scale(self.network) + _shift(self.network)).to(self.network.dtype)
        pictures: Tensor = self.network.decode(raw, return_dict=False)[0].float().clamp(-1, 1)
        return pictures


class Autoencoding(nn.Module):
    """One training pass of a KL autoencoder: what goes through DDP, `torch.compile` and autocast."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, pixels: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the reconstruction (n, 3, h, w), and mean and log variance of the latents (n, channels, …)."""
        posterior = self.network.encode(pixels, return_dict=False)[0]
        mean, log_variance = posterior.mean, posterior.logvar.clamp(*_LOG_VARIANCES)
        latents = mean + (0.5 * log_variance).exp() * noise
        return self.network.decode(latents, return_dict=False)[0], mean, log_variance


def new_autoencoder(config: Autoencoder) -> nn.Module:
    """Return a new, untrained `AutoencoderKL`; its numbers come from torch's generator."""
    ensure_torchvision()
    from diffusers import AutoencoderKL

    levels = len(config.widths)
    network: nn.Module = AutoencoderKL(
        latent_channels=config.channels,
        block_out_channels=tuple(config.widths),
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=config.layers,
        norm_num_groups=config.groups,
    )
    return network


def load_autoencoder(path: str) -> nn.Module:
    """Load an `AutoencoderKL` or `AutoencoderTiny` in evaluation mode. Raises `BadInput` in one line.

    `path` is a folder in diffusers' layout (the autoencoder itself, or a checkpoint with a folder `vae`), or a name
    on a model hub whose files lie in the local cache. Only safetensors are read.
    """
    ensure_torchvision()
    from diffusers import AutoencoderKL, AutoencoderTiny

    place = path.removeprefix("file:")
    folder = Path(place)
    inside = "vae" if (folder / "vae" / "config.json").is_file() else None
    try:
        kind = AutoencoderKL.load_config(place, subfolder=inside, local_files_only=True)["_class_name"]
        if kind not in ("AutoencoderKL", "AutoencoderTiny"):
            raise BadInput(f"autoencoder.path: {path} holds a {kind}, not an AutoencoderKL or AutoencoderTiny")
        chosen: Any = AutoencoderKL if kind == "AutoencoderKL" else AutoencoderTiny
        network = chosen.from_pretrained(place, subfolder=inside, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if not folder.exists():  # diffusers then tells of a hub that it was not allowed to ask
            raise BadInput(f"autoencoder.path: {path}: no such folder, nor a model in the hub's local cache") from None
        raise BadInput(f"autoencoder.path: cannot load {path} ({first_line(error)})") from None
    return freeze(network)


def freeze(network: nn.Module) -> nn.Module:
    """Return the network in evaluation mode, without gradients."""
    return network.eval().requires_grad_(False)


@torch.no_grad()
def fit_scale(network: nn.Module, pictures: list[Tensor]) -> float:
    """Set the scaling factor to 1 / standard deviation of the latents' means of `pictures`; return it."""
    codec = Codec(network)
    codec.network.register_to_config(scaling_factor=1.0)
    values = torch.cat([codec.encode(picture).flatten().double() for picture in pictures])
    factor = round(1.0 / max(float(values.std()), 1e-6), 6)
    codec.network.register_to_config(scaling_factor=factor)
    return factor


def _levels(network: Any) -> list[int]:
    config = network.config
    return list(config.get("encoder_block_out_channels") or config.block_out_channels)


def _scale(network: Any) -> float:
    return float(network.config.get("scaling_factor") or 1.0)


def _shift(network: Any) -> float:
    return float(network.config.get("shift_factor") or 0.0)
