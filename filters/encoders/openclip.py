"""One encoder class over open_clip's surface: a model with two towers, a preprocess, a tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from filters.encoders.towers import TorchTowers, Towers
from filters.encoders.weights import state_digest

#: Large pictures are first resized to this multiple of the model's input, by Pillow's two steps (`reducing_gap`,
#: which its documentation calls close to indistinguishable from plain resampling from 3.0 on).
_GAP = 3

#: Longest picture that is resized as a whole where the model sees the central square only.
_LONGEST = 8


@dataclass(frozen=True)
class Surface:
    """What open_clip gives for a model, and what `builtin:mini` offers alike.

    `model` has `encode_image(pixels)` and `encode_text(tokens)`, each (n, dimension), in evaluation mode and
    float32. `preprocess` turns an RGB picture into (3, height, width). `tokenizer` turns n texts into int64
    (n, length), padding included. `side` is the shorter side of the model's input in pixels. `crops` says that
    the model sees the central square of a picture only.
    """

    arch: str
    dimension: int
    model: nn.Module
    preprocess: Callable[[Image.Image], Tensor]
    tokenizer: Callable[[list[str]], Tensor]
    side: int
    crops: bool


class OpenClipEncoder:
    """An `Encoder` over a `Surface`.

    `threads` (0: as torch has it) is the number of CPU threads of the whole process; int8 takes one whatever is
    asked for. `batch_size` bounds memory; a GPU that it is too much for halves it. `precision` is `fp32`, `bf16` or
    `int8`; empty means bf16 on a GPU, else fp32. The same calls give the same bits on the same machine with the same
    threads; in int8 each picture and text does so whatever else is in the call.
    Raises `BadInput` where int8 is asked for and cannot be made.
    """

    def __init__(
        self, uri: str, surface: Surface, threads: int = 0, batch_size: int = 64, precision: str = ""
    ) -> None:
        if threads > 0 and threads != torch.get_num_threads():
            torch.set_num_threads(threads)
        self.uri = uri
        self.dimension = surface.dimension
        self.precision = precision or ("bf16" if torch.cuda.is_available() else "fp32")
        digest = state_digest(surface.model)
        suffix = "" if self.precision == "fp32" else f"+{self.precision}"
        self._id = f"{surface.arch}@sha256:{digest[:16]}{suffix}"
        self._shape = surface.side, surface.crops
        self._transform, self._tokenizer = surface.preprocess, surface.tokenizer  # not the model: int8 drops it
        self._batch_size = batch_size
        self._towers = self._make_towers(surface, digest)

    def model_id(self) -> str:
        """Return architecture, first 16 hex digits of the SHA-256 of all weights, `+bf16` or `+int8`."""
        return self._id

    def draft_side(self) -> int:
        """Return the pixels of the shorter side from which on more change next to nothing: what `shrink` leaves."""
        return _GAP * self._shape[0]

    def encode_images(self, images: list[Image.Image]) -> np.ndarray:
        """Return float32 (n, dimension), rows of length 1, for RGB pictures of any size."""
        rows = []
        for start in range(0, len(images), self._batch_size):
            some = images[start : start + self._batch_size]
            pixels = torch.stack([self._preprocess(image) for image in some])
            rows.append(normalised(self._towers.images(pixels)))
        return self._concatenate(rows)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """Return float32 (n, dimension), rows of length 1. Equal texts are encoded once."""
        if not texts:
            return self._concatenate([])
        places: dict[str, int] = {}
        for text in texts:
            places.setdefault(text, len(places))
        tokens = self._tokenizer(list(places))
        # Texts of like length share a batch, so that little of it is padding (the id 0 for most tokenizers).
        order = (tokens != 0).sum(dim=1).argsort(stable=True)
        rows = [normalised(self._towers.texts(tokens[some])) for some in torch.split(order, self._batch_size)]
        unique = np.empty((len(places), self.dimension), np.float32)
        unique[order.numpy()] = self._concatenate(rows)
        return unique[[places[text] for text in texts]]

    def _preprocess(self, image: Image.Image) -> Tensor:
        return self._transform(shrink(image, *self._shape))

    def _make_towers(self, surface: Surface, digest: str) -> Towers:
        if self.precision == "int8":
            from filters.encoders.int8 import int8_towers

            pixels = self._preprocess(Image.new("RGB", (surface.side, surface.side)))[None]
            return int8_towers(surface.model, surface.arch, digest, pixels, self._tokenizer(["a"]))
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        return TorchTowers(surface.model, device, dtype, self._batch_size)

    def _concatenate(self, rows: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(rows) if rows else np.empty((0, self.dimension), np.float32)


def normalised(features: np.ndarray) -> np.ndarray:
    """Return float32 (n, dimension) with rows of length 1."""
    rows: np.ndarray = F.normalize(torch.from_numpy(features), dim=-1).numpy()
    return rows


def shrink(image: Image.Image, side: int, crops: bool) -> Image.Image:
    """Resize a large picture towards the model's input, and cut a strip, before the model's own preprocess.

    Pictures below twice 3 x `side` pixels stay as they are, so that the preprocess gives open_clip's own pixels;
    larger ones cost a fraction of the time for a cosine above 0.9999 to what they would have given. Where the model
    sees the central square only (`crops`), a picture longer than 8:1 is cut to its central part, so that resizing
    its shorter side up cannot take memory without bound. Raises `ValueError` for any mode but RGB.
    """
    if image.mode != "RGB":
        raise ValueError(f"encoders take RGB pictures, not {image.mode}")
    if crops:
        image = _cut(image)
    width, height = image.size
    enough = _GAP * side
    if crops:
        scale = min(1.0, enough / min(width, height))
        size = round(width * scale), round(height * scale)
    else:
        size = min(width, enough), min(height, enough)
    if 2 * size[0] > width and 2 * size[1] > height:
        return image
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=float(_GAP))


def _cut(image: Image.Image) -> Image.Image:
    width, height = image.size
    longest = _LONGEST * min(width, height)
    if max(width, height) <= longest:
        return image
    left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
    return image.crop((left, top, left + min(width, longest), top + min(height, longest)))
