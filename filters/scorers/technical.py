"""Technical quality without a model: sharpness, contrast, colourfulness."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pyarrow as pa
from PIL import Image

from filters.scoring import Batch, columns

#: Sharpness and contrast are measured at this shorter side, so that they compare across resolutions.
SIDE = 256

#: Colourfulness is measured on a grid of pixels with this shorter side; on all pixels of smaller pictures.
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

    Sharpness and contrast: of luma (Rec. 601 of the gamma-coded values, 256 levels), reduced by a whole factor to a
    shorter side of 256 to 511 pixels (means of blocks) and from there to 256 (bilinear). Smaller pictures are
    enlarged, so that an icon counts as blurred in comparison to a photo. Colourfulness: of sRGB pixels at the points
    of a grid with a shorter side of 128.
    """

    name: str = "technical"
    version: str = "2"

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
            luma = luma_at(np.asarray(picture.grey), SIDE)
            rows.append((laplacian_variance(luma), rms_contrast(luma), colourfulness(_sampled(picture.image))))
        table = np.array(rows, dtype=np.float32).reshape(-1, 3)
        return columns(_FIELDS, {field.name: table[:, at] for at, field in enumerate(_FIELDS)})


def luma_at(grey: np.ndarray, side: int) -> np.ndarray:
    """Return uint8 luma (height, width) resized to a shorter side of `side` pixels."""
    factor = min(grey.shape) // side
    if factor > 1:
        # Whole blocks only, less than one of them is cut off: other ratios take several times as long.
        rows, columns = (length // factor for length in grey.shape)
        grey = grey[: rows * factor, : columns * factor]
        grey = cv2.resize(grey, (columns, rows), interpolation=cv2.INTER_AREA)
    scale = side / min(grey.shape)
    rows, columns = (min(max(side, round(length * scale)), MAX_RATIO * side) for length in grey.shape)
    # Exact: the other variant of bilinear differs between processors.
    found: np.ndarray = cv2.resize(grey, (columns, rows), interpolation=cv2.INTER_LINEAR_EXACT)
    return found


def _sampled(image: Image.Image) -> np.ndarray:
    """Return the pixels on a grid, uint8 (height, width, 3): a tenth of the work of averaging all."""
    scale = min(1.0, COLOUR_SIDE / min(image.size))
    width, height = (min(max(1, round(length * scale)), MAX_RATIO * COLOUR_SIDE) for length in image.size)
    return np.asarray(image.resize((width, height), Image.Resampling.NEAREST))


def laplacian_variance(luma: np.ndarray) -> float:
    """Return the variance of the 4-neighbour Laplacian over the inner pixels; 0 for a flat picture.

    Source: Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy (2000), LAP4. `luma` is uint8
    (height, width); the values lie within -1020 and 1020, so the result is at most 1,040,400.
    """
    laplacian = cv2.Laplacian(luma, cv2.CV_16S, ksize=1)[1:-1, 1:-1]
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
    red, green, blue = cv2.split(rgb)
    mean_rg, variance_rg = _mean_and_variance(cv2.subtract(red, green, dtype=cv2.CV_16S))
    # Twice yb stays whole.
    both = cv2.add(red, green, dtype=cv2.CV_16S)
    twice = cv2.subtract(both, cv2.add(blue, blue, dtype=cv2.CV_16S))
    mean_yb, variance_yb = _mean_and_variance(twice)
    spread = np.sqrt(variance_rg + variance_yb / 4)
    return float(spread + 0.3 * np.hypot(mean_rg, mean_yb / 2))


def _mean_and_variance(values: np.ndarray) -> tuple[float, float]:
    """Return mean and population variance of uint8 or int16, from sums that are whole numbers below 2**53."""
    mean = cv2.mean(values)[0]
    return mean, max(0.0, cv2.norm(values, cv2.NORM_L2SQR) / values.size - mean * mean)
