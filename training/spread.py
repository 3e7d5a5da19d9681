"""Tensors that FSDP spreads over processes (torch's DTensor); all others pass through these functions unchanged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def local(values: Sequence[Tensor]) -> list[Tensor]:
    """Return this process's parts, which share memory with the given tensors: for sums value by value."""
    return [value.to_local() if hasattr(value, "to_local") else value for value in values]


def full(value: Tensor) -> Tensor:
    """Return the whole tensor; all processes must call it."""
    found: Tensor = value.full_tensor() if hasattr(value, "full_tensor") else value
    return found


def spread_as(value: Tensor, pattern: Tensor) -> Tensor:
    """Return `value`, the same whole tensor on all processes, spread as `pattern` is; nothing is sent."""
    if not hasattr(pattern, "to_local"):
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(pattern, DTensor)
    moved = value.to(pattern.device)
    return distribute_tensor(moved, pattern.device_mesh, pattern.placements, src_data_rank=None)


def in_order(network: nn.Module) -> nn.Module:
    """Return the network, its values in memory in the order of their axes: FSDP refuses channels-last weights."""
    return network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload, no-any-return]


@contextmanager
def gathered(network: nn.Module) -> Iterator[None]:
    """Hold all of a network's values on every process inside the block, for passes that do not begin at its root.

    All processes must come here; parts that FSDP wraps one by one gather themselves.
    """
    unshard, reshard = getattr(network, "unshard", None), getattr(network, "reshard", None)
    if unshard is not None:
        unshard()
    try:
        yield
    finally:
        if reshard is not None:
            reshard()
