"""One encoder class over open_clip's surface: a model with two towers, a preprocess, a tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

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
    """An `Encoder` over a `Surface`. Runs on the GPU in bfloat16 where there is one, else in float32.

    `threads` (0: as torch has it) is the number of CPU threads of the whole process. `batch_size` bounds memory.
    The same calls give the same bits on the same machine with the same threads.
    """

    def __init__(self, uri: str, surface: Surface, threads: int = 0, batch_size: int = 64) -> None:
        if threads > 0 and threads != torch.get_num_threads():
            torch.set_num_threads(threads)
        self.uri = uri
        self.dimension = surface.dimension
        self._id = f"{surface.arch}@sha256:{state_digest(surface.model)[:16]}"
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = surface.model.eval().requires_grad_(False).to(self._device)
        self._surface = surface
        self._batch_size = batch_size

    def model_id(self) -> str:
        """Return architecture and first 16 hex digits of the SHA-256 of all weights."""
        return self._id

    def encode_images(self, images: list[Image.Image]) -> np.ndarray:
        """Return float32 (n, dimension), rows of length 1, for RGB pictures of any size."""
        rows = []
        for start in range(0, len(images), self._batch_size):
            some = images[start : start + self._batch_size]
            pixels = torch.stack([self._preprocess(image) for image in some])
            rows.append(self._run("encode_image", pixels))
        return self._concatenate(rows)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """Return float32 (n, dimension), rows of length 1. Equal texts are encoded once."""
        if not texts:
            return self._concatenate([])
        places: dict[str, int] = {}
        for text in texts:
            places.setdefault(text, len(places))
        tokens = self._surface.tokenizer(list(places))
        # Texts of like length share a batch, so that little of it is padding (the id 0 for most tokenizers).
        order = (tokens != 0).sum(dim=1).argsort(stable=True)
        rows = [self._run("encode_text", tokens[some]) for some in torch.split(order, self._batch_size)]
        unique = np.empty((len(places), self.dimension), np.float32)
        unique[order.numpy()] = self._concatenate(rows)
        return unique[[places[text] for text in texts]]

    def _preprocess(self, image: Image.Image) -> Tensor:
        return self._surface.preprocess(shrink(image, self._surface.side, self._surface.crops))

    def _run(self, method: str, batch: Tensor) -> np.ndarray:
        with torch.inference_mode(), self._precision():
            features: Tensor = getattr(self._model, method)(batch.to(self._device))
            rows: np.ndarray = F.normalize(features.float(), dim=-1).cpu().numpy()
            return rows

    def _precision(self) -> AbstractContextManager[object]:
        if self._device.type == "cuda":
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return nullcontext()

    def _concatenate(self, rows: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(rows) if rows else np.empty((0, self.dimension), np.float32)


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
