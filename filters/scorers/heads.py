"""Scores read from CLIP's picture embeddings by small published heads: aesthetics and NSFW.

A head takes the embeddings that the similarity scorer has made anyway (`score_embeddings`), so no picture is encoded
twice. Being pure functions of the stored embeddings, these columns can also be made later, without the pictures.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from filters.errors import BadInput
from filters.heads.arithmetic import aesthetic, nsfw_logit, sigmoid
from filters.heads.table import Column, Head, head_for
from filters.heads.weights import Weights, digest, load_weights
from filters.scorers.similarity import SimilarityScorer
from filters.scoring import Batch, columns

#: Heads of this process by name and source. Only `load` fills it: scorers travel to worker processes.
_heads: dict[tuple[str, str], tuple[Weights, str]] = {}


@dataclass(frozen=True)
class ClipHeadScorer(ABC):
    """A head over the picture embeddings of one encoder; see its two kinds below.

    `encoder` is the model URI whose embeddings come in. `head` names a head (`filters.heads.table`), empty for the
    encoder's first one. `weights` is where the head's weights are: empty for the published place, else a `file:` or
    `https:` address (`filters.heads.weights.load_weights`).
    """

    encoder: str = "open-clip:ViT-L-14-quickgelu/openai"
    head: str = ""
    weights: str = ""

    name: ClassVar[Column]
    version: ClassVar[str] = "1"
    doc: ClassVar[str]

    @property
    def fields(self) -> pa.Schema:
        """One column with the scorer's name, float32."""
        return pa.schema([pa.field(self.name, pa.float32(), metadata={"doc": self.doc})])

    def load(self) -> None:
        """Load the head's weights once a process. Raises `BadInput`: no head for the encoder, or no weights."""
        head = self.chosen()
        if (head.name, self.weights) not in _heads:
            weights = load_weights(head, self.weights)
            _heads[head.name, self.weights] = weights, digest(weights)

    def chosen(self) -> Head:
        """Return the head that reads this encoder's embeddings. Raises `BadInput`; looks at no file."""
        return head_for(self.name, self.encoder, self.head)

    def model_id(self) -> str:
        """Return the head's name and the SHA-256 of its tensors. Valid after `load`."""
        return f"{self.chosen().name}@sha256:{self._loaded()[1][:16]}"

    def draft_side(self) -> int:
        """Return what the encoder needs of the shorter side; loads it."""
        encoder = SimilarityScorer(self.encoder)
        encoder.load()
        return encoder.draft_side()

    def score(self, batch: Batch) -> pa.RecordBatch:
        """Encode the pictures and score them, for use without a similarity scorer. Valid after `load`."""
        encoder = SimilarityScorer(self.encoder)
        encoder.load()
        return self.score_embeddings(batch, encoder.score_with_embeddings(batch)[1].image)

    def score_embeddings(self, batch: Batch, vectors: np.ndarray) -> pa.RecordBatch:
        """Return one score a sample from its picture's embedding, (n, dimension) of any float type, in batch order.

        Raises `BadInput` where the dimension is another encoder's, ValueError for another number of rows.
        """
        if len(vectors) != len(batch):
            raise ValueError(f"{len(vectors)} embeddings for {len(batch)} samples")
        head = self.chosen()
        if vectors.ndim != 2 or vectors.shape[1] != head.widths[0]:
            raise BadInput(f"the head {head.name} reads {head.widths[0]} values a picture, not {vectors.shape[1:]}")
        return columns(self.fields, {self.name: self._values(head, self._loaded()[0], vectors).astype(np.float32)})

    @abstractmethod
    def _values(self, head: Head, weights: Weights, vectors: np.ndarray) -> np.ndarray:
        """Return the column's values (n,) for embeddings (n, dimension)."""

    def _loaded(self) -> tuple[Weights, str]:
        try:
            return _heads[self.chosen().name, self.weights]
        except KeyError:
            raise RuntimeError(f"{self} is not loaded in this process: call load() first") from None


@dataclass(frozen=True)
class AestheticScorer(ClipHeadScorer):
    """LAION's aesthetic predictor: the rating that people would give a picture, on a scale of 1 to 10.

    V1 (ViT-B/32, B/16, L/14) and V2 (L/14) have different spreads: a threshold belongs to one head. LAION selected
    its sets at 4.5, 4.75, 5, 6 and 6.5 of V2. The raters of AVA and SAC were photographers and users of an image
    generator; their taste, not an objective quality, is what is predicted.
    """

    name: ClassVar[Column] = "aesthetic"
    doc: ClassVar[str] = "LAION aesthetic rating, 1 to 10; thresholds belong to one head"

    def _values(self, head: Head, weights: Weights, vectors: np.ndarray) -> np.ndarray:
        return aesthetic(vectors, weights)


@dataclass(frozen=True)
class ClipNsfwScorer(ClipHeadScorer):
    """LAION's CLIP-based NSFW detector (ViT-B/32, ViT-L/14): a probability, 0 to 1.

    **Recall is not measured here**: only harmless pictures have been through it. The two heads differ: a threshold
    belongs to one.
    """

    name: ClassVar[Column] = "nsfw_clip"
    doc: ClassVar[str] = "NSFW probability by LAION's head over CLIP, 0 to 1"

    def _values(self, head: Head, weights: Weights, vectors: np.ndarray) -> np.ndarray:
        return sigmoid(nsfw_logit(vectors, weights, head.lookups))
