"""Unmarked pictures for false positives: photos under ASSAY_SHARED_DATA, then drawings of the sample corpus."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from filters.decoding import Undecodable, decode
from training.hallmark.posthoc import BITS, RivaGan, survival, weights

_ENDINGS = {".png", ".jpg", ".jpeg", ".webp"}


@dataclass(frozen=True)
class Place:
    """Where one picture lies: a file, or a member of a tar by its offset and length."""

    name: str
    path: Path
    offset: int = 0
    length: int = -1

    def read(self) -> bytes:
        """Return the file's bytes."""
        with self.path.open("rb") as stream:
            stream.seek(self.offset)
            return stream.read(self.length)


def places(photos: list[Path], corpus: Path, count: int) -> list[Place]:
    """Return `count` pictures: the photos, then drawings in an order by lot (seed 0); no bytes twice."""
    drawings = [
        Place(f"{tar.name}/{member.name}", tar, member.offset_data, member.size)
        for tar in sorted(corpus.glob("*.tar"))
        for member in _members(tar)
        if Path(member.name).suffix.lower() in _ENDINGS
    ]
    order = np.random.default_rng(0).permutation(len(drawings))
    seen: set[str] = set()
    found: list[Place] = []
    for place in [*(Place(path.name, path) for path in photos), *(drawings[at] for at in order)]:
        digest = hashlib.sha256(place.read()).hexdigest()
        if digest not in seen:
            seen.add(digest)
            found.append(place)
        if len(found) == count:
            break
    return found


def _members(tar: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(tar) as opened:
        return [member for member in opened if member.isfile()]


def pixels(place: Place) -> np.ndarray | None:
    """Return uint8 (h, w, 3), None where it cannot be decoded."""
    try:
        return np.asarray(decode(place.read()).image)
    except Undecodable:
        return None


def outputs(chosen: list[Place], mark: RivaGan, kept: Path | None, part: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield the decoder's outputs for each picture and its mirror image, float64 (2, 32).

    They are appended to `kept`, and taken from there where they are; `part` (number, of how many) shares the work out
    among processes, each with a file of its own.
    """
    known = {}
    if kept is not None and kept.exists():
        known = {row["name"]: row["logits"] for row in map(json.loads, kept.read_text().splitlines())}
    for place in chosen[part[0] :: part[1]]:
        if place.name not in known:
            shown = pixels(place)
            if shown is None:
                continue
            views = (shown, np.ascontiguousarray(shown[:, ::-1]))
            known[place.name] = [[round(float(one), 6) for one in mark.logits(view)] for view in views]
            if kept is not None:
                with kept.open("a") as stream:
                    stream.write(json.dumps({"name": place.name, "logits": known[place.name]}) + "\n")
        yield np.array(known[place.name])


@dataclass(frozen=True)
class Tally:
    """Pictures, how many of them each rate took for marked by this owner's key, and by any of `owners` others."""

    pictures: int
    owners: int
    own: dict[float, int]
    others: dict[float, int]
    bits_apart: float


def tally(rows: Iterator[np.ndarray], mark: RivaGan, owners: int, rates: tuple[float, ...]) -> Tally:
    """Hold outputs of unmarked pictures against this owner's words, and against those of many others."""
    generator = np.random.default_rng(0)
    words = generator.integers(0, 2, (owners * mark.words, BITS)).astype(bool)
    factor = 2 * mark.words
    own, others = dict.fromkeys(rates, 0), dict.fromkeys(rates, 0)
    bits, pictures = [], 0
    for views in rows:
        pictures += 1
        least, lowest = np.ones(owners), 1.0
        for logits in views:
            lowest = min(lowest, mark.match(logits, min(rates), flipped=False).fpr)
            sizes = weights(logits)
            reached = ((words == (logits > 0)) * sizes).sum(axis=1)
            least = np.minimum(least, survival(sizes)[reached].reshape(owners, mark.words).min(axis=1) * factor)
        bits.append(views[0] > 0)
        for rate in rates:
            own[rate] += lowest <= rate
            others[rate] += int((least <= rate).sum())
    # If outputs of unmarked pictures clustered, one unlucky secret would see many of them.
    some = np.array(bits[:1000])
    apart = (some[:, None] != some[None]).sum(axis=2)[np.triu_indices(len(some), 1)]
    return Tally(pictures, owners, own, others, float(apart.mean()) if len(apart) else float("nan"))
