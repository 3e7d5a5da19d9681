"""Image-text similarity: how well a caption fits its picture, by any encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from filters.encoders.base import Encoder
from filters.encoders.uri import load_encoder
from filters.scoring import Batch, columns

#: Encoders of this process by URI, threads and batch size. Only `SimilarityScorer.load` fills it: the scorer itself
#: travels to worker processes and must not carry a model.
_encoders: dict[tuple[str, int, int], Encoder] = {}


class Embeddings(NamedTuple):
    """Vectors of pictures and of captions: float16 (n, dimension) each, of length 1 before rounding."""

    image: np.ndarray
    text: np.ndarray


@dataclass(frozen=True)
class SimilarityScorer:
    """Cosine between the embeddings of picture and caption, in [-1, 1].

    What is high depends on the encoder: matched pairs of photos lie near 0.18 with `builtin:mini` and near
    0.32 with CLIP ViT-B/32, mismatched ones near 0.02 and 0.18. A threshold therefore belongs to one encoder.

    `model` is a model URI (`filters.encoders.uri`); `batch_size` pictures or captions at once. `threads` is the
    number of CPU threads of the process (0: as they are). It is 1 because jobs use the cores by processes, because
    another number changes the last bits of a cosine and so the hash of a run, and because on busy cores two threads
    took 10 to 20 times as long as one.
    """

    model: str = "builtin:mini"
    threads: int = 1
    batch_size: int = 64

    name: ClassVar[str] = "similarity"
    version: ClassVar[str] = "3"  # 3: builtin:mini's weights of its fourth round

    @property
    def fields(self) -> pa.Schema:
        """The column `similarity`, float32."""
        doc = {"doc": "cosine of picture and caption, -1..1; thresholds belong to one encoder"}
        return pa.schema([pa.field("similarity", pa.float32(), metadata=doc)])

    def load(self) -> None:
        """Load the encoder once a process. Raises `BadInput` with what to do; never takes random weights."""
        if self._key not in _encoders:
            _encoders[self._key] = load_encoder(self.model, self.threads, self.batch_size)

    def model_id(self) -> str:
        """Architecture and SHA-256 of the weights. Valid after `load`."""
        return self._encoder().model_id()

    def draft_side(self) -> int:
        """Return what the encoder needs of the shorter side. Valid after `load`."""
        return self._encoder().draft_side()

    def score(self, batch: Batch) -> pa.RecordBatch:
        """Return one similarity a sample. Valid after `load`."""
        return self.score_with_embeddings(batch)[0]

    def score_with_embeddings(self, batch: Batch) -> tuple[pa.RecordBatch, Embeddings]:
        """Return the scores and the embeddings that they come from."""
        pictures = self._encoder().encode_images([picture.image for picture in batch.pictures])
        captions = self._encoder().encode_texts(batch.captions)
        cosines = np.einsum("nd,nd->n", pictures, captions).clip(-1.0, 1.0)
        scores = columns(self.fields, {"similarity": cosines})
        return scores, Embeddings(pictures.astype(np.float16), captions.astype(np.float16))

    @property
    def _key(self) -> tuple[str, int, int]:
        return self.model, self.threads, self.batch_size

    def _encoder(self) -> Encoder:
        try:
            return _encoders[self._key]
        except KeyError:
            raise RuntimeError(f"{self} is not loaded in this process: call load() first") from None
