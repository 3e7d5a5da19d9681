"""The patch critic of an autoencoder's optional adversarial term (arXiv:1611.07004; hinge loss, arXiv:1705.02894)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class PatchCritic(nn.Module):
    """Convolutions that judge overlapping patches: (n, 3, h, w) to (n, 1, h / 8, w / 8), higher means real."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for level in (1, 2):
            inside, outside = width * 2 ** (level - 1), width * 2**level
            layers += [nn.Conv2d(inside, outside, 4, stride=2, padding=1)]
            layers += [nn.GroupNorm(1, outside), nn.LeakyReLU(0.2)]
        layers.append(nn.Conv2d(width * 4, 1, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the judgement of each patch."""
        found: Tensor = self.layers(pictures)
        return found


def critic_loss(real: Tensor, made: Tensor) -> Tensor:
    """Return the critic's hinge loss (n,) of its judgements of real and of made pictures."""
    both = (F.relu(1.0 - real) + F.relu(1.0 + made)) / 2.0
    return both.flatten(1).mean(dim=1)


def fooling_loss(made: Tensor) -> Tensor:
    """Return what the autoencoder pays (n,) for the critic's judgement of its pictures."""
    return -made.flatten(1).mean(dim=1)
