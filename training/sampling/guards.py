"""What stands between a sampled picture and the disk. A refused picture is never written; its reason is.

Prompts are looked at before anything is sampled: a creator's name that the opt-out registry denies. Pictures are
looked at before they are marked: how unsafe they are, and whether they look like one that the model was trained on or
like a registered one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import pyarrow as pa
from PIL import Image

from filters.encoders.base import Encoder
from filters.optout.judging import match_reason
from filters.optout.matching import COLUMNS
from filters.reasons import Reason
from filters.scorers.nsfw import NsfwScorer
from filters.scorers.pdq import dihedral_hashes
from pipelines.jobs.rights import policy_of
from pipelines.registry.matcher import Matcher
from pipelines.run.recipe_rights import LookAlike, Rights
from training.sampling.prompt_names import name_phrases
from training.sampling.select import batch_of
from training.sampling.training_looks import TrainingLooks

#: Probability from which Open-NSFW's makers call a picture unsafe.
NSFW_BOUND = 0.8


class Code(str, Enum):
    """Why a picture was not written."""

    NAMED_CREATOR = "NAMED_CREATOR"
    NSFW = "NSFW"
    LOOKS_LIKE_TRAINING = "LOOKS_LIKE_TRAINING"
    LOOKS_LIKE_OPT_OUT = "LOOKS_LIKE_OPT_OUT"
    MARKING_FAILED = "MARKING_FAILED"


@dataclass(frozen=True)
class Refusal:
    """One reason not to write a picture, and what exactly was found."""

    code: Code
    detail: str


@dataclass(frozen=True)
class Bounds:
    """From where a picture is refused: NSFW probability; likeness as the recipe has it."""

    nsfw: float = NSFW_BOUND
    alike: LookAlike = field(default_factory=LookAlike)


@dataclass(frozen=True)
class Guards:
    """The guards of one run of the generator; what they compare with may be absent, and `names` says what is not.

    `creators`: whether a prompt may not name a creator whom the registry denies.
    """

    bounds: Bounds
    nsfw: NsfwScorer
    looks: TrainingLooks | None = None
    matcher: Matcher | None = None
    encoder: Encoder | None = None
    rights: Rights = field(default_factory=Rights)
    creators: bool = True

    @property
    def names(self) -> str:
        """Return the guards that are on, for the record in the credential."""
        found = ["nsfw"]
        if self.looks is not None:
            found.append("training")
        if self.matcher is not None:
            found += ["registry", *(["creators"] if self.creators else [])]
        return ",".join(found)

    def prompt(self, text: str) -> Refusal | None:
        """Return why nothing is sampled for a prompt, None where nothing speaks against it.

        A grant that the registry holds, and whose signer is trusted, lets a name pass.
        """
        if self.matcher is None or not self.creators:
            return None
        captions = [text, *name_phrases(text)]
        found = self.matcher.match(_samples(captions))
        whole = f"{0:032x}"
        for row in found.to_pylist():
            name = str(row["detail"]).partition(": ")[2]
            # Behind the first row stand made-up phrases, in which a single word is no name.
            counts = row["uid"] == whole or " " in name
            if row["outcome"] == "deny" and row["method"] == "caption" and counts:
                return Refusal(Code.NAMED_CREATOR, f"the prompt names {name!r}, entry {row['entry']} of the registry")
        return None

    def pictures(self, pictures: Sequence[np.ndarray], prompt: str) -> list[Refusal | None]:
        """Return why each of uint8 (h, w, 3) pictures must not be written, None where it may."""
        unsafe = self.nsfw.score(batch_of(pictures, prompt)).column("nsfw").to_numpy(zero_copy_only=False)
        return [self._picture(pixels, float(chance)) for pixels, chance in zip(pictures, unsafe, strict=True)]

    def _picture(self, pixels: np.ndarray, chance: float) -> Refusal | None:
        if not chance < self.bounds.nsfw:  # also where it is no number
            return Refusal(Code.NSFW, f"NSFW probability {chance:.3f}, the bound is {self.bounds.nsfw:g}")
        if self.looks is None and self.matcher is None:
            return None
        image = Image.fromarray(np.ascontiguousarray(pixels))
        codes, quality = dihedral_hashes(image)
        vector = None if self.encoder is None else self.encoder.encode_images([image])[0]
        return self._training(codes, quality) or self._registered(codes[0], quality, vector)

    def _training(self, codes: list[bytes], quality: int) -> Refusal | None:
        """Hold a picture against the training's. By hashes alone: embeddings also find what is merely alike.

        Measured on 2,624 clip-art pictures: 12 % have another one at a cosine of 0.95 or more (builtin:mini), 1.2 %
        have one within 31 bits.
        """
        if self.looks is None:
            return None
        found = self.looks.nearest(codes, quality, self.bounds.alike.pdq_distance)
        if found is None:
            return None
        return Refusal(Code.LOOKS_LIKE_TRAINING, f"{found.bits} bits of 256 from training sample {found.uid}")

    def start(self, pixels: np.ndarray) -> Refusal | None:
        """Return why nothing is made from a starting picture, uint8 (h, w, 3): it looks like a registered one."""
        image = Image.fromarray(np.ascontiguousarray(pixels))
        codes, quality = dihedral_hashes(image)
        vector = None if self.encoder is None else self.encoder.encode_images([image])[0]
        found = self._registered(codes[0], quality, vector)
        return found and Refusal(found.code, f"the starting picture: {found.detail}")

    def _registered(self, code: bytes, quality: int, vector: np.ndarray | None) -> Refusal | None:
        """Hold a picture against registered ones. Unsure cases, which people judge in a dataset, are refused here."""
        if self.matcher is None:
            return None
        pdq = pa.table({"pdq": pa.array([code], pa.binary(32)), "pdq_quality": pa.array([quality], pa.int16())})
        vectors = None if vector is None else vector[None]
        rows = self.matcher.match(_samples([""]), pdq, vectors).to_pylist()
        policy = policy_of(self.rights)
        for row in rows:
            reason = match_reason(row["outcome"], row["kind"], row["method"], policy)
            if reason in (Reason.LOOK_ALIKE, Reason.LOOK_ALIKE_REVIEW):
                return Refusal(Code.LOOKS_LIKE_OPT_OUT, f"entry {row['entry']} of the registry: {row['detail']}")
        return None


def _samples(captions: Sequence[str]) -> pa.Table:
    """Return a samples table that holds captions alone, as the matcher reads it."""
    nothing = pa.nulls(len(captions), pa.string())
    uids = pa.array([f"{at:032x}" for at in range(len(captions))])
    return pa.table({**dict.fromkeys(COLUMNS, nothing), "uid": uids, "caption": pa.array(captions, pa.string())})
