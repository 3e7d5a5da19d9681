"""Random numbers of one sample in one step, the same on whatever process it lands and after whatever resume.

Each sample draws from a generator of its own, seeded by (seed, purpose, step, uid). So nothing depends on the batch's
neighbours, the number of processes, or what was drawn before. Numbers are drawn on the CPU and moved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def seed_of(*things: object) -> int:
    """Return 63 bits of BLAKE2b over the text of `things`."""
    text = "\x1f".join(str(thing) for thing in things)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


@dataclass(frozen=True)
class Draws:
    """The random numbers of one batch of one step."""

    seed: int
    step: int
    uids: Sequence[str]
    device: torch.device

    def normal(self, purpose: str, shape: Sequence[int]) -> Tensor:
        """Return float32 (n, *shape), standard normal."""
        rows = [torch.randn(tuple(shape), generator=self._source(purpose, uid)) for uid in self.uids]
        return self._moved(torch.stack(rows) if rows else torch.zeros(0, *shape))

    def uniform(self, purpose: str) -> Tensor:
        """Return float32 (n,) in [0, 1)."""
        rows = [torch.rand((), generator=self._source(purpose, uid)) for uid in self.uids]
        return self._moved(torch.stack(rows) if rows else torch.zeros(0))

    def _source(self, purpose: str, uid: str) -> torch.Generator:
        return torch.Generator().manual_seed(seed_of(self.seed, purpose, self.step, uid))

    def _moved(self, rows: Tensor) -> Tensor:
        if self.device.type == "cuda":
            return rows.pin_memory().to(self.device, non_blocking=True)
        return rows.to(self.device)
