"""The denoiser: diffusers' U-Net or transformer, both conditioned on a sequence of text vectors by cross-attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from filters.encoders.torchvision_fix import ensure_torchvision
from filters.errors import BadInput
from training.config_models import Denoiser


def new_denoiser(config: Denoiser, channels: int, side: int, text_width: int) -> nn.Module:
    """Return a new denoiser for latents (n, `channels`, `side`, `side`); other shapes work too.

    Its numbers come from torch's generator. Raises `BadInput` where the latents are too small for its levels.
    """
    smallest = 2 ** (len(config.widths) - 1) if config.kind == "unet" else config.patch
    if side % smallest:
        raise BadInput(
            f"denoiser: latents of {side} pixels a side do not divide by {smallest}; take fewer widths, a smaller "
            "patch, or larger pictures"
        )
    ensure_torchvision()
    build = _unet if config.kind == "unet" else _transformer
    network = build(config, channels, side, text_width)
    if config.checkpointing:
        network.enable_gradient_checkpointing()
    found: nn.Module = network
    return found


def _unet(config: Denoiser, channels: int, side: int, text_width: int) -> Any:
    from diffusers import UNet2DConditionModel

    plain = len(config.widths) - config.attention_levels
    attending = [level >= plain for level in range(len(config.widths))]
    return UNet2DConditionModel(
        sample_size=side,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=tuple(config.widths),
        down_block_types=tuple("CrossAttnDownBlock2D" if has else "DownBlock2D" for has in attending),
        up_block_types=tuple("CrossAttnUpBlock2D" if has else "UpBlock2D" for has in reversed(attending)),
        layers_per_block=config.layers,
        cross_attention_dim=text_width,
        # diffusers reads this as the number of heads (its issue 2011), one entry a level
        attention_head_dim=tuple(max(1, width // config.head_width) for width in config.widths),
        norm_num_groups=config.groups,
        dropout=config.dropout,
    )


def _transformer(config: Denoiser, channels: int, side: int, text_width: int) -> Any:
    from diffusers import PixArtTransformer2DModel

    return PixArtTransformer2DModel(
        sample_size=side,
        in_channels=channels,
        out_channels=channels,
        num_attention_heads=config.heads,
        attention_head_dim=config.head_width,
        cross_attention_dim=config.heads * config.head_width,
        num_layers=config.layers,
        patch_size=config.patch,
        dropout=config.dropout,
        caption_channels=text_width,
        use_additional_conditions=False,
    )


def denoise(network: nn.Module, noisy: Tensor, levels: Tensor, text: Tensor, mask: Tensor) -> Tensor:
    """Return the network's output, of the shape of `noisy` (n, channels, h, w).

    `levels` (n,): steps of the schedule, or 1000 * t for rectified flow; `text` (n, tokens, width) with `mask`
    (n, tokens), true where there is a token.
    """
    given: dict[str, Any] = {"encoder_hidden_states": text, "encoder_attention_mask": mask}
    if hasattr(_plain(network), "pos_embed"):  # PixArt's transformer
        given["added_cond_kwargs"] = {"resolution": None, "aspect_ratio": None}
    found: Tensor = network(noisy, timestep=levels, return_dict=False, **given)[0]
    return found


def _plain(network: nn.Module) -> nn.Module:
    """Return the network inside wrappers of DDP and `torch.compile`."""
    inside = getattr(network, "module", None) or getattr(network, "_orig_mod", None)
    return _plain(inside) if isinstance(inside, nn.Module) else network


def parameters(network: nn.Module) -> int:
    """Return the number of trained parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


@torch.no_grad()
def dead_units(network: nn.Module, noisy: Tensor, levels: Tensor, text: Tensor, mask: Tensor) -> float:
    """Return the share of channels behind an activation function that are silent for all of the samples.

    Silent: no value above 1e-4 in size. The pass changes nothing: no gradients, no random numbers drawn.
    """
    silent: list[Tensor] = []

    def watch(module: nn.Module, given: object, found: Tensor) -> None:
        channel = 1 if found.ndim == 4 else found.ndim - 1
        others = [axis for axis in range(found.ndim) if axis != channel]
        silent.append(found.abs().amax(dim=others) < 1e-4)

    plain = _plain(network)
    kinds = (nn.SiLU, nn.GELU, nn.ReLU)
    hooks = [module.register_forward_hook(watch) for module in plain.modules() if isinstance(module, kinds)]
    training = plain.training
    try:
        denoise(plain.eval(), noisy, levels, text, mask)
    finally:
        plain.train(training)
        for hook in hooks:
            hook.remove()
    return float(torch.cat(silent).float().mean()) if silent else 0.0
