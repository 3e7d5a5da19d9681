"""MobileNetV2 with its batch normalisation folded into the convolutions (inference only)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Table 2 of "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (arXiv:1801.04381):
#: expansion, output channels, repeats, stride of the first repeat.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM = 32
FEATURES = 1280
CLASSES = 1000


class MobileNetV2(nn.Module):
    """The classifier of ImageNet's 1,000 classes at 224 x 224 pixels, width 1.0.

    `convolutions` lists every convolution in the order of the forward pass, biases included: the order of
    torchvision's `mobilenet_v2`, whose batch normalisation `scripts/build_mini.py` folds in.
    """

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, _STEM, 3, stride=2, padding=1)]
        blocks: list[tuple[int, bool]] = []
        channels = _STEM
        for expansion, width, repeats, first_stride in _STAGES:
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                hidden = channels * expansion
                block = [nn.Conv2d(channels, hidden, 1)] if expansion > 1 else []
                block.append(nn.Conv2d(hidden, hidden, 3, stride=stride, padding=1, groups=hidden))
                block.append(nn.Conv2d(hidden, width, 1))
                layers.extend(block)
                blocks.append((len(block), stride == 1 and channels == width))
                channels = width
        layers.append(nn.Conv2d(channels, FEATURES, 1))
        self.convolutions = nn.ModuleList(layers)
        self.classifier = nn.Linear(FEATURES, CLASSES)
        #: Number of convolutions of each block, and whether its input is added.
        self.blocks = tuple(blocks)

    def features(self, pixels: Tensor) -> Tensor:
        """Return the pooled features (n, 1280) of normalised pixels (n, 3, 224, 224)."""
        layers = iter(self.convolutions)
        x = F.relu6(next(layers)(pixels), inplace=True)
        for count, residual in self.blocks:
            y = x
            for _ in range(count - 1):
                y = F.relu6(next(layers)(y), inplace=True)
            y = next(layers)(y)  # a linear bottleneck: no activation
            x = x + y if residual else y
        x = F.relu6(next(layers)(x), inplace=True)
        return x.mean(dim=(2, 3))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits (n, 1000) of normalised pixels (n, 3, 224, 224)."""
        logits: Tensor = self.classifier(self.features(pixels))
        return logits


def fold(state: dict[str, Tensor], epsilon: float = 1e-5) -> dict[str, Tensor]:
    """Fold batch normalisation into the convolutions before it (float32), for networks that list both in one order.

    Takes the state dict of torchvision's `mobilenet_v2`, or that of EfficientNet-Lite0 with its `epsilon` of 1e-3.
    Per output channel, with gamma, beta, mean, var of the normalisation after it:
    weight' = weight * gamma / sqrt(var + epsilon), bias' = beta - mean * gamma / sqrt(var + epsilon).
    """
    folded: dict[str, Tensor] = {}
    convolutions = [key for key, value in state.items() if key.endswith(".weight") and value.ndim == 4]
    norms = [key.removesuffix(".running_var") for key in state if key.endswith(".running_var")]
    for index, (key, norm) in enumerate(zip(convolutions, norms, strict=True)):
        scale = state[f"{norm}.weight"].double() / torch.sqrt(state[f"{norm}.running_var"].double() + epsilon)
        bias = state[f"{norm}.bias"].double() - state[f"{norm}.running_mean"].double() * scale
        folded[f"convolutions.{index}.weight"] = (state[key].double() * scale[:, None, None, None]).float()
        folded[f"convolutions.{index}.bias"] = bias.float()
    (last,) = [key.removesuffix(".weight") for key, value in state.items() if value.ndim == 2]
    for part in ("weight", "bias"):
        folded[f"classifier.{part}"] = state[f"{last}.{part}"].float()
    return folded
