"""How good an encoder is on labelled data that the user brings."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image
from scipy.stats import rankdata

from filters.encoders.base import Encoder
from filters.errors import BadInput

#: Pictures held decoded at once.
_CHUNK = 64

#: Texts compared with all pictures at once; bounds the memory of their cosines.
_ROWS = 1024


def evaluate_retrieval(
    encoder: Encoder, images: Mapping[str, Image.Image], captions: Mapping[str, Sequence[str]], seed: int = 0
) -> dict[str, float]:
    """Measure text-to-image retrieval and the separation of matched from mismatched pairs.

    `images` are RGB pictures by name; a lazy mapping is read in order, 64 at a time. `captions` gives each picture
    its texts. Returns

    - `images`, `captions`: how many took part
    - `r@1`, `r@5`, `r@10`: share of captions whose picture is among the k most similar ones; a picture that ties
      with others counts as behind all of them
    - `auc`: area under the ROC curve (Mann-Whitney, ties count half) of the cosines of each picture with its own
      captions, against those of the same picture with one random caption of another picture each (`seed`)
    - `ms_per_image`: wall milliseconds to preprocess and encode one picture, decoding not included

    Raises `BadInput` where there are fewer than two pictures, captions without a picture, or the reverse.
    """
    _check(images, captions)
    names = list(captions)
    pictures, seconds = _encode(encoder, images, names)
    owner = np.repeat(np.arange(len(names)), [len(captions[name]) for name in names])
    texts = encoder.encode_texts([text for name in names for text in captions[name]])
    matched = np.einsum("nd,nd->n", texts, pictures[owner])
    ranks = _ranks(texts, pictures, owner)
    mismatched = np.einsum("nd,nd->n", texts[_others(owner, seed)], pictures[owner])
    return {
        "images": len(names),
        "captions": len(texts),
        **{f"r@{k}": float((ranks < k).mean()) for k in (1, 5, 10)},
        "auc": auc(matched, mismatched),
        "ms_per_image": seconds * 1000.0 / len(names),
    }


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the probability that a positive value exceeds a negative one, ties counted half (Mann-Whitney)."""
    ranks = rankdata(np.concatenate([positive, negative]))
    smallest = len(positive) * (len(positive) + 1) / 2
    return float((ranks[: len(positive)].sum() - smallest) / (len(positive) * len(negative)))


def _check(images: Mapping[str, Image.Image], captions: Mapping[str, Sequence[str]]) -> None:
    without_picture = [name for name in captions if name not in images]
    if without_picture:
        raise BadInput(f"{len(without_picture)} captioned pictures are missing, {without_picture[0]!r} among them")
    without_caption = [name for name in images if not captions.get(name)]
    if without_caption:
        raise BadInput(f"{len(without_caption)} pictures have no caption, {without_caption[0]!r} among them")
    if len(images) < 2:
        raise BadInput(f"retrieval needs at least 2 captioned pictures, not {len(images)}")


def _encode(encoder: Encoder, images: Mapping[str, Image.Image], names: list[str]) -> tuple[np.ndarray, float]:
    """Return the pictures' vectors in the order of `names`, and the seconds that encoding took."""
    rows, seconds = [], 0.0
    for start in range(0, len(names), _CHUNK):
        some = [images[name] for name in names[start : start + _CHUNK]]
        began = time.perf_counter()
        rows.append(encoder.encode_images(some))
        seconds += time.perf_counter() - began
    return np.concatenate(rows), seconds


def _ranks(texts: np.ndarray, pictures: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Return, for each text, how many other pictures are at least as similar as its own."""
    ranks = []
    for start in range(0, len(texts), _ROWS):
        cosines = texts[start : start + _ROWS] @ pictures.T
        own = cosines[np.arange(len(cosines)), owner[start : start + _ROWS]]
        ranks.append((cosines >= own[:, None]).sum(axis=1) - 1)
    return np.concatenate(ranks)


def _others(owner: np.ndarray, seed: int) -> np.ndarray:
    """Return, for each caption, the index of one random caption of another picture.

    Drawn evenly over all captions that are not the picture's own: captions of one picture are neighbours, so the
    draw leaves out their range and skips over it.
    """
    generator = np.random.default_rng(seed)
    first = np.searchsorted(owner, owner, side="left")
    count = np.searchsorted(owner, owner, side="right") - first
    drawn = generator.integers(0, len(owner) - count)
    return drawn + np.where(drawn >= first, count, 0)
