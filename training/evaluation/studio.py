"""Pictures that are looked at and forgotten: sampled or read in small portions, of which only numbers are kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from pipelines.run.storage import Store
from training.evaluation.sheets import Eye, Sheet, joined, load_sheet
from training.evaluation.subjects import PictureReader, images
from training.sampling.plan import MAX_SEED
from training.sampling.sample import Request, Sampler

#: Numbers of a run under way, so that a killed one goes on; deleted at its end.
WORK = "work"

#: Pictures whose numbers are written at once.
_GENERATED, _REAL = 16, 256


@dataclass(frozen=True)
class Asked:
    """One picture to be generated."""

    prompt: str
    seed: int


@dataclass(frozen=True)
class Studio:
    """Samples and reads pictures. `key`: what their numbers depend on; `store`: the evaluation's folder."""

    sampler: Sampler
    reader: PictureReader
    eye: Eye
    store: Store
    key: str
    batch: int
    say: Callable[[str], None]

    def generated(self, what: str, asked: Sequence[Asked]) -> Sheet:
        """Return the numbers of pictures, in the order of `asked`; at least one."""
        self.say(f"{what}: {len(asked)} pictures")
        return self._sheets(asked, _GENERATED, lambda some: [vars(one) for one in some], self._sample)

    def real(self, what: str, rows: np.ndarray) -> Sheet:
        """Return the numbers of the dataset's pictures `rows` int64 (n,), n above 0; unreadable ones are left out."""
        self.say(f"{what}: {len(rows)} pictures")
        return self._sheets(rows, _REAL, lambda some: [int(row) for row in some], self._read)

    def again(self, asked: Sequence[Asked]) -> list[np.ndarray]:
        """Return uint8 (h, w, 3) of some pictures, sampled once more from their seeds."""
        found: list[np.ndarray] = []
        for start in range(0, len(asked), self.batch):
            some = asked[start : start + self.batch]
            prompts, seeds = [one.prompt for one in some], [one.seed for one in some]
            found += list(self.sampler.sample(Request(prompts, [""] * len(some), seeds)))
        return found

    def _sample(self, asked: Sequence[Asked]) -> Sheet:
        pictures = [Image.fromarray(pixels) for pixels in self.again(asked)]
        return self.eye.look(pictures, np.full(len(asked), -1, np.int64))

    def _read(self, rows: np.ndarray) -> Sheet:
        parts = [self.eye.look(images(pixels), some) for some, pixels in self.reader.read(rows)]
        return joined(parts) if parts else self.eye.look([], rows[:0])

    def _sheets(
        self, things: Any, size: int, named: Callable[[Any], list[Any]], make: Callable[[Any], Sheet]
    ) -> Sheet:
        return joined([self._kept(named(some), some, make) for some in _portions(things, size)])

    def _kept(self, named: list[Any], some: Any, make: Callable[[Any], Sheet]) -> Sheet:
        """Return a portion's sheet from the disk, or make it and write it there."""
        body = json.dumps([self.key, named], sort_keys=True).encode()
        name = f"{WORK}/{hashlib.sha256(body).hexdigest()[:32]}.npz"
        found = load_sheet(self.store.read(name)) if self.store.exists(name) else None
        if found is None:
            found = make(some)
            self.store.write(name, found.dump())
        return found


def _portions(things: Any, size: int) -> Iterator[Any]:
    for start in range(0, len(things), size):
        yield things[start : start + size]


def asked_for(prompts: Sequence[str], count: int, seed: int) -> list[Asked]:
    """Return `count` pictures of the prompts in turns, each with a seed of its own from `seed` on."""
    return [Asked(prompts[at % len(prompts)], (seed + at) % MAX_SEED) for at in range(count)]
