"""Chooses 64 real drawings that the encoder tells apart by their captions; measures what a model makes of them."""

import io
import tarfile

import numpy as np
from PIL import Image

from filters.decoding import Undecodable, decode

#: Side in pixels that the model sees.
SIDE = 32

#: How much nearer a picture must be to its own caption than to any other of the 64, and how alike two may be at most.
_MARGIN, _ALIKE = 0.25, 0.8


def square(data):
    """A picture cut to its middle, as the training does."""
    image = decode(data).image
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS, (left, top, left + side, top + side))


def candidates(corpus):
    """Near-square drawings with captions of their own: bytes by caption."""
    found = {}
    for shard in sorted(corpus.glob("*.tar")):
        with tarfile.open(shard) as archive:
            files = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
        for name, data in sorted(files.items()):
            if not name.endswith((".png", ".jpg", ".webp")):
                continue
            caption = files[f"{name.rpartition('.')[0]}.txt"].decode().strip().lower()
            try:
                size = Image.open(io.BytesIO(data)).size
            except (OSError, Image.DecompressionBombError):
                continue
            if 4 < len(caption) < 40 and caption not in found and max(size) <= 1.2 * min(size):
                found[caption] = data
    return found


def choose(encoder, corpus, count):
    """`count` drawings by caption, each told by the encoder from all others at the size that the model sees."""
    pictures = {}
    for caption, data in candidates(corpus).items():
        try:
            pictures[caption] = (data, square(data))
        except Undecodable:
            continue
    captions = list(pictures)
    images = encoder.encode_images([pictures[caption][1] for caption in captions])
    alike = images @ encoder.encode_texts(captions).T
    own = np.diag(alike)
    chosen: list[int] = []
    for at in np.lexsort((-own, (alike > own[:, None]).sum(axis=1))):
        trial = [*chosen, int(at)]
        table = alike[np.ix_(trial, trial)]
        margin = np.diag(table) - (table - 10 * np.eye(len(trial))).max(axis=1)
        others = images[trial] @ images[trial].T - 10 * np.eye(len(trial))
        if len(trial) == 1 or (margin.min() > _MARGIN and others.max() < _ALIKE):
            chosen = trial
        if len(chosen) == count:
            break
    return {captions[at]: pictures[captions[at]][0] for at in chosen}


def retrieval(encoder, pictures, originals, captions):
    """Shares of pictures uint8 (n, h, w, 3) whose nearest caption, and whose nearest original, is their own."""
    made = encoder.encode_images([Image.fromarray(one) for one in pictures])
    own = np.arange(len(pictures))
    by_caption = (made @ encoder.encode_texts(captions).T).argmax(axis=1)
    by_picture = (made @ encoder.encode_images([Image.fromarray(one) for one in originals]).T).argmax(axis=1)
    return float((by_caption == own).mean()), float((by_picture == own).mean())
