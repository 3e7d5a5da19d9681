"""Technical quality without a model: sharpness, contrast, colourfulness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from PIL import Image

from filters.scoring import Batch, columns

#: Sharpness and contrast are measured at this shorter side, so that they compare across resolutions.
SIDE = 256

#: Colourfulness is measured on averages of whole blocks of pixels, with at least this shorter side.
COLOUR_SIDE = 128

#: Beyond this ratio of sides a strip is squeezed, so that it cannot ask for much memory.
MAX_RATIO = 8

_FIELDS = pa.schema(
    [
        pa.field(
            "sharpness", pa.float32(), metadata={"doc": "variance of the Laplacian at shorter side 256, 0 or more"}
        ),
        pa.field("contrast", pa.float32(), metadata={"doc": "RMS contrast: standard deviation of luma, 0 to 0.5"}),
        pa.field("colourfulness", pa.float32(), metadata={"doc": "Hasler and Süsstrunk's M3, 0 (grey) to about 190"}),
    ]
)


@dataclass(frozen=True)
class TechnicalScorer:
    """Sharpness, contrast and colourfulness, each at a common size.

    Sharpness and contrast: of luma (Rec. 601 of the gamma-coded values, 256 levels), resized to a shorter side
    of 256 pixels. Smaller pictures are enlarged, so that an icon counts as blurred in comparison to a photo.
    Colourfulness: of sRGB, reduced by a whole factor to a shorter side of 128 to 255 pixels where it is larger.
    """

    name: str = "technical"
    version: str = "1"

    @property
    def fields(self) -> pa.Schema:
        """`sharpness`, `contrast`, `colourfulness` float32."""
        return _FIELDS

    def load(self) -> None:
        """Nothing to load."""

    def model_id(self) -> str:
        """Return the names of the formulas."""
        return "laplacian-variance+rms-contrast+hasler-suesstrunk-m3"

    def score(self, batch: Batch) -> pa.RecordBatch:
        """Return the three measures of each picture of the batch."""
        rows = []
        for picture in batch.pictures:
            luma = luma_at(picture.image, SIDE)
            rows.append((laplacian_variance(luma), rms_contrast(luma), colourfulness(_reduced(picture.image))))
        table = np.array(rows, dtype=np.float32).reshape(-1, 3)
        return columns(_FIELDS, {field.name: table[:, at] for at, field in enumerate(_FIELDS)})


def luma_at(image: Image.Image, side: int) -> np.ndarray:
    """Return the luma of an RGB picture, uint8 (height, width), its shorter side at `side` pixels."""
    scale = side / min(image.size)
    width, height = (min(max(side, round(length * scale)), MAX_RATIO * side) for length in image.size)
    # Grey before resizing is a third of the work; a gap of 2 differs by at most 0.0003 in contrast (measured).
    return np.asarray(image.convert("L").resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0))


def _reduced(image: Image.Image) -> np.ndarray:
    """Return averages of blocks, uint8 (height, width, 3): a tenth of the work of resizing."""
    factor = max(1, min(image.size) // COLOUR_SIDE)
    longest = 2 * COLOUR_SIDE * MAX_RATIO
    factors = (max(factor, -(-image.width // longest)), max(factor, -(-image.height // longest)))
    return np.asarray(image.reduce(factors) if max(factors) > 1 else image)


def laplacian_variance(luma: np.ndarray) -> float:
    """Return the variance of the 4-neighbour Laplacian over the inner pixels; 0 for a flat picture.

    Source: Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy (2000), LAP4. `luma` is uint8
    (height, width); the values lie within -1020 and 1020, so the result is at most 1,040,400.
    """
    wide = luma.astype(np.int16)
    laplacian = wide[:-2, 1:-1] + wide[2:, 1:-1]
    laplacian += wide[1:-1, :-2]
    laplacian += wide[1:-1, 2:]
    laplacian -= 4 * wide[1:-1, 1:-1]
    return _mean_and_variance(laplacian)[1]


def rms_contrast(luma: np.ndarray) -> float:
    """Return the standard deviation of uint8 luma on the scale 0 to 1: at most 0.5 (half black, half white).

    Source: Peli, Contrast in complex images (1990), the RMS contrast of his introduction.
    """
    return float(np.sqrt(_mean_and_variance(luma)[1])) / 255


def colourfulness(rgb: np.ndarray) -> float:
    """Return Hasler and Süsstrunk's M3 of uint8 (height, width, 3) sRGB; 0 for a grey picture.

    Source: Hasler and Süsstrunk, Measuring colourfulness in natural images (2003), eq. 3: with rg = R - G and
    yb = (R + G) / 2 - B, the root of the sum of their variances plus 0.3 times the norm of their means. Their
    observers called 15 slightly, 33 moderately, 59 quite and 109 extremely colourful.
    """
    red, green, blue = (np.ascontiguousarray(rgb[..., channel]).astype(np.int16) for channel in range(3))
    mean_rg, variance_rg = _mean_and_variance(red - green)
    # Twice yb stays whole.
    mean_yb, variance_yb = _mean_and_variance(red + green - 2 * blue)
    spread = np.sqrt(variance_rg + variance_yb / 4)
    return float(spread + 0.3 * np.hypot(mean_rg, mean_yb / 2))


def _mean_and_variance(values: np.ndarray) -> tuple[float, float]:
    """Return mean and population variance of whole numbers within 46,340, from exact sums.

    Whole numbers give the same result on every machine, and need no BLAS, whose threads would compete with
    those of the models.
    """
    wide = values.astype(np.int32)
    count, total = wide.size, int(wide.sum(dtype=np.int64))
    squares = int(np.square(wide).sum(dtype=np.int64))
    return total / count, (squares * count - total * total) / count**2
