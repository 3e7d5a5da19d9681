"""Looks of the pictures that a checkpoint was trained on, whole and as the model saw them, by their PDQ hashes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from filters.optout.look_alike import MIN_QUALITY, PdqIndex
from pipelines.run.directory import Run
from training.sampling.seen import Seen


@dataclass(frozen=True)
class Alike:
    """The nearest picture of the dataset: its uid, and how many of 256 bits differ."""

    uid: str
    bits: int


@dataclass(frozen=True)
class TrainingLooks:
    """Hashes of a dataset's pictures, and the uid (n,) of the picture that each owner in the index is.

    In memory: 32 bytes a hash, two hashes a picture.
    """

    uids: list[str]
    hashes: PdqIndex

    def nearest(self, codes: list[bytes], quality: int, bits: int) -> Alike | None:
        """Return the picture that one with these hashes is too much like, None for none.

        `codes`: PDQ of the picture's eight flips and turns; `quality` 0 to 100; `bits`: up to where it is alike.
        """
        packed = np.frombuffer(b"".join(codes), np.uint8).reshape(-1, 32)
        found = self.hashes.search(packed, np.full(len(codes), quality >= MIN_QUALITY), bits)
        if not len(found.registered):
            return None
        at = int(found.distance.argmin())
        return Alike(self.uids[int(found.registered[at])], int(found.distance[at]))


def training_looks(run: Run, seen: Seen, more: Sequence[tuple[Run, Seen]] = ()) -> TrainingLooks:
    """Return the looks of all pictures that the model saw, and of all whose PDQ the run keeps, dropped ones too.

    `more`: further datasets, such as an adapter's.
    """
    uids: list[str] = []
    codes: list[bytes] = []
    for one, looks in ((run, seen), *more):
        found = _kept(one)
        uids += looks.uids + found.uids
        codes += looks.codes + found.codes
    return TrainingLooks(uids, PdqIndex.of(codes))


def _kept(run: Run) -> Seen:
    """Return the hashes that a run keeps of whole pictures."""
    uids: list[str] = []
    codes: list[bytes] = []
    for table in run.tables("scores", ["uid", "pdq", "pdq_quality"]):
        if table.num_columns < 3:
            break  # the recipe asks for no PDQ: then the model's own view is all there is
        quality = table.column("pdq_quality").fill_null(-1).to_numpy(zero_copy_only=False)
        uids += table.column("uid").to_pylist()
        codes += [
            code if code is not None and good else b""
            for code, good in zip(table.column("pdq").to_pylist(), quality >= MIN_QUALITY, strict=True)
        ]
    return Seen(uids, codes)
