"""How good an encoder is on labelled data that the user brings."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from PIL import Image

from filters.encoders.base import Encoder
from filters.errors import BadInput

#: Pictures held decoded at once.
_CHUNK = 64

#: Texts compared with all pictures at once; bounds the memory of their cosines.
_ROWS = 1024


def evaluate_retrieval(
    encoder: Encoder, images: Mapping[str, Image.Image], captions: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Measure text-to-image retrieval and the separation of matched from mismatched pairs.

    `images` are RGB pictures by name; a lazy mapping is read in order, 64 at a time. `captions` gives each picture
    its texts. Returns

    - `images`, `captions`: how many took part
    - `r@1`, `r@5`, `r@10`: share of captions whose picture is among the k most similar ones; a picture that ties
      with others counts as behind all of them
    - `auc`: area under the ROC curve (Mann-Whitney, ties count half) of the cosines of all pictures with their own
      captions, against those of every picture with every caption of another one
    - `ms_per_image`: wall milliseconds to preprocess and encode one picture, decoding not included

    Raises `BadInput` where there are fewer than two pictures, captions without a picture, or the reverse.
    """
    _check(images, captions)
    names = list(captions)
    pictures, seconds = _encode(encoder, images, names)
    owner = np.repeat(np.arange(len(names)), [len(captions[name]) for name in names])
    texts = encoder.encode_texts([text for name in names for text in captions[name]])
    ranks, matched = _ranks(texts, pictures, owner)
    return {
        "images": len(names),
        "captions": len(texts),
        **{f"r@{k}": float((ranks < k).mean()) for k in (1, 5, 10)},
        "auc": _auc_against_all_others(texts, pictures, owner, matched),
        "ms_per_image": seconds * 1000.0 / len(names),
    }


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the probability that a positive value exceeds a negative one, ties counted half (Mann-Whitney)."""
    from scipy.stats import rankdata  # 0.4 s to load; every run imports this module

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


def _ranks(texts: np.ndarray, pictures: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each text, how many other pictures are at least as similar as its own, and its own's cosine."""
    ranks, matched = [], []
    for some, cosines in _cosines(texts, pictures):
        own = cosines[np.arange(len(cosines)), owner[some]]
        ranks.append((cosines >= own[:, None]).sum(axis=1) - 1)
        matched.append(own)
    return np.concatenate(ranks), np.concatenate(matched)


def _auc_against_all_others(texts: np.ndarray, pictures: np.ndarray, owner: np.ndarray, matched: np.ndarray) -> float:
    """Return the AUC of the `matched` cosines against all pairs of a text and a picture that is not its own.

    Exact, and in the memory of one block: each of the others is counted against the sorted matched ones.
    """
    ordered, won = np.sort(matched), 0
    for some, cosines in _cosines(texts, pictures):
        other = np.ones(cosines.shape, bool)
        other[np.arange(len(cosines)), owner[some]] = False
        for side in ("left", "right"):  # below, and below or alike: a tie is counted once of twice
            below = np.searchsorted(ordered, cosines[other], side=side)
            won += int((len(ordered) - below).sum())
    return won / 2 / (len(ordered) * len(texts) * (len(pictures) - 1))


def _cosines(texts: np.ndarray, pictures: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield some texts' rows and their cosines with all pictures, block by block; the same bits every time."""
    for start in range(0, len(texts), _ROWS):
        some = slice(start, start + _ROWS)
        yield some, texts[some] @ pictures.T
