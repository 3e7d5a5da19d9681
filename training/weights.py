"""Weights and optimiser state on disk: safetensors for what is shipped, plain tensors for what resumes."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from filters.errors import BadInput, first_line

#: File of a network in diffusers' layout.
WEIGHTS = "diffusion_pytorch_model.safetensors"

#: Gathers what FSDP spreads over processes to the first one; plain and DDP networks pass through it unchanged.
_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
_SPREAD = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights by name on the CPU; with FSDP on the first process only. All processes must call it.

    Of a network that is partly frozen, only the values that require gradients: the rest is its base's.
    """
    state = {name: torch.as_tensor(value) for name, value in get_model_state_dict(network, options=_WHOLE).items()}
    trained = _trained(network)
    return {name: value for name, value in state.items() if trained is None or name in trained}


def optimiser_of(network: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the optimiser's state on the CPU, as `state_of`."""
    return dict(get_optimizer_state_dict(network, optimiser, options=_WHOLE))


def put_state(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Set the weights, as `state_of` returned them. Raises `ValueError` for those of another network."""
    options, trained = _spread(), _trained(network)
    if trained is not None:
        if state and state.keys() != trained:  # with FSDP they are on the first process alone
            raise ValueError(f"weights of other names: {sorted(state.keys() ^ trained)[:3]}")
        options = dataclasses.replace(options, strict=False)
    set_model_state_dict(_inner(network), dict(state), options=options)


def _trained(network: nn.Module) -> set[str] | None:
    """Return the names of what requires gradients, without DDP's prefix; None where nothing is frozen."""
    named = [(name.removeprefix("module."), one.requires_grad) for name, one in network.named_parameters()]
    return None if all(trains for _, trains in named) else {name for name, trains in named if trains}


def put_optimiser(network: nn.Module, optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Set the optimiser's state, as `optimiser_of` returned it."""
    set_optimizer_state_dict(_inner(network), optimiser, state, options=_spread())


def _inner(network: nn.Module) -> nn.Module:
    """Return what DDP wraps: torch takes its prefix from names as it reads them, but not as it broadcasts them."""
    return network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network


def _spread() -> StateDictOptions:
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    return _SPREAD if several else StateDictOptions(full_state_dict=True)


def whole(values: list[Tensor]) -> list[Tensor]:
    """Return tensors that FSDP spreads over processes as whole ones on the CPU; all processes must call it."""
    return [(value.full_tensor() if hasattr(value, "full_tensor") else value).detach().cpu() for value in values]


def save_weights(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file, `metadata` in its head; the same values give the same bytes.

    Raises `OSError` where the disk is full.
    """
    head = {"format": "pt", **(metadata or {})}
    with _disk_errors(path):
        save_file({name: value.contiguous() for name, value in state.items()}, path, metadata=head)
        _sort_metadata(path)


def _sort_metadata(path: Path) -> None:
    """Bring the head's metadata into order in place: the library writes several entries in one that changes."""
    with path.open("r+b") as stream:
        length = int.from_bytes(stream.read(8), "little")
        head = json.loads(stream.read(length))
        head["__metadata__"] = dict(sorted(head["__metadata__"].items()))
        text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) > length:
            raise ValueError(f"{path}: the head's text has another length than the library's")
        stream.seek(8)
        stream.write(text.ljust(length))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file. Raises `BadInput`."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{path}: unreadable weights ({first_line(error)}); delete this checkpoint") from None


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values. Raises `OSError` where the disk is full."""
    with _disk_errors(path), path.open("wb") as stream:
        torch.save(state, stream)


def read_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote; code in the file is never run. Raises `BadInput`."""
    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise BadInput(f"{path}: unreadable state ({first_line(error)}); delete this checkpoint") from None
    return found


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turn what the two libraries raise on a failed write into the `OSError` that it was."""
    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        text = str(error)
        full = "No space left" in text or "os error 28" in text or "failed writing" in text or "file write" in text
        if not full:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
