"""One picture of a shard to the pixels of its bucket: read, compare with its SHA-256, decode, crop, resize."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from filters.decoding import Undecodable, decode
from filters.errors import first_line
from training.data.offsets import Reader

#: Reasons for which a sample cannot be read, beside those of the decoder (`filters.reasons`).
BYTES_CHANGED = "BYTES_CHANGED"
FILE_UNREADABLE = "FILE_UNREADABLE"
DECODER_CRASHED = "DECODER_CRASHED"
DECODER_TIMEOUT = "DECODER_TIMEOUT"
NOT_CACHED = "NOT_CACHED"


@dataclass(frozen=True)
class Job:
    """Where a picture is and what to make of it.

    `tar`, `offset`, `size`: the place; `sha256`: 32 bytes; `across`, `down`: 0 to 1, which part is cropped (0.5: the
    middle); `flip`: mirror it left to right.
    """

    tar: str
    offset: int
    size: int
    sha256: bytes
    across: float = 0.5
    down: float = 0.5
    flip: bool = False


class Outcome(NamedTuple):
    """What came of a job: an empty `reason` means pixels.

    `height`, `width`: the upright picture's size; `top`, `left`: first pixel of the crop, in the resized picture.
    """

    reason: str = ""
    detail: str = ""
    height: int = 0
    width: int = 0
    top: int = 0
    left: int = 0


def crop_box(
    width: int, height: int, to_width: int, to_height: int, across: float, down: float
) -> tuple[tuple[float, float, float, float], int, int]:
    """Return (left, top, right, bottom) in the picture, and top and left in the resized picture.

    The box is the largest one of the target's shape; it keeps at least one of the picture's sides whole.
    """
    scale = max(to_width / width, to_height / height)
    box_width, box_height = min(to_width / scale, width), min(to_height / scale, height)
    left, top = (width - box_width) * across, (height - box_height) * down
    box = (left, top, min(left + box_width, width), min(top + box_height, height))
    return box, round(top * scale), round(left * scale)


def run_job(reader: Reader, job: Job, pixels: np.ndarray, max_pixels: int) -> Outcome:
    """Fill `pixels`, uint8 (3, height, width), with a picture; they are left alone where it cannot be read."""
    try:
        data = reader.read(job.tar, job.offset, job.size)
    except OSError as error:
        return Outcome(FILE_UNREADABLE, f"{job.tar}: {first_line(error)}")
    if hashlib.sha256(data).digest() != job.sha256:
        return Outcome(
            BYTES_CHANGED, f"{job.tar}: the bytes at {job.offset} are not the picture that the sidecar names"
        )
    try:
        image = decode(data, max_pixels).image
    except Undecodable as error:
        return Outcome(error.reason.value, error.detail)
    _, to_height, to_width = pixels.shape
    box, top, left = crop_box(image.width, image.height, to_width, to_height, job.across, job.down)
    # with a gap of 3 the quick reduction first is as good as resampling at once (Pillow's documentation)
    small = image.resize((to_width, to_height), Image.Resampling.LANCZOS, box, reducing_gap=3.0)
    if job.flip:
        small = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels[:] = np.asarray(small).transpose(2, 0, 1)
    return Outcome("", "", image.height, image.width, top, left)
