"""Weights files: read without running anything, and identified by the SHA-256 of their tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from filters.errors import BadInput, first_line

#: Pickles that torch reads with `weights_only=True`: tensors and plain containers, no code.
_TORCH_SUFFIXES = (".pt", ".pth", ".bin")
_SAFE_SUFFIX = ".safetensors"


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every tensor in a weights file, without running anything that it holds.

    Reads `.safetensors`, and `.pt`, `.pth`, `.bin` through torch's restricted reader. The prefix `module.` of
    multi-GPU training is taken off. Raises `BadInput` where the file is missing, of another kind, damaged, empty,
    or holds more than tensors.
    """
    if not path.is_file():
        raise BadInput(f"no weights file at {path}")
    if path.suffix == _SAFE_SUFFIX:
        shapes = _safetensors_shapes(path)
    elif path.suffix in _TORCH_SUFFIXES:
        shapes = _torch_shapes(path)
    else:
        raise BadInput(f"{path}: weights are read from .safetensors (or .pt, .pth, .bin holding tensors only)")
    if not shapes:
        raise BadInput(f"{path} holds no tensors")
    return {name.removeprefix("module."): shape for name, shape in shapes.items()}


def _safetensors_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(path, "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # SafetensorError is not exported as a class that type checkers know
        raise BadInput(f"{path} is not a readable safetensors file: {first_line(error)}") from error


def _torch_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged or hostile pickles make the restricted reader raise anything
        raise BadInput(
            f"{path} is damaged or holds more than tensors, and pickled code is never run: "
            "save its state dict as .safetensors"
        ) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else {}
    if not isinstance(state, Mapping):
        state = {}
    return {name: tuple(value.shape) for name, value in state.items() if isinstance(value, Tensor)}


def state_digest(module: nn.Module) -> str:
    """Return the SHA-256 (64 hex digits) of a module's tensors: names, types, shapes and bytes, in name order.

    The same weights give the same digest whatever file or tag they came from. Call it before any cast to a
    smaller type.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
