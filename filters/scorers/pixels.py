"""Hash of the decoded pixels: the same picture in another file, losslessly packed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pyarrow as pa
from PIL import Image

from filters.scoring import Batch, columns

_FIELDS = pa.schema(
    [pa.field("pixels", pa.binary(16), metadata={"doc": "BLAKE2b-128 of width, height and upright RGB pixels"})]
)


@dataclass(frozen=True)
class PixelScorer:
    """BLAKE2b-128 of the decoded picture: equal for a PNG packed anew, without its metadata, or as lossless WebP.

    Transparency counts as it was composited. A lossy copy has other pixels; that is what perceptual hashes are for.
    """

    name: str = "pixels"
    version: str = "1"

    @property
    def fields(self) -> pa.Schema:
        """`pixels` fixed_size_binary(16)."""
        return _FIELDS

    def load(self) -> None:
        """Nothing to load."""

    def model_id(self) -> str:
        """Return the name of the formula."""
        return "blake2b-128-rgb"

    def score(self, batch: Batch) -> pa.RecordBatch:
        """Return the hash of each picture of the batch."""
        return columns(_FIELDS, {"pixels": [pixel_hash(picture.image) for picture in batch.pictures]})


def pixel_hash(image: Image.Image) -> bytes:
    """Return the hash (16 bytes) of an RGB picture."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(b"%dx%d:" % image.size)
    digest.update(image.tobytes())
    return digest.digest()
