"""The one surface behind which every image-text encoder stands."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from PIL import Image


class Encoder(Protocol):
    """An image-text encoder: L2-normalised float32 vectors of the same space for pictures and texts.

    `uri` is what it was loaded from, `precision` one of `fp32`, `bf16`, `int8`.
    """

    uri: str
    dimension: int
    precision: str

    def model_id(self) -> str:
        """Architecture and SHA-256 of all weights that take part, e.g. `ViT-B-32@sha256:9f...+int8`."""
        ...

    def draft_side(self) -> int:
        """Return the pixels of a picture's shorter side from which on more change next to nothing."""
        ...

    def encode_images(self, images: list[Image.Image]) -> np.ndarray:
        """Return float32 (n, dimension), rows of length 1, for RGB pictures of any size."""
        ...

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """Return float32 (n, dimension), rows of length 1."""
        ...
