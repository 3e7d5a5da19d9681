"""What the units of a network do while it runs: their values and those that stay silent, seen through hooks.

Also which values the gradients of its blocks have. Nothing is computed that was not computed anyway, no random number
is drawn and no gradient is kept, so a training that is watched gives the same numbers as one that is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from training.spread import full

#: Activation functions: torch's, and those of diffusers that are modules of their own.
_KINDS = frozenset({"SiLU", "GELU", "ReLU", "LeakyReLU", "GEGLU", "ApproximateGELU"})

#: A channel is silent where no value is above this in size (ours).
SILENT = 1e-4

#: Values kept of one output, or of one block's gradients, at even distances: enough for a histogram of any network.
_KEPT = 1024


@dataclass
class Activity:
    """What was seen, by block (`down_blocks.0`): some of the values, and one bool a channel, true for silent."""

    values: dict[str, list[Tensor]] = field(default_factory=dict)
    silent: dict[str, list[Tensor]] = field(default_factory=dict)

    def add(self, block: str, found: Tensor) -> None:
        """Add one output of an activation function, (n, channels, h, w) or (n, ..., channels)."""
        flat = found.detach().float()
        channel = 1 if flat.ndim == 4 else flat.ndim - 1
        others = [axis for axis in range(flat.ndim) if axis != channel]
        self.silent.setdefault(block, []).append(flat.abs().amax(dim=others) < SILENT)
        numbers = flat.reshape(-1)
        self.values.setdefault(block, []).append(numbers[:: max(1, -(-len(numbers) // _KEPT))])

    def sampled(self) -> dict[str, list[float]]:
        """Return the kept values by block."""
        return {block: torch.cat(found).tolist() for block, found in self.values.items()}

    def dead(self) -> dict[str, float]:
        """Return the share of silent channels by block, 0 to 1."""
        return {block: float(torch.cat(found).float().mean()) for block, found in self.silent.items()}


@contextmanager
def watched(network: nn.Module) -> Iterator[Activity]:
    """Watch all activation functions of a network inside the block; wrappers' names are left out of block names."""
    activity = Activity()
    hooks = [_hook(module, block_of(name), activity) for name, module in _named(network)]
    try:
        yield activity
    finally:
        for hook in hooks:
            hook.remove()


def _named(network: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    return ((name, module) for name, module in network.named_modules() if type(module).__name__ in _KINDS)


def _hook(module: nn.Module, block: str, activity: Activity) -> torch.utils.hooks.RemovableHandle:
    def seen(_module: nn.Module, _given: object, found: object) -> None:
        if isinstance(found, Tensor):
            activity.add(block, found)

    return module.register_forward_hook(seen)


def gradients_by_block(blocks: Sequence[str], gradients: Sequence[Tensor]) -> dict[str, list[float]]:
    """Return at most 1,024 values of each block's gradients, at even distances over all of its tensors in order.

    `blocks` names each tensor's block. All processes must call it where FSDP spreads the gradients.
    """
    totals: Counter[str] = Counter()
    for block, gradient in zip(blocks, gradients, strict=True):
        totals[block] += gradient.numel()
    passed: Counter[str] = Counter()
    found: dict[str, list[Tensor]] = {}
    for block, gradient in zip(blocks, gradients, strict=True):
        stride = -(-totals[block] // _KEPT)
        values = full(gradient).detach().reshape(-1)
        found.setdefault(block, []).append(values[-passed[block] % stride :: stride].float())
        passed[block] += len(values)
    return {block: torch.cat(values).tolist() for block, values in found.items()}


def block_of(name: str) -> str:
    """Return a module's block: the first parts of its name up to a number (`up_blocks.1`), else the first two."""
    parts = [part for part in name.split(".") if part not in ("module", "_orig_mod", "network")]
    kept: list[str] = []
    for part in parts[:4]:
        kept.append(part)
        if part.isdigit():
            break
    return ".".join(kept if kept and kept[-1].isdigit() else parts[:2]) or "network"
