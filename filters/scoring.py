"""The contract of a scorer: columns from decoded pictures and captions.

A picture is decoded once; every scorer of a job sees the same `Picture` and shares its resized copies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from PIL import Image


class Picture:
    """One decoded picture: upright, 8-bit RGB, transparency composited on white.

    `image` has the full resolution. `shorter_side(n)` and `exact(w, h)` give resized copies, made once
    and shared by all scorers. Callers must not write to what they get.
    """

    def __init__(self, image: Image.Image) -> None:
        if image.mode != "RGB":
            raise ValueError(f"a Picture is RGB, not {image.mode}")
        self.image = image
        self._cache: dict[tuple[int, int], Image.Image] = {}

    @property
    def width(self) -> int:
        """Width in pixels, after EXIF orientation."""
        return self.image.width

    @property
    def height(self) -> int:
        """Height in pixels, after EXIF orientation."""
        return self.image.height

    def exact(self, width: int, height: int) -> Image.Image:
        """Return the whole picture at exactly `width` x `height` pixels (bicubic, antialiased)."""
        if (width, height) == self.image.size:
            return self.image
        key = (width, height)
        if key not in self._cache:
            self._cache[key] = self.image.resize(key, Image.Resampling.BICUBIC, reducing_gap=3.0)
        return self._cache[key]

    def shorter_side(self, side: int) -> Image.Image:
        """Return the picture with its shorter side at `side` pixels, aspect ratio kept, at most 8:1.

        Beyond 8:1 the longer side is squeezed to 8 x `side`, so that a strip cannot ask for much memory.
        """
        scale = side / min(self.width, self.height)
        width = min(max(side, round(self.width * scale)), 8 * side)
        height = min(max(side, round(self.height * scale)), 8 * side)
        return self.exact(width, height)

    def centre_crop(self, side: int) -> Image.Image:
        """Return the central square of the picture at `side` x `side` pixels."""
        resized = self.shorter_side(side)
        left, top = (resized.width - side) // 2, (resized.height - side) // 2
        return resized.crop((left, top, left + side, top + side))


@dataclass(frozen=True)
class Batch:
    """Samples that could be decoded, in the order of their part. All lists have the same length.

    `data` holds the original bytes of each picture, `captions` the text as it came in.
    """

    uids: list[str]
    captions: list[str]
    data: list[bytes]
    pictures: list[Picture]

    def __len__(self) -> int:
        return len(self.uids)


@runtime_checkable
class Scorer(Protocol):
    """Computes columns. Cheap to construct and to pickle; models load in `load`, once a process."""

    @property
    def name(self) -> str:
        """The scorer's name in recipes."""
        ...

    @property
    def version(self) -> str:
        """Raised whenever the same picture would get another score."""
        ...

    @property
    def fields(self) -> pa.Schema:
        """The columns that `score` returns, in order."""
        ...

    def load(self) -> None:
        """Load what the scorer needs. Refuses random weights; raises `BadInput` with what to do."""
        ...

    def model_id(self) -> str:
        """Architecture and SHA-256 of the weights, or the name of the formula. Valid after `load`."""
        ...

    def score(self, batch: Batch) -> pa.RecordBatch:
        """Return one row a sample of `batch`, in order, with the schema `fields`."""
        ...


def columns(schema: pa.Schema, values: dict[str, object]) -> pa.RecordBatch:
    """Build a record batch of `schema` from lists or numpy arrays by column name."""
    arrays = []
    for field in schema:
        value = values[field.name]
        if isinstance(value, np.ndarray) and value.ndim == 2:
            value = list(value)
        arrays.append(pa.array(value, type=field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
