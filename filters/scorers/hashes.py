"""Perceptual hash, bit-identical to `imagehash.phash`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy import fftpack

from filters.scorers.lanczos import thumbnail
from filters.scoring import Batch, Picture, columns

#: Side of the grey thumbnail, and of its low frequencies that make the hash.
_SIDE, _LOW = 32, 8

_FIELDS = pa.schema(
    [pa.field("phash", pa.uint64(), metadata={"doc": "64-bit DCT hash; in hex it is imagehash.phash's string"})]
)


@dataclass(frozen=True)
class HashScorer:
    """DCT perceptual hash of 64 bits, for near-duplicates by Hamming distance.

    Source: Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions (2010) §3.2.1, in the
    variant of the imagehash library: 32 x 32 grey thumbnail, DCT-II over both axes, the 8 x 8 lowest
    frequencies, each bit set where its coefficient is above their median. On a picture of one colour all
    but one of the coefficients are rounding noise around 0, there as here.
    """

    name: str = "hashes"
    version: str = "1"

    @property
    def fields(self) -> pa.Schema:
        """`phash` uint64: rows of the 8 x 8 bits from top to bottom, the first bit is the highest."""
        return _FIELDS

    def load(self) -> None:
        """Nothing to load."""

    def model_id(self) -> str:
        """Return the name of the formula."""
        return "imagehash.phash-8x8"

    def score(self, batch: Batch) -> pa.RecordBatch:
        """Return the hash of each picture of the batch."""
        return columns(_FIELDS, {"phash": phashes(batch.pictures)})


def phashes(pictures: list[Picture]) -> np.ndarray:
    """Return the hashes of pictures as uint64 (n,)."""
    if not pictures:
        return np.empty(0, dtype=np.uint64)
    # From the full resolution: any shortcut (a shared smaller copy, reducing_gap) would change bits.
    return hash_thumbnails(np.stack([thumbnail(picture.grey, _SIDE) for picture in pictures]))


def hash_thumbnails(thumbnails: np.ndarray) -> np.ndarray:
    """Return the uint64 (n,) hashes of grey thumbnails uint8 (n, 32, 32).

    The same scipy routine as in imagehash and in the same order of axes, so that even ties and rounding
    noise come out alike.
    """
    spectrum = fftpack.dct(fftpack.dct(thumbnails, axis=1), axis=2)
    low = spectrum[:, :_LOW, :_LOW].reshape(-1, _LOW * _LOW)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def phash_hex(value: int) -> str:
    """Return the 16 hex digits that `str(imagehash.phash(...))` gives for the same picture."""
    return f"{int(value):016x}"
