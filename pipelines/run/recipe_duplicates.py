"""The recipe's `duplicates` section: which samples count as the same picture, and which one stays."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from filters.duplicates_likeness import Bounds
from filters.selection import PREFERENCES


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Thin(_Model):
    """Semantic thinning (SemDeDup) of what is left: pictures that are merely alike."""

    epsilon: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="drop a sample whose cosine to a better one of its k-means cell is above 1 - epsilon"
    )
    target: Annotated[int, Field(ge=1)] | None = Field(
        None, description="or: thin so far that about so many samples stay"
    )

    @model_validator(mode="after")
    def _one(self) -> Thin:
        if (self.epsilon is None) == (self.target is None):
            raise ValueError("give either epsilon or target")
        return self


class Duplicates(_Model):
    """Which samples count as the same picture, and which one stays."""

    exact: bool = Field(True, description="equal SHA-256; equal decoded pixels where the scorer `pixels` ran")
    phash_distance: int | None = Field(4, ge=0, le=16, description="differing bits of 64; null turns it off")
    pdq_distance: int | None = Field(
        31, ge=0, le=64, description="differing bits of 256, where the scorer `pdq` ran; null turns it off"
    )
    dihedral: bool = Field(True, description="compare PDQ hashes in all eight flips and right-angle turns")
    colour_distance: int | None = Field(
        36,
        ge=1,
        le=255,
        description="where the scorer `colours` ran: largest distance of colours (CIELAB a, b) of any of 16 parts of "
        "pictures that pHash or PDQ takes for one; a grey copy counts all the same; null turns it off",
    )
    confirm_distance: int | None = Field(
        62,
        ge=0,
        le=128,
        description="where the scorer `pdq` ran: most differing PDQ bits of pictures that pHash takes for one (twice "
        "PDQ's own bound; unlike pictures differ by about 128); null takes pHash's word alone",
    )
    cosine: float | None = Field(
        None, gt=0.5, le=1, description="least cosine of picture embeddings; belongs to one encoder; null turns it off"
    )
    keep: list[str] = Field(
        ["resolution", "similarity", "uid"],
        min_length=1,
        description="what decides who stays, in order: resolution, similarity, aesthetic, licence (first in "
        "licences.allow), date (earliest), uid",
    )
    representation: str | None = Field(
        None,
        min_length=1,
        description="column of groups: of each cluster, keep the member whose group is least represented so far",
    )
    thin: Thin | None = Field(None, description="semantic thinning of what is left; null leaves it")
    against: list[str] = Field(
        [],
        description="decontamination: runs, or parquet files with sha256, phash, pdq or image columns, none of whose "
        "pictures may be in; relative paths are relative to the recipe",
    )

    @field_validator("keep")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in PREFERENCES:
                raise ValueError(f"{name!r} is not one of {', '.join(PREFERENCES)}")
        return names

    def bounds(self) -> Bounds:
        """Return what the search and the choice compare by."""
        colour = None if self.colour_distance is None else float(self.colour_distance)
        return Bounds(
            self.exact,
            self.phash_distance,
            self.pdq_distance,
            self.dihedral,
            self.cosine,
            colour,
            self.confirm_distance,
        )
