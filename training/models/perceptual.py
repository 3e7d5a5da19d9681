"""Distance of two pictures as a network sees them: features of builtin:mini's MobileNetV2, which ships with Assay.

The recipe is that of arXiv:1801.03924 without its learned weights: features of several depths, each place's vector
brought to length 1, squared differences, mean over places. MobileNetV2 is not what that paper measured; the term is
used for training alone and never reported as LPIPS.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filters.encoders.mini import shipped
from filters.encoders.mobilenet import MobileNetV2
from filters.encoders.packed import read_packed

#: After so many blocks the features are compared: strides 2, 4, 8 and 16 of the picture.
_DEPTHS = (1, 3, 6, 13)

#: Mean and standard deviation of the classifier's training pictures, channels in [0, 1] (torchvision's).
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Perceptual(nn.Module):
    """Frozen features and the distance over them."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        network = MobileNetV2()
        network.load_state_dict(read_packed(shipped("mobilenet_v2.safetensors")))
        self.network = network.eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION)[:, None, None], persistent=False)

    def forward(self, pictures: Tensor, others: Tensor) -> Tensor:
        """Return the distance (n,) of pictures and others, both (n, 3, h, w) in [-1, 1]; 0 for equal ones.

        The mean over the depths; each lies between 0 and 4.
        """
        total = torch.zeros(len(pictures), device=pictures.device)
        for mine, yours in zip(self._features(pictures), self._features(others), strict=True):
            difference = F.normalize(mine.float(), dim=1) - F.normalize(yours.float(), dim=1)
            total = total + difference.square().sum(dim=1).mean(dim=(1, 2))
        return total / len(_DEPTHS)

    def _features(self, pictures: Tensor) -> list[Tensor]:
        """Return the features at each of `_DEPTHS`; the steps are those of `MobileNetV2.features`, not in place."""
        layers = iter(self.network.convolutions)
        x = F.relu6(next(layers)((pictures * 0.5 + 0.5 - self.mean) / self.deviation))
        found = []
        for place, (count, residual) in enumerate(self.network.blocks[: max(_DEPTHS)], start=1):
            y = x
            for _ in range(count - 1):
                y = F.relu6(next(layers)(y))
            y = next(layers)(y)
            x = x + y if residual else y
            if place in _DEPTHS:
                found.append(x)
        return found
