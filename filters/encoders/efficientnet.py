"""EfficientNet-Lite0 with its batch normalisation folded into the convolutions (inference only)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

#: Table 1 of "EfficientNet" (arXiv:1905.11946) as the Lite variant has it (no squeeze-and-excitation, ReLU6, stem and
#: head not scaled): kernel, expansion, output channels, repeats, stride of the first repeat.
_STAGES = (
    (3, 1, 16, 1, 1),
    (3, 6, 24, 2, 2),
    (5, 6, 40, 2, 2),
    (3, 6, 80, 3, 2),
    (5, 6, 112, 3, 1),
    (5, 6, 192, 4, 2),
    (3, 6, 320, 1, 1),
)
_STEM = 32
FEATURES = 1280
CLASSES = 1000

#: The batch normalisation of the published weights.
EPSILON = 1e-3


class EfficientNetLite0(nn.Module):
    """The classifier of ImageNet's 1,000 classes at 224 x 224 pixels (any multiple of 32 works).

    `convolutions` lists every convolution in the order of the forward pass, biases included, which is the order of
    the published weights.
    """

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, _STEM, 3, stride=2)]
        blocks: list[tuple[int, bool]] = []
        channels = _STEM
        for kernel, expansion, width, repeats, first_stride in _STAGES:
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                hidden = channels * expansion
                padding = kernel // 2 if stride == 1 else 0
                block = [nn.Conv2d(channels, hidden, 1)] if expansion > 1 else []
                block.append(nn.Conv2d(hidden, hidden, kernel, stride=stride, padding=padding, groups=hidden))
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
        """Return the pooled features (n, 1280) of normalised pixels (n, 3, side, side)."""
        layers = iter(self.convolutions)
        x = F.relu6(_apply(next(layers), pixels), inplace=True)
        for count, residual in self.blocks:
            y = x
            for _ in range(count - 1):
                y = F.relu6(_apply(next(layers), y), inplace=True)
            y = _apply(next(layers), y)  # a linear bottleneck: no activation
            x = x + y if residual else y
        x = F.relu6(_apply(next(layers), x), inplace=True)
        return x.mean(dim=(2, 3))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits (n, 1000) of normalised pixels (n, 3, side, side)."""
        logits: Tensor = self.classifier(self.features(pixels))
        return logits


def _apply(layer: nn.Module, x: Tensor) -> Tensor:
    """Run one convolution; one of stride 2 pads an even side as TensorFlow's SAME does, the odd pixel at the end."""
    assert isinstance(layer, nn.Conv2d)
    if layer.stride[0] == 2:
        total = layer.kernel_size[0] - 2
        before, after = total // 2, total - total // 2
        x = F.pad(x, (before, after, before, after))
    y: Tensor = layer(x)
    return y
