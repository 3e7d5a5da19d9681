"""From a picture whose credential is gone back to the one that was issued: mark, register, stored manifest, likeness.

A mark is a pointer and no proof: it can be put onto foreign pictures. What decides is the PDQ hash that stands inside
the signed manifest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from filters.optout.look_alike import MIN_QUALITY, PDQ_DISTANCE
from filters.scorers.pdq import dihedral_hashes
from training.hallmark import gaussian_shading
from training.hallmark.claim import Claim
from training.hallmark.reader import read_stored
from training.hallmark.registry import Entry, HallmarkRegistry
from training.hallmark.watermark import Detection

State = Literal["recovered, content altered", "recovered by likeness", "transplanted mark", "unconfirmed mark"]

_BITS = 256


@dataclass(frozen=True)
class Recovery:
    """What came of it.

    `recovered, content altered`: a mark led to a stored manifest whose signed hash fits. `recovered by likeness`: no
    mark, but a stored manifest fits. `transplanted mark`: our mark, in a picture that is like none of those issued
    with it. `unconfirmed mark`: our mark, but the picture is too plain for its hash to say anything, or the register
    holds nothing under the mark that is signed by us. `distance`: bits of 256 between the hashes, of the nearest.
    """

    state: State
    detail: str
    id: str | None = None
    distance: int | None = None
    claim: Claim | None = None


@dataclass(frozen=True)
class _Likeness:
    """Hashes of the picture as it is and of its seven flips and turns, their quality, and the file for the reader."""

    codes: tuple[bytes, ...]
    quality: int
    picture: bytes

    def distance(self, code: bytes) -> int:
        """Return the bits that differ from the nearest of the eight."""
        hashes = np.frombuffer(b"".join(self.codes), np.uint8).reshape(-1, len(code))
        return int(np.bitwise_count(hashes ^ np.frombuffer(code, np.uint8)).sum(axis=1, dtype=np.int64).min())


def recover(
    picture: bytes, image: Image.Image, detections: Sequence[Detection], registry: HallmarkRegistry, anchors: str
) -> Recovery | None:
    """Return what the marks that were found and the register say about a picture; None where they know nothing."""
    codes, quality = dihedral_hashes(image)
    likeness = _Likeness(tuple(codes), quality, picture)
    found = [one for one in detections if one.found and one.value is not None]
    outcomes = [_by_mark(one, likeness, registry, anchors) for one in found]
    for outcome in outcomes:
        if outcome.claim is not None:
            return outcome
    return outcomes[0] if outcomes else _by_likeness(likeness, registry, anchors)


def _by_mark(found: Detection, likeness: _Likeness, registry: HallmarkRegistry, anchors: str) -> Recovery:
    """Follow one mark."""
    assert found.value is not None
    if found.algorithm == gaussian_shading.ALGORITHM:
        entry = registry.get(found.value)
        entries = [entry] if entry else []
    else:
        entries = _near(likeness, registry, found.value)
    if likeness.quality < MIN_QUALITY:
        return Recovery("unconfirmed mark", f"the picture is too plain to compare (PDQ quality {likeness.quality})")
    nearest: tuple[int, Entry] | None = None
    for entry in entries:
        claim, distance = _signed(entry, likeness, anchors)
        if claim is None:
            continue
        if claim.fingerprint is None or claim.fingerprint.quality < MIN_QUALITY:
            return Recovery("unconfirmed mark", "the picture that was issued with it is too plain to compare")
        if distance <= PDQ_DISTANCE:
            detail = f"its mark leads to {claim.id}, whose signed hash differs in {distance} of {_BITS} bits"
            return Recovery("recovered, content altered", detail, claim.id, distance, claim)
        if nearest is None or distance < nearest[0]:
            nearest = (distance, entry)
    if nearest is not None:
        return _transplanted(f"the picture issued with it differs in {nearest[0]} of {_BITS} bits", nearest[0])
    if entries or next(registry.by_mark(found.value), None) is None:
        return Recovery("unconfirmed mark", "the register holds no manifest under it whose signature is ours")
    return _transplanted("no picture issued with it looks like this one")


def _transplanted(why: str, distance: int | None = None) -> Recovery:
    # PDQ sees no likeness after a crop of 10 %: measured, 98 bits on average.
    return Recovery("transplanted mark", f"{why}; a crop or a turn by some degrees also does this", distance=distance)


def _by_likeness(likeness: _Likeness, registry: HallmarkRegistry, anchors: str) -> Recovery | None:
    if likeness.quality < MIN_QUALITY:
        return None
    for entry in _near(likeness, registry, None):
        claim, distance = _signed(entry, likeness, anchors)
        if claim is not None and distance <= PDQ_DISTANCE:
            detail = f"no mark was found; the signed hash of {claim.id} differs in {distance} of {_BITS} bits"
            return Recovery("recovered by likeness", detail, claim.id, distance, claim)
    return None


def _near(likeness: _Likeness, registry: HallmarkRegistry, mark: str | None) -> list[Entry]:
    """Return the rows that look like the picture or one of its flips and turns, nearest first."""
    return [entry for entry, _ in registry.like(likeness.codes, PDQ_DISTANCE, MIN_QUALITY, mark)]


def _signed(entry: Entry, likeness: _Likeness, anchors: str) -> tuple[Claim | None, int]:
    """Return what the row's manifest says and how far its signed hash is away; None where it is not ours.

    The row itself is not believed: its hash only finds it, and its id must be the manifest's.
    """
    claim = read_stored(likeness.picture, entry.store, anchors)
    if claim is None or claim.id != entry.id or claim.fingerprint is None:
        return None, _BITS
    return claim, likeness.distance(bytes.fromhex(claim.fingerprint.pdq))
