"""Low-rank adapters on a denoiser, by peft: put on, written and read in diffusers' layout.

An adapter's file is `pytorch_lora_weights.safetensors`. Its names are the denoiser's with `unet.` or `transformer.` in
front; rank and alpha stand in its metadata, where diffusers looks for them:

    unet.load_lora_adapter(DIR, prefix="unet", weight_name="pytorch_lora_weights.safetensors")
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from filters.errors import BadInput, first_line
from filters.json_text import read_json
from training.config_method import Lora
from training.weights import save_weights

FILE = "pytorch_lora_weights.safetensors"

#: Key of the metadata in diffusers' layout.
_METADATA = "lora_adapter_metadata"

#: peft's name of the one adapter that a network has here.
_NAME = "default"

_MAX_RANK, _MAX_ALPHA = 4096, 1e6


def adapt(network: Any, wanted: Lora) -> list[str]:
    """Put new adapters on the network; return the names of the layers that got one, and train nothing else.

    The first factor's numbers come from torch's generator, the second is 0 (arXiv:2106.09685, section 4.1), so that
    nothing changes yet. Raises `BadInput` where a target is no layer of it.
    """
    names = [name for name, module in network.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    for target in wanted.targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            raise BadInput(f"method.targets: no layer of the base's denoiser is called {target!r}")
    network.requires_grad_(False)
    _put_on(network, _peft_config(wanted.rank, wanted.alpha or wanted.rank, wanted.dropout, wanted.targets))
    return sorted(name.removesuffix(f".lora_A.{_NAME}") for name, _ in network.named_modules() if _is_first(name))


def _is_first(name: str) -> bool:
    return name.endswith(f".lora_A.{_NAME}")


def _peft_config(rank: int, alpha: float, dropout: float, targets: list[str]) -> Any:
    try:
        from peft import LoraConfig
    except ImportError:
        raise BadInput("adapters need the package peft: pip install 'assay-data[train]'") from None
    return LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=targets, init_lora_weights=True)


def _put_on(network: Any, config: Any) -> None:
    if hasattr(network, "add_adapter"):
        network.add_adapter(config, adapter_name=_NAME)
        return
    from peft import inject_adapter_in_model  # diffusers' PixArt has no method of its own

    inject_adapter_in_model(config, network, adapter_name=_NAME)


def save_adapter(folder: Path, kind: str, weights: Mapping[str, Tensor], wanted: Lora) -> None:
    """Write the adapters' weights, named as the network names them; `kind`: `unet` or `transformer`."""
    plain = {f"{kind}.{name.replace(f'.{_NAME}.', '.')}": value for name, value in weights.items()}
    facts: dict[str, Any] = {
        "r": wanted.rank,
        "lora_alpha": wanted.alpha or wanted.rank,
        "target_modules": sorted(wanted.targets),
        "rank_pattern": {},  # these two are read unasked by older versions of diffusers
        "alpha_pattern": {},
    }
    packed = json.dumps({f"{kind}.{name}": value for name, value in facts.items()}, sort_keys=True)
    save_weights(folder / FILE, plain, {_METADATA: packed})


def put_adapter(network: Any, folder: Path, kind: str, scale: float) -> None:
    """Put the adapters of a checkpoint's folder on a frozen network; their output counts `scale` times.

    Raises `BadInput` where the file is not readable, or not of such a network.
    """
    path = folder / FILE
    weights, facts = _read(path, f"{kind}.")
    rank, alpha, targets = facts.get("r"), facts.get("lora_alpha"), facts.get("target_modules")
    sound = isinstance(rank, int) and 1 <= rank <= _MAX_RANK
    sound = sound and isinstance(alpha, (int, float)) and 0 < alpha <= _MAX_ALPHA
    if not sound or not isinstance(targets, list) or not all(isinstance(one, str) for one in targets):
        raise BadInput(f"{path}: does not state rank, alpha and layers of its adapters")
    assert isinstance(rank, int)
    assert isinstance(alpha, (int, float))
    network.requires_grad_(False)
    try:
        _put_on(network, _peft_config(rank, float(alpha), 0.0, targets))
    except ValueError as error:
        raise BadInput(f"{path}: does not fit the base ({first_line(error)})") from None
    own = {name.replace(f".{_NAME}.", "."): one for name, one in network.named_parameters() if ".lora_" in name}
    if own.keys() != weights.keys() or any(one.shape != weights[name].shape for name, one in own.items()):
        raise BadInput(f"{path}: its layers are not those of the base")
    with torch.no_grad():
        for name, one in own.items():
            one.data = weights[name].to(network.device, network.dtype)
    network.requires_grad_(False).eval()
    for module in network.modules():
        if hasattr(module, "set_scale") and hasattr(module, "lora_A"):
            module.set_scale(_NAME, scale)


def _read(path: Path, prefix: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            facts = read_json((file.metadata() or {}).get(_METADATA, "{}"))
            weights = {name.removeprefix(prefix): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise BadInput(f"{path}: unreadable adapter ({first_line(error)})") from None
    if not isinstance(facts, dict):
        raise BadInput(f"{path}: does not state rank, alpha and layers of its adapters")
    return weights, {str(name).removeprefix(prefix): value for name, value in facts.items()}
