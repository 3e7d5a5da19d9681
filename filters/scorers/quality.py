"""Technical quality as one number, without a neural network: is this picture free of the usual damage?"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import ClassVar

import numpy as np
import pyarrow as pa
from PIL import Image

from filters.errors import BadInput
from filters.scorers.quality_features import features
from filters.scoring import Batch, columns

_WEIGHTS = "quality_weights.json"

_FIELDS = pa.schema(
    [
        pa.field(
            "technical_quality", pa.float32(), metadata={"doc": "1 undamaged, 0 blurred, blocky, noisy, ill exposed"}
        )
    ]
)


@dataclass(frozen=True)
class QualityScorer:
    """How likely a picture is an undamaged one rather than a copy that was blurred, compressed, made noisy or ill lit.

    Natural-scene statistics in the manner of BRISQUE (Mittal et al. 2012), sharpness, noise, JPEG blocks, exposure,
    contrast, colours and simple measures of composition (`filters.scorers.quality_features`), weighed by a fixed
    small model that `scripts/build_quality.py` fits on damaged copies of freely licensed photos and drawings. It is
    no opinion on beauty or content: see `aesthetic` for that. What it ranks well and what not, with the numbers:
    `benchmarks/quality.py`. It compares copies of one picture better than different pictures: a photo of fog or of a
    night sky scores low, having little detail or light.
    """

    name: ClassVar[str] = "quality"
    version: ClassVar[str] = "1"

    @property
    def fields(self) -> pa.Schema:
        """`technical_quality` float32, 0 to 1."""
        return _FIELDS

    def load(self) -> None:
        """Read the weights, once a process. Raises `BadInput` where the package lacks them."""
        model()

    def model_id(self) -> str:
        """Return the kind of model and the SHA-256 of its weights file."""
        return f"nss-quality@sha256:{model().sha256[:16]}"

    def score(self, batch: Batch) -> pa.RecordBatch:
        """Return the quality of each picture of the batch."""
        scores = [quality(picture.image) for picture in batch.pictures]
        return columns(_FIELDS, {"technical_quality": np.array(scores, dtype=np.float32)})


@dataclass(frozen=True)
class Model:
    """One hidden layer over standardised measures.

    `names` (n,) of the measures; `centre`, `scale` (n,); `hidden` (n, h), `hidden_bias` (h,); `output` (h,), `bias`.
    """

    names: tuple[str, ...]
    centre: np.ndarray
    scale: np.ndarray
    hidden: np.ndarray
    hidden_bias: np.ndarray
    output: np.ndarray
    bias: float
    sha256: str

    def log_odds(self, values: np.ndarray) -> np.ndarray:
        """Return float64 (m,) for measures (m, n). A measure counts up to four standard deviations."""
        standard = np.clip((values - self.centre) / self.scale, -4, 4)
        # Sums in a fixed order: no BLAS, whose threads and instructions change the last bits.
        inner = np.tanh(np.einsum("mn,nh->mh", standard, self.hidden) + self.hidden_bias)
        odds: np.ndarray = np.einsum("mh,h->m", inner, self.output) + self.bias
        return odds


def quality(image: Image.Image) -> float:
    """Return the technical quality of an RGB picture of any size, 0 to 1."""
    fitted, measured = model(), features(image)
    odds = fitted.log_odds(np.array([[measured[name] for name in fitted.names]]))
    return float(1 / (1 + np.exp(-np.clip(odds[0], -50, 50))))


@cache
def model() -> Model:
    """Return the packaged weights. Raises `BadInput` where they are missing."""
    try:
        data = (resources.files("filters.scorers") / _WEIGHTS).read_bytes()
    except OSError as error:
        raise BadInput(f"{_WEIGHTS} is missing: install assay-data again") from error
    held = json.loads(data)
    arrays = {
        name: np.array(held[name], dtype=np.float64) for name in ("centre", "scale", "hidden", "hidden_bias", "output")
    }
    return Model(tuple(held["names"]), bias=float(held["bias"]), sha256=hashlib.sha256(data).hexdigest(), **arrays)
