"""What every watermark can do, the secret that all of them start from, and what a match is worth."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from filters.errors import BadInput
from training.hallmark.chains import write_new

#: A mark counts as found where an unmarked picture would match as well with at most this probability.
FPR = 1e-6

_SECRET_BYTES = 32


@dataclass(frozen=True)
class WatermarkKey:
    """The secret of an owner's marks, 32 bytes. Whoever has it can forge and remove them."""

    secret: bytes = field(repr=False)

    def derive(self, purpose: str) -> bytes:
        """Return 32 bytes for one purpose: HMAC-SHA256 of its name."""
        return hmac.new(self.secret, f"assay-hallmark:{purpose}".encode(), hashlib.sha256).digest()


def new_key_file(path: Path) -> WatermarkKey:
    """Write a fresh secret (hex, mode 0600) and return it. Raises `BadInput` where a file is in the way."""
    secret = secrets.token_bytes(_SECRET_BYTES)
    write_new(path, secret.hex().encode() + b"\n", secret=True)
    return WatermarkKey(secret)


def read_key_file(path: Path) -> WatermarkKey:
    """Read a secret. Raises `BadInput`."""
    try:
        secret = bytes.fromhex(path.read_text("ascii").strip())
    except OSError as error:
        raise BadInput(f"{path}: cannot read the watermark key ({error.strerror})") from None
    except ValueError:
        raise BadInput(f"{path}: no watermark key; make one with assay keys init") from None
    if len(secret) != _SECRET_BYTES:
        raise BadInput(f"{path}: a watermark key has {_SECRET_BYTES} bytes, this one {len(secret)}")
    return WatermarkKey(secret)


@dataclass(frozen=True)
class Detection:
    """The best match in a picture, by one watermark.

    `value` is that match's id or word in hex, None where there was nothing to compare with. `fpr` is the probability
    that an unmarked picture gives a match this good anywhere in the search, over the draw of the secret; it counts
    every candidate and every orientation that was tried. `matches` of `bits` agree; `flipped`: in the mirror image.
    """

    algorithm: str
    found: bool
    value: str | None
    fpr: float
    matches: int
    bits: int
    flipped: bool = False


class Detector(Protocol):
    """Looks for one kind of mark."""

    @property
    def algorithm(self) -> str:
        """Return the mark's name in soft bindings."""
        ...

    def detect(self, pixels: np.ndarray, bound: float = FPR) -> Detection:
        """Look for the owner's marks in uint8 (h, w, 3); found where the false-positive probability is <= `bound`."""
        ...


class Watermark(Detector, Protocol):
    """A mark that is put into finished pixels."""

    def new_value(self) -> str:
        """Return the value for one more picture, in hex."""
        ...

    def values(self) -> tuple[str, ...]:
        """Return all values that the owner uses."""
        ...

    def embed(self, pixels: np.ndarray, value: str) -> np.ndarray:
        """Return a marked copy of uint8 (h, w, 3)."""
        ...


def best(detections: Sequence[Detection]) -> Detection | None:
    """Return the detection that chance explains worst, None of none."""
    return min(detections, key=lambda one: one.fpr, default=None)
