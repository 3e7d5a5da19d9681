"""All that is known of a set of pictures, in numbers alone: the pictures themselves are not kept."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from PIL import Image

from filters.encoders.base import Encoder
from filters.optout.look_alike import MIN_QUALITY
from filters.scorers.pdq import dihedral_hashes
from training.evaluation.features import EncoderFeatures, Features


@dataclass(frozen=True)
class Sheet:
    """n pictures: `features` (n, d), `vectors` (n, e) of length 1 beside texts, `codes` uint8 (n, 8, 32), PDQ of all
    flips and turns, `usable` bool (n,): whether the hash says anything, `rows` int64 (n,): the dataset's, -1 for none.
    """

    features: np.ndarray
    vectors: np.ndarray
    codes: np.ndarray
    usable: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.usable)

    def take(self, at: np.ndarray) -> Sheet:
        """Return some of the pictures."""
        return Sheet(*(getattr(self, one.name)[at] for one in fields(self)))

    def dump(self) -> bytes:
        """Return the sheet as the bytes of a file."""
        buffer = io.BytesIO()
        np.savez(buffer, **{one.name: getattr(self, one.name) for one in fields(self)})
        return buffer.getvalue()


def load_sheet(data: bytes) -> Sheet | None:
    """Return the sheet of a file's bytes, None where they are none."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as body:
            found = Sheet(*(body[one.name] for one in fields(Sheet)))
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile):
        return None
    whole = {len(getattr(found, one.name)) for one in fields(Sheet)}
    return found if len(whole) == 1 else None


def joined(sheets: Sequence[Sheet]) -> Sheet:
    """Return the sheets one behind the other."""
    return Sheet(*(np.concatenate([getattr(sheet, one.name) for sheet in sheets]) for one in fields(Sheet)))


@dataclass(frozen=True)
class Eye:
    """Looks at pictures: by the features they are compared by, beside texts, and by hash."""

    features: Features
    encoder: Encoder

    def look(self, pictures: Sequence[Image.Image], rows: np.ndarray) -> Sheet:
        """Return the sheet of RGB pictures; `rows` int64 (n,) of the dataset, -1 for generated ones."""
        vectors = self.encoder.encode_images(list(pictures))
        same = isinstance(self.features, EncoderFeatures) and self.features.encoder is self.encoder
        found = vectors if same else self.features.of(pictures)
        hashes = [dihedral_hashes(picture) for picture in pictures]
        codes = np.frombuffer(b"".join(b"".join(turns) for turns, _ in hashes), np.uint8).reshape(-1, 8, 32)
        usable = np.array([quality >= MIN_QUALITY for _, quality in hashes], dtype=bool)
        return Sheet(found, vectors, codes, usable, np.asarray(rows, np.int64))
