"""The few pictures of a report: small, sampled once more from their seeds, and labelled as generated.

No generated picture is a file of its own here, and none leaves at its full size. Each thumbnail bears a visible label
and IPTC's digital source type; it has no signed credential and no register entry, and is not for release.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, PngImagePlugin

from filters.scorers.nsfw import NsfwScorer
from training.evaluation.document import Evaluation, Memorisation, Pair
from training.evaluation.studio import Asked, Studio
from training.evaluation.subjects import Subjects
from training.hallmark.duties import VisibleLabel, labelled, xmp_packet
from training.sampling.guards import NSFW_BOUND
from training.sampling.select import batch_of

#: Longer side of a thumbnail in pixels.
SIDE = 128

#: Pictures that are shown beside the flagged ones.
SAMPLES = 16


@dataclass(frozen=True)
class Shot:
    """One thumbnail as a data URL, empty where it is not shown, and the words below it."""

    source: str
    words: str


@dataclass(frozen=True)
class Comparison:
    """A generated picture, and the training pictures that it is nearest to by hash and by embedding."""

    pair: Pair
    generated: Shot
    by_hash: Shot | None
    by_embedding: Shot


class Gallery:
    """Makes a report's thumbnails."""

    def __init__(self, studio: Studio, subjects: Subjects) -> None:
        """Load what judges whether a picture may be shown. Raises `BadInput` where its package is missing."""
        self._studio, self._subjects = studio, subjects
        self._nsfw = NsfwScorer(threads=1)
        self._nsfw.load()

    def samples(self, asked: Sequence[Asked]) -> list[Shot]:
        """Return some generated pictures with their prompts."""
        return [Shot(source, one.prompt) for source, one in zip(self._generated(asked), asked, strict=True)]

    def comparisons(self, found: Evaluation) -> list[Comparison]:
        """Return the pairs of the memorisation audit."""
        if not isinstance(found.memorisation, Memorisation):
            return []
        pairs = found.memorisation.pairs
        sources = self._generated([Asked(pair.prompt, pair.seed) for pair in pairs])
        uids = {uid for pair in pairs for uid in (pair.hash_uid, pair.embedding_uid) if uid is not None}
        real = self._real(sorted(uids))
        return [
            Comparison(
                pair,
                Shot(source, pair.prompt),
                real[pair.hash_uid] if pair.hash_uid is not None else None,
                real[pair.embedding_uid],
            )
            for pair, source in zip(pairs, sources, strict=True)
        ]

    def _generated(self, asked: Sequence[Asked]) -> list[str]:
        found = []
        for pixels, one in zip(self._studio.again(asked), asked, strict=True):
            scores = self._nsfw.score(batch_of([pixels], one.prompt)).column("nsfw").to_numpy(zero_copy_only=False)
            found.append(_png(marked(pixels), generated=True) if scores[0] < NSFW_BOUND else "")
        return found

    def _real(self, uids: Sequence[str]) -> dict[str, Shot]:
        shards = self._subjects.shards
        where = {uid: at for at, uid in enumerate(shards.uids(np.arange(len(shards))))}
        rows = np.array([where[uid] for uid in uids], np.int64)
        found = {uid: Shot("", "cannot be read") for uid in uids}
        for some, pixels in self._studio.reader.read(rows):
            texts = shards.captions(some)
            for uid, text, one in zip(shards.uids(some), texts, pixels, strict=True):
                picture = _fitted(Image.fromarray(np.ascontiguousarray(one.transpose(1, 2, 0))))
                found[uid] = Shot(_png(picture, generated=False), f"{text} ({uid[:8]})")
        return found


def marked(pixels: np.ndarray) -> Image.Image:
    """Return a generated picture, uint8 (h, w, 3), as a thumbnail with its visible label."""
    return Image.fromarray(labelled(np.asarray(_fitted(Image.fromarray(pixels))), VisibleLabel("AI")))


def _fitted(picture: Image.Image) -> Image.Image:
    scale = SIDE / max(picture.size)
    size = max(32, round(picture.width * scale)), max(32, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)


def _png(picture: Image.Image, generated: bool) -> str:
    more = PngImagePlugin.PngInfo()
    if generated:
        packet = xmp_packet("", "trainedAlgorithmicMedia", None)
        more.add_itxt("XML:com.adobe.xmp", packet.decode("utf-8"))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=more, optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
