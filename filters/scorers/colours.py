"""Colour layout: the mean colours of a picture's sixteen parts, for what hashes of grey pictures cannot tell apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from PIL import Image

from filters.scoring import Batch, Picture, columns

#: Parts along each side.
GRID = 4

_FIELDS = pa.schema(
    [
        pa.field(
            "colours",
            pa.binary(3 * GRID * GRID),
            metadata={
                "doc": "mean colours of 4 x 4 parts, row by row; three signed bytes each: half the luma (0..127), "
                "CIELAB a and b"
            },
        )
    ]
)

# Linear sRGB to XYZ, divided by the white point D65. Source: IEC 61966-2-1:1999, table of the conversion matrix.
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_TO_XYZ /= _TO_XYZ.sum(axis=1, keepdims=True)
# Rec. 601, as Pillow's grey.
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class ColourScorer:
    """Mean colour of 4 x 4 parts: luma (Rec. 601, as a grey copy has it) and the colour axes a and b of CIELAB.

    Source: the idea of MPEG-7's colour layout descriptor (ISO/IEC 15938-3), on a coarser grid and without its DCT;
    CIELAB by CIE 15:2004. The means are of gamma-coded values, as resizing makes them.
    """

    name: str = "colours"
    version: str = "1"

    @property
    def fields(self) -> pa.Schema:
        """`colours` fixed_size_binary(48): see the field's `doc`."""
        return _FIELDS

    def load(self) -> None:
        """Nothing to load."""

    def model_id(self) -> str:
        """Return the name of the formula."""
        return "luma-lab-4x4"

    def score(self, batch: Batch) -> pa.RecordBatch:
        """Return the layout of each picture of the batch."""
        return columns(_FIELDS, {"colours": [layout.tobytes() for layout in layouts(batch.pictures)]})


def layouts(pictures: list[Picture]) -> np.ndarray:
    """Return int8 (n, 4, 4, 3): half the luma, a and b of each part of each picture."""
    if not pictures:
        return np.empty((0, GRID, GRID, 3), dtype=np.int8)
    small = [
        np.asarray(picture.image.resize((GRID, GRID), Image.Resampling.BOX, reducing_gap=2.0)) for picture in pictures
    ]
    rgb = np.stack(small).astype(np.float64) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _TO_XYZ.T
    curve = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    a, b = 500 * (curve[..., 0] - curve[..., 1]), 200 * (curve[..., 1] - curve[..., 2])
    found = np.stack([rgb @ _LUMA * 127, a, b], axis=-1)
    whole: np.ndarray = np.clip(np.rint(found), -127, 127).astype(np.int8)
    return whole
