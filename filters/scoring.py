"""The contract of a scorer: columns from decoded pictures and captions.

A picture is decoded once; every scorer of a job sees the same `Picture`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from PIL import Image


class Picture:
    """One decoded picture: upright, 8-bit RGB, transparency composited on white.

    `image` has the full resolution unless all who look at it can do with less (`DraftScorer`); every scorer resizes
    as its formula or model asks. `size` is the picture's own width and height where `image` has less. Callers must
    not write to what they get.
    """

    def __init__(self, image: Image.Image, size: tuple[int, int] | None = None) -> None:
        if image.mode != "RGB":
            raise ValueError(f"a Picture is RGB, not {image.mode}")
        self.image = image
        self._size = size or image.size

    @cached_property
    def grey(self) -> Image.Image:
        """Luma as Pillow has it (Rec. 601 of the gamma-coded values, 8 bits), of all pixels of `image`; made once."""
        return self.image.convert("L")

    @property
    def width(self) -> int:
        """Width in pixels at full resolution, after EXIF orientation."""
        return self._size[0]

    @property
    def height(self) -> int:
        """Height in pixels at full resolution, after EXIF orientation."""
        return self._size[1]


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


@runtime_checkable
class DraftScorer(Protocol):
    """A scorer that can work from a JPEG decoded at a half, a quarter or an eighth; all others need all pixels."""

    def draft_side(self) -> int:
        """Return the pixels that the shorter side must keep, 0 where no pixel is looked at. Valid after `load`."""
        ...


@dataclass(frozen=True)
class Evidence:
    """One thing that a score rests on: what it is, its text if it has one, how sure the detector was (0 to 1), where.

    `kind` is lower case. `box` is left, top, right, bottom in pixels of the upright picture at full resolution.
    """

    kind: str
    text: str | None
    confidence: float
    box: tuple[float, float, float, float]


@runtime_checkable
class EvidenceScorer(Protocol):
    """A scorer that also says what its scores rest on."""

    def score_with_evidence(
        self, batch: Batch, known: Mapping[str, pa.Array]
    ) -> tuple[pa.RecordBatch, list[list[Evidence]]]:
        """Return the columns as `Scorer.score` does, and for each sample its evidence, possibly none.

        `known` holds columns that other scorers have found for the same samples, by name: what is there need not be
        computed again.
        """
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
