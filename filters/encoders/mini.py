"""`builtin:mini`: an image-text encoder that ships with the package and needs no network.

Pictures: the posterior of two ImageNet classifiers over 1,000 classes weighs the classes' vectors in a sentence
encoder's space (ConSE, arXiv:1312.5650, over all classes instead of the best ten). A head trained on public-domain
drawings adds what the classes do not name; a gate lets it through for pictures that look like drawings and shuts it
for photos, of which it saw none. Texts: a small sentence encoder of our own. docs/models/mini.md states data,
licences, results and what it is bad at. Matched pairs have a cosine near 0.2, mismatched ones near 0.0: thresholds
made for CLIP do not carry over.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from filters.encoders import mini_weights
from filters.encoders.efficientnet import EfficientNetLite0
from filters.encoders.mobilenet import CLASSES, FEATURES, MobileNetV2
from filters.encoders.openclip import Surface
from filters.encoders.packed import read_packed
from filters.encoders.text_tower import WIDTH, TextTower, WordPieces

SIDE = 224
HIDDEN = 768
COMPONENTS = 64

#: Mean and standard deviation that the classifiers were trained with, for channels in [0, 1]: torchvision's for
#: MobileNetV2, TensorFlow's (127 and 128 of 255) for EfficientNet-Lite0.
_MEANS = ((0.485, 0.456, 0.406), (127 / 255,) * 3)
_DEVIATIONS = ((0.229, 0.224, 0.225), (128 / 255,) * 3)

#: How much EfficientNet-Lite0's logits weigh against MobileNetV2's, whose posterior is as sure with 1.0.
_SECOND = 1.15

#: Length that standardised features are brought to before the residual's layers.
LENGTH = 30.0

#: Pictures at once on a CPU: with more, the early layers' activations leave the cache and each costs up to twice.
_CPU_PICTURES = 4

WEIGHTS = ("mobilenet_v2", "efficientnet_lite0", "head", "text")


class Head(nn.Module):
    """What pictures get beside their classes, and how much of it.

    The gate goes by the distance of a picture's features from the plane of the first principal components of
    drawings: drawings lie near, photos far.
    """

    labels: Tensor
    temperature: Tensor
    text_centre: Tensor
    mean: Tensor
    deviation: Tensor
    drawing: Tensor
    components: Tensor
    gate: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2 * FEATURES, HIDDEN)
        self.outer = nn.Linear(HIDDEN, WIDTH)
        shapes = {
            "labels": (CLASSES, WIDTH),
            "temperature": (),
            "text_centre": (WIDTH,),
            "mean": (2 * FEATURES,),
            "deviation": (2 * FEATURES,),
            "drawing": (2 * FEATURES,),
            "components": (COMPONENTS, 2 * FEATURES),
            "gate": (3,),  # largest weight of the residual, distance at which it is halved, width of the step
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        """Return (n, 384) for both classifiers' features (n, 2560) and their mean logits (n, 1000)."""
        classes = F.normalize((logits / self.temperature).softmax(dim=-1) @ self.labels, dim=-1)
        x = self.standard(features)
        return classes + self.openness(x) * self.residual(x)

    def standard(self, features: Tensor) -> Tensor:
        """Return the features standardised one by one."""
        return (features - self.mean) / self.deviation

    def residual(self, x: Tensor) -> Tensor:
        """Return (n, 384), what the head adds, for standard features."""
        added: Tensor = self.outer(F.gelu(self.inner(LENGTH * F.normalize(x, dim=-1))))
        return added

    def distance(self, x: Tensor) -> Tensor:
        """Return (n, 1), how far standard features are from the plane of drawings."""
        centred = x - self.drawing
        explained = (centred @ self.components.T).square().sum(dim=-1, keepdim=True)
        return (centred.square().sum(dim=-1, keepdim=True) - explained).clamp(min=0.0).sqrt()

    def openness(self, x: Tensor) -> Tensor:
        """Return (n, 1), the weight of the residual, for standard features."""
        largest, middle, width = self.gate
        weight: Tensor = largest * torch.sigmoid((middle - self.distance(x)) / width)
        return weight


class MiniModel(nn.Module):
    """Two towers into the 384 dimensions of all-MiniLM-L6-v2, with open_clip's methods."""

    def __init__(self) -> None:
        super().__init__()
        self.mobilenet_v2 = MobileNetV2()
        self.efficientnet_lite0 = EfficientNetLite0()
        self.head = Head()
        self.text = TextTower()

    def encode_image(self, pixels: Tensor, normalize: bool = False) -> Tensor:
        """Return (n, 384) for pixels (n, 3, 224, 224) in [0, 1]."""
        parts = torch.split(pixels, _CPU_PICTURES if pixels.device.type == "cpu" else max(1, len(pixels)))
        vectors = self.head(*self.classify([part.contiguous(memory_format=torch.channels_last) for part in parts]))
        return F.normalize(vectors, dim=-1) if normalize else vectors

    def classify(self, parts: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return both classifiers' features side by side (n, 2560) and their mean logits (n, 1000)."""
        networks: tuple[MobileNetV2 | EfficientNetLite0, ...] = (self.mobilenet_v2, self.efficientnet_lite0)
        features, logits = [], []
        for network, mean, deviation in zip(networks, _MEANS, _DEVIATIONS, strict=True):
            shift = torch.tensor(mean, device=parts[0].device)[:, None, None]
            scale = torch.tensor(deviation, device=parts[0].device)[:, None, None]
            found = torch.cat([network.features((part - shift) / scale) for part in parts])
            features.append(found.float())
            logits.append(network.classifier(found).float())
        return torch.cat(features, dim=-1), (logits[0] + _SECOND * logits[1]) / 2.0

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """Return (n, 384): the sentence vector of length 1 less the centre of all texts, for int64 (n, length)."""
        vectors = F.normalize(self.text(tokens).float(), dim=-1) - self.head.text_centre
        return F.normalize(vectors, dim=-1) if normalize else vectors


def preprocess(image: Image.Image) -> Tensor:
    """Turn an RGB picture into float32 (3, 224, 224) in [0, 1].

    The whole picture is squeezed to a square instead of cut to one, since a caption speaks of all of it
    (1,200 openclipart pictures and titles: AUC 0.654 squeezed, 0.646 cut).
    """
    square = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    values = np.asarray(square, np.float32) / 255.0
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))


def load_mini() -> Surface:
    """Load the weights that ship with the package."""
    model = MiniModel()
    for name in WEIGHTS:
        getattr(model, name).load_state_dict(read_packed(shipped(f"{name}.safetensors")))
    for network in (model.mobilenet_v2, model.efficientnet_lite0):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Surface(
        arch="builtin-mini",
        dimension=WIDTH,
        model=model.eval(),
        preprocess=preprocess,
        tokenizer=WordPieces(shipped("tokenizer.json")),
        side=SIDE,
        crops=False,
    )


def shipped(name: str) -> Path:
    """Return the path of one of the package's own files (the package is always installed as files)."""
    return Path(str(resources.files(mini_weights) / name))
