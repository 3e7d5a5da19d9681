"""A batch as the training loop gets it, and how picture tensors are scaled."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch

from training.data.order import Cursor


class Unreadable(NamedTuple):
    """A sample that could not be read: its uid, a reason code, what exactly was wrong."""

    uid: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Batch:
    """The b samples of one process's share of a global batch; b may be less than planned, even 0: where all of them
    are unreadable, or have been removed.

    `epoch`, `number`: which batch of which epoch; `last`: whether it is the epoch's last one; `cursor`: where to go on
    after it; `view`, `rows` int64 (b,): the samples' places in the view of that name. `images` uint8 (b, 3, h, w);
    empty where latents are cached. `captions`: b texts, empty where dropped; `dropped` bool (b,). `weights` float32
    (b,): of each sample's loss, 1 on average over the dataset. `sizes` int32 (b, 2): height and width of the upright
    picture; `crops` int32 (b, 2): top and left of the crop, in the resized picture; `flipped` bool (b,). `planned`:
    samples of the global batch over all processes, without removed ones. `latents`: cached ones (b, ...),
    None without a cache. `unreadable`: samples of this share that could not be read, which are in none of
    the above.
    """

    epoch: int
    number: int
    last: bool
    cursor: Cursor
    view: str
    rows: np.ndarray
    uids: list[str]
    images: torch.Tensor
    captions: list[str]
    dropped: torch.Tensor
    weights: torch.Tensor
    sizes: torch.Tensor
    crops: torch.Tensor
    flipped: torch.Tensor
    planned: int
    latents: torch.Tensor | None = None
    unreadable: tuple[Unreadable, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.uids)

    @property
    def pixels(self) -> torch.Tensor:
        """Return float32 (b, 3, h, w) in [-1, 1]; `scaled(batch.images.to(device))` does the same on a device."""
        return scaled(self.images)


def stand_in(batch: Batch) -> Batch:
    """Return a batch without samples with one grey picture in it, and any other as it is.

    Processes exchange numbers with every batch, so that one which has no sample must not stay away. The picture has no
    row and no weight (`weights` stays empty), so that it teaches nothing and is counted nowhere.
    """
    if len(batch):
        return batch
    _, _, height, width = batch.images.shape
    return replace(
        batch,
        uids=["0" * 32],
        images=torch.full((1, 3, height, width), 128, dtype=torch.uint8),
        captions=[""],
        dropped=torch.ones(1, dtype=torch.bool),
        sizes=torch.tensor([[height, width]], dtype=torch.int32),
        crops=torch.zeros(1, 2, dtype=torch.int32),
        flipped=torch.zeros(1, dtype=torch.bool),
        latents=None,
    )


def scaled(images: torch.Tensor) -> torch.Tensor:
    """Return uint8 pixels as float32 in [-1, 1]: 0 is -1, 255 is 1."""
    return images.to(torch.float32).mul_(2 / 255).sub_(1)
