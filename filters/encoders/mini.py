"""`builtin:mini`: an image-text encoder that needs no network.

Pictures: the posterior of an ImageNet classifier over 1,000 classes weighs the classes' vectors in a sentence
encoder's space (ConSE, arXiv:1312.5650, over all classes instead of the best ten). Texts: the sentence encoder.
It knows the nouns of ImageNet; people, actions, counts, attributes and styles reach it only through those. A matched
pair has a cosine near 0.22, a mismatched one near 0.01: thresholds made for CLIP do not carry over.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from filters.encoders import mini_weights
from filters.encoders.minilm import WIDTH, MiniLM, load_minilm, load_tokenizer
from filters.encoders.mobilenet import CLASSES, MobileNetV2
from filters.encoders.openclip import Surface

SIDE = 224

#: Mean and standard deviation that torchvision's ImageNet models were trained with, for channels in [0, 1].
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)

#: Pictures at once on a CPU: with more, the early layers' activations leave the cache and each costs up to twice.
_CPU_PICTURES = 4


class MiniModel(nn.Module):
    """Two towers into the 384 dimensions of all-MiniLM-L6-v2, with open_clip's methods."""

    labels: Tensor
    text_centre: Tensor
    temperature: Tensor

    def __init__(self, image: MobileNetV2, text: MiniLM) -> None:
        super().__init__()
        self.image = image
        self.text = text
        self.register_buffer("labels", torch.zeros(CLASSES, WIDTH))
        self.register_buffer("text_centre", torch.zeros(WIDTH))
        self.register_buffer("temperature", torch.ones(()))

    def encode_image(self, pixels: Tensor, normalize: bool = False) -> Tensor:
        """Return (n, 384): softmax(logits / temperature) times the labels, for pixels (n, 3, 224, 224)."""
        parts = torch.split(pixels, _CPU_PICTURES if pixels.device.type == "cpu" else max(1, len(pixels)))
        logits = torch.cat([self.image(part.contiguous(memory_format=torch.channels_last)) for part in parts])
        vectors = (logits.float() / self.temperature).softmax(dim=-1) @ self.labels
        return F.normalize(vectors, dim=-1) if normalize else vectors

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """Return (n, 384): the sentence vector of length 1 less the centre of all texts, for int64 (n, length)."""
        vectors = F.normalize(self.text(tokens).float(), dim=-1) - self.text_centre
        return F.normalize(vectors, dim=-1) if normalize else vectors


def preprocess(image: Image.Image) -> Tensor:
    """Turn an RGB picture into float32 (3, 224, 224), normalised for ImageNet.

    The whole picture is squeezed to a square instead of cut to one, since a caption speaks of all of it
    (1,200 openclipart pictures and titles: AUC 0.654 squeezed, 0.646 cut).
    """
    square = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    values = (np.asarray(square, np.float32) / 255.0 - _MEAN) / _STD
    return torch.from_numpy(values.transpose(2, 0, 1))


def load_mini() -> Surface:
    """Load the weights that ship with the package, and the packaged sentence encoder.

    Raises `BadInput` where the package of the sentence encoder is missing.
    """
    image = MobileNetV2()
    image.load_state_dict(_shipped("mobilenet_v2.safetensors"))
    model = MiniModel(image, load_minilm())
    for name, value in _shipped("labels.safetensors").items():
        model.register_buffer(name, value)
    model.image.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Surface(
        arch="builtin-mini",
        dimension=WIDTH,
        model=model.eval(),
        preprocess=preprocess,
        tokenizer=load_tokenizer(),
        side=SIDE,
        crops=False,
    )


def _shipped(name: str) -> dict[str, Tensor]:
    """Read one of the package's own weights files as float32 (they are stored in half of that)."""
    with resources.as_file(resources.files(mini_weights) / name) as path:
        return {key: value.float() for key, value in load_file(Path(path)).items()}
