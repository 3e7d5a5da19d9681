"""The contract of a scorer: columns from decoded pictures and captions.

A picture is decoded once; every scorer of a job sees the same `Picture`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from PIL import Image


class Picture:
    """One decoded picture: upright, 8-bit RGB, transparency composited on white.

    `image` has the full resolution; every scorer resizes as its formula or model asks. Callers must not write
    to what they get.
    """

    def __init__(self, image: Image.Image) -> None:
        if image.mode != "RGB":
            raise ValueError(f"a Picture is RGB, not {image.mode}")
        self.image = image

    @property
    def width(self) -> int:
        """Width in pixels, after EXIF orientation."""
        return self.image.width

    @property
    def height(self) -> int:
        """Height in pixels, after EXIF orientation."""
        return self.image.height


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
