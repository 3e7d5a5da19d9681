"""What a run of the generator is asked for: which pictures, by which settings, and what their files are called."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from filters.errors import BadInput
from training.noise import seed_of
from training.sampling.sample import Settings
from training.sampling.schedulers import KINDS

Mark = Literal["pixels", "noise", "both"]

#: Largest seed: numbers up to here are the same in JSON for every reader.
MAX_SEED = 2**53 - 1

_MOST = 1_000_000
_MAX_PROMPT = 10_000


@dataclass(frozen=True)
class Slot:
    """One picture to be made: its prompt's place and text, its seed.

    Where the prompt was diversified, `text` is the changed one, `asked` that of the plan, `drawn` axes and values.
    """

    prompt: int
    text: str
    seed: int
    asked: str = ""
    drawn: tuple[tuple[str, str], ...] = ()

    def name(self, suffix: str) -> str:
        """Return the file's name, ending included."""
        return f"p{self.prompt:05d}-s{self.seed}{suffix}"

    def candidate_seed(self, candidate: int) -> int:
        """Return a candidate's seed: the first one's is the slot's own, so that it can be made again alone."""
        return self.seed if candidate == 0 else seed_of(self.seed, "candidate", candidate) & MAX_SEED


@dataclass(frozen=True)
class Plan:
    """All that decides which pictures come out. `count` pictures a prompt, with the seeds `seed`, `seed` + 1, …

    `negative`: one negative prompt for all; `candidates`: so many are sampled for each picture, and the best by
    `select` is kept; `mark`: the watermark in the pixels, at sampling in the noise, or both. `start`: SHA-256 of the
    starting picture and its mask, empty for none; `control`: the same of control network, its picture and its scale.
    `diversify`, `fair`: what prompts are diversified and pictures guided by, each with a digest; empty for neither.
    `adapter`: SHA-256 over an adapter and its scale.
    """

    prompts: tuple[str, ...]
    settings: Settings
    seed: int = 0
    count: int = 1
    negative: str = ""
    candidates: int = 1
    select: tuple[str, ...] = ()
    mark: Mark = "pixels"
    start: str = ""
    control: str = ""
    diversify: str = ""
    fair: str = ""
    adapter: str = ""

    def check(self) -> None:
        """Raise `BadInput` for what no checkpoint can do."""
        if not self.prompts:
            raise BadInput("no prompt: give --prompt or --prompts")
        if long := next((text for text in (*self.prompts, self.negative) if len(text) > _MAX_PROMPT), None):
            raise BadInput(f"a prompt of {len(long)} characters; at most {_MAX_PROMPT}")
        for text in (*self.prompts, self.negative):
            if text != text.encode("utf-8", "replace").decode():
                raise BadInput("a prompt holds half a character (a lone surrogate); write it in Unicode")
        if self.negative and self.settings.guidance == 1.0:
            raise BadInput("--negative has no effect with guidance 1; leave it out, or give another --guidance")
        if not 1 <= self.count <= _MOST or self.count * len(self.prompts) > _MOST:
            raise BadInput(f"--count {self.count}: 1 or more, and at most a million pictures together")
        if not 0 <= self.seed <= MAX_SEED - self.count:
            raise BadInput(f"--seed {self.seed}: 0 to 2**53")
        if not 1 <= self.candidates <= 1000:
            raise BadInput(f"--candidates {self.candidates}: 1 to 1000")
        if (self.candidates > 1) != bool(self.select):
            raise BadInput("--candidates above 1 and --select belong together")
        if self.mark not in ("pixels", "noise", "both"):
            raise BadInput(f"--mark {self.mark}: pixels, noise or both")
        kind = KINDS.get(self.settings.scheduler)
        if self.mark != "pixels" and (self.start or (kind is not None and kind.random)):
            why = "a starting picture covers it" if self.start else f"{self.settings.scheduler} draws more noise"
            raise BadInput(f"--mark {self.mark}: {why}, so a mark in the initial noise cannot be found; take pixels")

    def slots(self) -> list[Slot]:
        """Return the pictures in order."""
        return [Slot(at, text, self.seed + k) for at, text in enumerate(self.prompts) for k in range(self.count)]

    def body(self, checkpoint: str) -> dict[str, Any]:
        """Return the record that a folder of pictures belongs to. Prompts stand in it as a digest."""
        digest = hashlib.sha256(json.dumps([*self.prompts, self.negative]).encode()).hexdigest()
        # a folder from before there were these still belongs to the same settings
        unused = {name for name in ("control", "diversify", "fair", "adapter") if not getattr(self, name)}
        left_out = {"prompts", "negative", "select", *unused}
        return {
            "format": 1,
            "checkpoint": checkpoint,
            "prompts": len(self.prompts),
            "prompts_sha256": digest,
            **{name: value for name, value in asdict(self).items() if name not in left_out},
            "select": list(self.select),
        }
