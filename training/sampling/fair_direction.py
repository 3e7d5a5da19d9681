"""Directions for fair guidance: two values between which pictures are told apart, by the encoder or in the pixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from pydantic import Field, model_validator

from filters.encoders.base import Encoder
from filters.errors import BadInput
from training.config_base import Section
from training.sampling.shipped_files import load_named, names_in

_FOLDER = Path(__file__).parent / "directions"
_SLACK = 0.005

#: Weights of red, green and blue in luma (ITU-R BT.601).
_LUMA = np.array([0.299, 0.587, 0.114])


class Side(Section):
    """One value: its name, its share of the draws, and, for the encoder, captions of pictures that have it."""

    value: str = Field(min_length=1, max_length=60, pattern=r"^[\w -]+$")
    share: float = Field(gt=0, lt=1)
    texts: list[str] = Field(default_factory=list, max_length=1000)


class Stated(Section):
    """Which file of axes (`--diversify`), and which axis of it, tells whether a prompt states the attribute."""

    axes: str
    axis: str


class Direction(Section):
    """A file. `measure`: in the pixels; without it, the encoder's direction from the low texts to the high ones.

    `people_only`: learned from pictures whose captions name people, so that it is about them.
    """

    version: Literal[1]
    name: str = Field(min_length=1, max_length=60, pattern=r"^[\w -]+$")
    date: str = Field(min_length=1, max_length=40)
    source: str = Field(min_length=1)
    limits: str = Field(min_length=1)
    measure: Literal["brightness", "warmth"] | None = None
    people_only: bool = False
    stated_by: Stated | None = None
    low: Side
    high: Side

    @model_validator(mode="after")
    def _whole(self) -> Direction:
        if self.measure is None and not (self.low.texts and self.high.texts):
            raise ValueError("low and high need texts, or the direction a measure")
        if abs(self.low.share + self.high.share - 1) > _SLACK:
            raise ValueError(f"the shares add up to {self.low.share + self.high.share:g}, not to 1")
        if self.low.value == self.high.value:
            raise ValueError("low and high have the same name")
        return self

    @property
    def digest(self) -> str:
        """Return the SHA-256 over all that the file says, 64 hex digits."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    @property
    def shares(self) -> dict[str, float]:
        """Return the shares by value."""
        return {side.value: side.share for side in (self.low, self.high)}


def shipped_directions() -> list[str]:
    """Return the names of the directions that Assay brings."""
    return names_in(_FOLDER)


def load_direction(named: str) -> Direction:
    """Return a direction by its shipped name, or by path (YAML). Raises `BadInput` with file, line and key."""
    return load_named(Direction, named, _FOLDER, "--fair-axis", "direction")


#: From pictures uint8 (n, h, w, 3) to where they lie on a direction, float64 (n,); more is nearer to the high value.
Measure = Callable[[np.ndarray], np.ndarray]


def measure_of(direction: Direction, encoder: Callable[[], Encoder]) -> Measure:
    """Return what measures a direction; `encoder()` is asked for only where it is needed."""
    if direction.measure == "brightness":
        return lambda pictures: (pictures.astype(np.float64).mean(axis=(1, 2)) @ _LUMA) / 255
    if direction.measure == "warmth":
        return lambda pictures: (pictures.astype(np.float64).mean(axis=(1, 2)) @ np.array([1.0, 0.0, -1.0])) / 255
    loaded = encoder()
    vector = encoder_direction(loaded, direction)

    def project(pictures: np.ndarray) -> np.ndarray:
        found: np.ndarray = (
            loaded.encode_images([Image.fromarray(one) for one in pictures]).astype(np.float64) @ vector
        )
        return found

    return project


def encoder_direction(encoder: Encoder, direction: Direction) -> np.ndarray:
    """Return the unit vector (width,) from the mean of the low texts to that of the high ones.

    The difference of group means is the direction of Bolukbasi et al. (arXiv:1607.06520) for pairs of sets.
    """
    low, high = (
        encoder.encode_texts(side.texts).astype(np.float64).mean(axis=0) for side in (direction.low, direction.high)
    )
    difference = high - low
    length = float(np.linalg.norm(difference))
    if length < 1e-6:
        raise BadInput(f"--fair-axis {direction.name}: the encoder does not tell its texts apart")
    found: np.ndarray = difference / length
    return found
