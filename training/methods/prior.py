"""Prior preservation (DreamBooth, arXiv:2208.12242, section 3.3): what the class looks like to the base is kept.

Generated pictures of the class never leave the training's folder: they lie there as latents, under no name that a
picture has, and are no output; `assay generate` alone writes pictures, with marks and credentials.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from filters.errors import BadInput
from training.config_method import Prior
from training.data.batch import Batch
from training.methods.base import Given
from training.noise import Draws, seed_of
from training.sampling.plan import MAX_SEED
from training.sampling.sample import Request, Sampler, SamplingFailed, Settings
from training.sampling.schedulers import default_kind
from training.weights import save_weights

#: Where the class's latents lie in a training's folder.
FOLDER, FILE = "prior", "latents.safetensors"

_AT_ONCE = 16


@dataclass(frozen=True)
class ClassPictures:
    """Pictures of the class that the base has made: scaled latents float32 (n, channels, h, w), and their prompt."""

    latents: Tensor
    prompt: str

    def beside(self, batch: Batch, seed: int, step: int) -> Batch:
        """Return a batch with one picture of the class for each sample, drawn by seed, step and the sample's uid."""
        uids = [f"prior of {uid}" for uid in batch.uids]
        places = (Draws(seed, step, uids, torch.device("cpu")).uniform("prior") * len(self.latents)).long()
        return replace(batch, uids=uids, latents=self.latents[places], captions=[self.prompt] * len(uids))


def of_subject(captions: Sequence[str], subject: str) -> list[bool]:
    """Tell which of a run's own pictures are the subject's: their captions hold the words, in whatever case.

    A caption that was dropped tells nothing and counts as the subject's.
    """
    return [not text or holds(text, subject) for text in captions]


def weigh(mine: Sequence[bool], weight: float) -> Tensor:
    """Return the loss weights (n,): 1 for the subject's pictures, `weight` for the class's."""
    return torch.tensor([1.0 if one else weight for one in mine], dtype=torch.float32)


def holds(caption: str, words: str) -> bool:
    """Tell whether a caption holds the words, whole and in this order."""
    return re.search(rf"(?<!\w){re.escape(words.casefold())}(?!\w)", caption.casefold()) is not None


def class_pictures(given: Given, prior: Prior) -> ClassPictures:
    """Return the generated pictures of the class, made now by the first process where they are not there yet.

    The base must be as it was trained: call it before anything is put on. Raises `BadInput` for an unreadable file,
    `SamplingFailed` where the base gives no pictures.
    """
    key, path = _key(given, prior), given.folder / FOLDER / FILE
    if given.main and _stored(path, key) is None:
        given.say(f"prior: sampling {prior.pictures} pictures of {prior.prompt!r} with the base")
        latents = _sampled(given, prior)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".tmp-{os.getpid()}-{FILE}")
        save_weights(temporary, {"latents": latents}, {"key": key, "generated": "yes"})
        os.replace(temporary, path)
    given.wait()
    found = _stored(path, key)
    if found is None:
        raise BadInput(f"{path}: not the class's pictures of this training; delete it")
    return ClassPictures(found, prior.prompt)


def _key(given: Given, prior: Prior) -> str:
    side = given.config.data.buckets.resolution
    asked = [given.base.identity, prior.prompt, prior.pictures, prior.steps, prior.guidance, side, given.config.seed]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _stored(path: Path, key: str) -> Tensor | None:
    """Return the latents that lie there, None where there are none, or others."""
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("key") != key:
                return None
            found: Tensor = file.get_tensor("latents")
    except (OSError, SafetensorError):
        return None
    return found


def _sampled(given: Given, prior: Prior) -> Tensor:
    """Sample the class's pictures; each has a seed of its own, so that how many are made at once changes nothing."""
    side, model = given.config.data.buckets.resolution, given.base
    settings = Settings(default_kind(model.scheduler), prior.steps, prior.guidance, side, side)
    settings.check(model)
    sampler = Sampler(model, settings)
    seeds = [seed_of(given.config.seed, "prior", number) & MAX_SEED for number in range(prior.pictures)]
    rows = []
    for start in range(0, len(seeds), _AT_ONCE):
        some = seeds[start : start + _AT_ONCE]
        rows.append(sampler.latents(Request([prior.prompt] * len(some), [""] * len(some), some)).cpu())
    latents = torch.cat(rows)
    if not bool(torch.isfinite(latents).all()):
        raise SamplingFailed(f"{model.path}: the base gave numbers that are not finite for {prior.prompt!r}")
    return latents
