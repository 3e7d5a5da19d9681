"""The recipe's `rights` section: which statements count, and what silence means."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class LookAlike(BaseModel):
    """Bounds of likeness to registered pictures."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pdq_distance: int = Field(31, ge=0, le=63, description="differing bits of 256 up to which a picture is the same")
    cosine: float = Field(0.95, gt=0, le=1, description="cosine of the similarity encoder from which it is the same")
    review_cosine: float = Field(0.90, gt=0, le=1, description="cosine from which a person must judge the pair")

    @model_validator(mode="after")
    def _ordered(self) -> LookAlike:
        if self.review_cosine > self.cosine:
            raise ValueError(f"review_cosine ({self.review_cosine}) must be at most cosine ({self.cosine})")
        return self


class Rights(BaseModel):
    """How rights statements become decisions. Any `deny` wins; else any `allow`; else the default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    default: Literal["fail_open", "fail_closed"] = Field(
        "fail_open", description="what no statement at all means: permission, or none"
    )
    unreadable: Literal["deny", "default"] = Field(
        "deny", description="what evidence that is there and cannot be read means"
    )
    agents: list[str] = Field(
        [], description="robots.txt tokens to obey, beside Assay's own and the dated list of AI-training agents"
    )
    noindex: bool = Field(False, description="count noindex and an expired unavailable_after as a denial")
    captions: Literal["drop", "keep"] = Field("drop", description="samples whose caption names an opted-out creator")
    synthetic: Literal["drop", "keep"] = Field("keep", description="pictures marked as made by a generative model")
    registry: str | None = Field(
        None, min_length=1, description="opt-out registry: SQLite file or postgresql:// URL; pinned by hash in the run"
    )
    registry_max_age_days: float = Field(
        30, gt=0, description="`assay check` refuses a registry snapshot that is older"
    )
    c2pa_anchors: list[str] = Field(
        [], description="certificates (PEM files) whose C2PA signatures are trusted to allow; without one none is"
    )
    grant_keys: list[str] = Field([], description="public keys (PEM files) whose signed licence grants count")
    harmful: list[str] = Field(
        [], description="hash lists of known harmful pictures (files or folders; MD5, SHA-256 or PDQ)"
    )
    look_alike: LookAlike = LookAlike()
    incomparable: Literal["refuse", "accept"] = Field(
        "refuse",
        description="`assay check` of a dataset whose encoder made no embedding of some registered work: nobody knows "
        "whether it looks like that one",
    )
