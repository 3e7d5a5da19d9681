"""`builtin:mini`: an image-text encoder that ships with the package and needs no network.

Pictures: the posterior of two ImageNet classifiers over 1,000 classes weighs the classes' vectors in a sentence
encoder's space (ConSE, arXiv:1312.5650, over all classes instead of the best ten). For photos a linear map of the
logits stands beside it: what classes have in common shows there also where none of them is likely. For drawings,
kernel regression on public-domain ones adds what the classes do not name, and directions in which it errs much count
less. A gate, which saw no photo, tells photos and drawings apart. Texts: a small sentence encoder of our own. The
space of both is spread: directions that many classes share count less. docs/models/mini.md states data, licences,
results and what it is bad at, and where the cosines of matched and mismatched pairs lie: thresholds made for CLIP do
not carry over.
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
from filters.encoders.mini_graph import PictureEngine
from filters.encoders.mobilenet import CLASSES, FEATURES, MobileNetV2
from filters.encoders.openclip import Surface
from filters.encoders.packed import read_packed
from filters.encoders.text_tower import WIDTH, TextTower, WordPieces

SIDE = 224

#: Principal components of drawings that the gate goes by.
COMPONENTS = 64

#: Directions of the features in which drawings are compared.
AXES = 384

#: Room for drawings that the regression remembers; what is left over is filled with zeros, which do nothing.
ANCHORS = 4_352

#: How fast the likeness of two pictures falls: exp(STEEPNESS * (cosine - 1)).
STEEPNESS = 3.0

#: Mean and standard deviation that the classifiers were trained with, for channels in [0, 1]: torchvision's for
#: MobileNetV2, TensorFlow's (127 and 128 of 255) for EfficientNet-Lite0.
_MEANS = ((0.485, 0.456, 0.406), (127 / 255,) * 3)
_DEVIATIONS = ((0.229, 0.224, 0.225), (128 / 255,) * 3)

#: How much EfficientNet-Lite0's logits weigh against MobileNetV2's, whose posterior is as sure with 1.0.
_SECOND = 1.15

#: Pictures at once on a CPU: with more, the early layers' activations leave the cache and each costs up to twice.
_CPU_PICTURES = 4

WEIGHTS = ("mobilenet_v2", "efficientnet_lite0", "head", "text")


class Head(nn.Module):
    """What a picture's classes say of it as a photo and as a drawing, and which of the two it is.

    The gate goes by the distance of a picture's features from the plane of the first principal components of
    drawings: drawings lie near, photos far.
    """

    labels: Tensor
    directions: Tensor
    temperature: Tensor
    text_centre: Tensor
    spread: Tensor
    mean: Tensor
    deviation: Tensor
    drawing: Tensor
    components: Tensor
    gate: Tensor
    axes: Tensor
    offset: Tensor
    anchors: Tensor
    answers: Tensor
    usual: Tensor
    sharpen: Tensor

    def __init__(self) -> None:
        super().__init__()
        shapes = {
            "labels": (CLASSES, WIDTH),  # spread
            "directions": (CLASSES, WIDTH),  # what a logit says beyond those of classes like it
            "temperature": (),
            "text_centre": (WIDTH,),
            "spread": (WIDTH, WIDTH),
            "mean": (2 * FEATURES,),
            "deviation": (2 * FEATURES,),
            "drawing": (2 * FEATURES,),
            "components": (COMPONENTS, 2 * FEATURES),
            "gate": (3,),  # largest share of the drawing, distance at which it is halved, width of the step
            "axes": (AXES, 2 * FEATURES),
            "offset": (AXES,),  # where the mean of all drawings lies on the axes
            "anchors": (ANCHORS, AXES),
            "answers": (ANCHORS, WIDTH),
            "usual": (WIDTH,),  # what drawings have in common by their classes, taken off
            "sharpen": (WIDTH, WIDTH),  # what errs much for drawings, made smaller (`answers`, `usual` are so already)
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        """Return (n, 384) for both classifiers' features (n, 2560) and their mean logits (n, 1000)."""
        x, classes = self.standard(features), self.classes(logits)
        photo = classes + self.linear(logits)
        drawing = classes @ self.sharpen + self.residual(x)
        return photo + self.openness(x) * (drawing - photo)

    def classes(self, logits: Tensor) -> Tensor:
        """Return (n, 384), each of length 1, what mean logits (n, 1000) say by their posterior."""
        return F.normalize((logits / self.temperature).softmax(dim=-1) @ self.labels, dim=-1)

    def linear(self, logits: Tensor) -> Tensor:
        """Return (n, 384), each of length 1, what mean logits (n, 1000) say by the linear map; photos get it."""
        return F.normalize(logits @ self.directions, dim=-1)

    def standard(self, features: Tensor) -> Tensor:
        """Return the features standardised one by one."""
        return (features - self.mean) / self.deviation

    def residual(self, x: Tensor) -> Tensor:
        """Return (n, 384), what drawings like it are called less what is usual, for standard features."""
        return likeness(self.place(x), self.anchors) @ self.answers - self.usual

    def place(self, x: Tensor) -> Tensor:
        """Return (n, 384), where standard features lie among drawings, each of length 1."""
        return F.normalize(F.normalize(x, dim=-1) @ self.axes.T - self.offset, dim=-1)

    def distance(self, x: Tensor) -> Tensor:
        """Return (n, 1), how far standard features are from the plane of drawings."""
        centred = x - self.drawing
        explained = (centred @ self.components.T).square().sum(dim=-1, keepdim=True)
        return (centred.square().sum(dim=-1, keepdim=True) - explained).clamp(min=0.0).sqrt()

    def openness(self, x: Tensor) -> Tensor:
        """Return (n, 1), how far a picture is taken for a drawing, for standard features."""
        largest, middle, width = self.gate
        weight: Tensor = largest * torch.sigmoid((middle - self.distance(x)) / width)
        return weight


def likeness(places: Tensor, others: Tensor) -> Tensor:
    """Return (n, m), how alike n and m places are: 1 in the same direction, less away from it (a Gaussian kernel)."""
    return torch.exp(STEEPNESS * (places @ others.T - 1.0))


class MiniModel(nn.Module):
    """Two towers into the 384 dimensions of all-MiniLM-L6-v2, with open_clip's methods."""

    def __init__(self) -> None:
        super().__init__()
        self.mobilenet_v2 = MobileNetV2()
        self.efficientnet_lite0 = EfficientNetLite0()
        self.head = Head()
        self.text = TextTower()
        self._engine: PictureEngine | None = None

    def encode_image(self, pixels: Tensor, normalize: bool = False) -> Tensor:
        """Return (n, 384) for pixels (n, 3, 224, 224) in [0, 1]."""
        parts = torch.split(pixels, _CPU_PICTURES if pixels.device.type == "cpu" else max(1, len(pixels)))
        vectors = self.head(*self.classify(list(parts)))
        return F.normalize(vectors, dim=-1) if normalize else vectors

    def classify(self, parts: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return both classifiers' features side by side (n, 2560) and their mean logits (n, 1000).

        ONNX Runtime does it on a CPU, with the weights of the first call; torch wherever else the model was moved to.
        """
        if parts[0].device.type == "cpu" and parts[0].dtype == torch.float32:
            if self._engine is None:
                self._engine = PictureEngine(self._networks(), _MEANS, _DEVIATIONS)
            first, first_logits, second, second_logits = self._engine(parts, torch.get_num_threads())
        else:
            first, first_logits, second, second_logits = self.classify_by_torch(parts)
        return torch.cat((first, second), dim=-1), (first_logits + _SECOND * second_logits) / 2.0

    def classify_by_torch(self, parts: list[Tensor]) -> list[Tensor]:
        """Return features (n, 1280) and logits (n, 1000) of the first classifier, then of the second."""
        found: list[Tensor] = []
        for network, mean, deviation in zip(self._networks(), _MEANS, _DEVIATIONS, strict=True):
            shift = parts[0].new_tensor(mean)[:, None, None]
            scale = parts[0].new_tensor(deviation)[:, None, None]
            features = torch.cat([network.features((part - shift) / scale) for part in parts])
            found += [features.float(), network.classifier(features).float()]
        return found

    def _networks(self) -> tuple[MobileNetV2 | EfficientNetLite0, ...]:
        return self.mobilenet_v2, self.efficientnet_lite0

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """Return (n, 384): the sentence vector less the centre of all texts, spread, for int64 (n, length)."""
        vectors = (F.normalize(self.text(tokens).float(), dim=-1) - self.head.text_centre) @ self.head.spread
        return F.normalize(vectors, dim=-1) if normalize else vectors


def preprocess(image: Image.Image) -> Tensor:
    """Turn an RGB picture into float32 (3, 224, 224) in [0, 1].

    Half of what the longer side has more is cut off, the rest squeezed to a square: a caption speaks of the whole
    picture, but the classifiers know things of the right shape and size better (docs/models/mini.md).
    """
    width, height = image.size
    across, down = (width - min(image.size)) / 4, (height - min(image.size)) / 4
    inside = (across, down, width - across, height - down)
    square = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=inside)
    values = np.asarray(square, np.float32) / 255.0
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))


def load_mini() -> Surface:
    """Load the weights that ship with the package."""
    model = MiniModel()
    for name in WEIGHTS:
        getattr(model, name).load_state_dict(read_packed(shipped(f"{name}.safetensors")))
    return Surface(
        arch="builtin-mini",
        dimension=WIDTH,
        model=model.eval(),
        preprocess=preprocess,
        tokenizer=WordPieces(shipped("tokenizer.json")),
        side=SIDE,
        crops=True,  # keeps the shape of large pictures: what is cut off depends on it
    )


def shipped(name: str) -> Path:
    """Return the path of one of the package's own files (the package is always installed as files)."""
    return Path(str(resources.files(mini_weights) / name))
