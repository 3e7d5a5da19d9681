"""Width, height and shape of the upright picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from filters.scoring import Batch, columns

_FIELDS = pa.schema(
    [
        pa.field("width_upright", pa.int32(), metadata={"doc": "width in pixels, after EXIF orientation"}),
        pa.field("height_upright", pa.int32(), metadata={"doc": "height in pixels, after EXIF orientation"}),
        pa.field("min_side", pa.int32(), metadata={"doc": "shorter side in pixels"}),
        pa.field("aspect_ratio", pa.float32(), metadata={"doc": "longer side over shorter side, 1 or more"}),
    ]
)


@dataclass(frozen=True)
class SizeScorer:
    """Sizes in pixels after EXIF orientation, and longer side over shorter side (1 for a square)."""

    name: str = "size"
    version: str = "1"

    @property
    def fields(self) -> pa.Schema:
        """`width_upright`, `height_upright`, `min_side` int32; `aspect_ratio` float32."""
        return _FIELDS

    def load(self) -> None:
        """Nothing to load."""

    def model_id(self) -> str:
        """Return the name of the formula."""
        return "size"

    def draft_side(self) -> int:
        """Return 0: sizes are those of the file."""
        return 0

    def score(self, batch: Batch) -> pa.RecordBatch:
        """Return the sizes of the batch's pictures."""
        width = np.array([picture.width for picture in batch.pictures], dtype=np.int32)
        height = np.array([picture.height for picture in batch.pictures], dtype=np.int32)
        shorter = np.minimum(width, height)
        values: dict[str, object] = {
            "width_upright": width,
            "height_upright": height,
            "min_side": shorter,
            "aspect_ratio": (np.maximum(width, height) / shorter).astype(np.float32),
        }
        return columns(_FIELDS, values)
