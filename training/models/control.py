"""The control network: a copy of a U-Net's encoder that reads a picture's edges (ControlNet, arXiv:2302.05543)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from filters.encoders.torchvision_fix import ensure_torchvision
from filters.errors import BadInput

#: Channels of the small encoder that brings the edges to the latents' size; each but the last is halved once.
_CHANNELS = (16, 32, 96, 256)


@dataclass(frozen=True)
class Control:
    """A control network at work. `condition`: the edges (n or 1, 3, h, w) at picture size; `scale` of its output."""

    network: nn.Module
    condition: Tensor
    scale: float = 1.0


def new_control(unet: nn.Module, factor: int) -> Any:
    """Return diffusers' `ControlNetModel` with the weights of a U-Net's encoder, to be trained.

    `factor`: pixels a side of one latent pixel. All that it adds to the U-Net goes through convolutions of zeros, so
    that it changes nothing before it is trained. Raises `BadInput` where the denoiser is no U-Net.
    """
    ensure_torchvision()
    from diffusers import ControlNetModel, UNet2DConditionModel

    if not isinstance(unet, UNet2DConditionModel):
        raise BadInput("method.kind controlnet copies a U-Net's encoder, but the base's denoiser is a transformer")
    halvings = factor.bit_length() - 1
    channels = (*_CHANNELS, *_CHANNELS[-1:] * halvings)[: halvings + 1]
    network = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=channels)
    return network.train().requires_grad_(True)


def controlled(unet: nn.Module, control: Control, noisy: Tensor, levels: Tensor, text: Tensor, mask: Tensor) -> Tensor:
    """Return the U-Net's output (n, channels, h, w) with what the control network adds to its skip connections.

    Arguments as of `training.models.denoiser.denoise`. Diffusers' control network takes no mask of text; vectors that
    stand for no token are zero.
    """
    down, middle = control.network(
        noisy,
        timestep=levels,
        encoder_hidden_states=text,
        controlnet_cond=control.condition.to(noisy).expand(len(noisy), -1, -1, -1),
        conditioning_scale=control.scale,
        return_dict=False,
    )
    called: Any = unet
    found: Tensor = called(
        noisy,
        timestep=levels,
        encoder_hidden_states=text,
        encoder_attention_mask=mask,
        down_block_additional_residuals=down,
        mid_block_additional_residual=middle,
        return_dict=False,
    )[0]
    return found
