"""Configuration of the way of training: from nothing, or something new on a checkpoint that stays as it is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from training.config_base import Section

#: What a placeholder for a learned word looks like; no tokenizer's vocabulary has such a word.
TOKEN = r"^<[a-z0-9][a-z0-9_-]{0,47}>$"


class Full(Section):
    """Trains autoencoder and denoiser from nothing."""

    kind: Literal["full"] = Field("full", description="autoencoder and denoiser from nothing")


class FromBase(Section):
    """What all methods but `full` have in common."""

    base: str = Field(
        min_length=1,
        description="checkpoint of `assay train` to begin from, or a training's folder, whose newest is taken; its "
        "autoencoder, text, denoiser and objective hold here too",
    )


class Prior(Section):
    """Prior preservation (DreamBooth, arXiv:2208.12242): pictures of the class keep what the base knows of it."""

    source: Literal["none", "generated", "run"] = Field(
        "none",
        description="generated: the base samples `pictures` of `prompt` before the training, kept as latents in the "
        "training's folder; run: pictures of --data whose caption does not hold `subject` are the class (generated: "
        "arXiv:2208.12242; run: ours)",
    )
    weight: float = Field(
        1.0, ge=0, description="weight of the class's loss beside the subject's (arXiv:2208.12242: 1)"
    )
    prompt: str = Field("", max_length=1000, description="generated: the class's prompt, for example `a dog`")
    pictures: int = Field(200, ge=1, le=100_000, description="generated: so many (arXiv:2208.12242: about 1000)")
    steps: int = Field(30, ge=1, le=1000, description="generated: sampling steps (ours)")
    guidance: float = Field(3.0, ge=1, le=100, description="generated: weight of the prompt; 1 is none (ours)")
    subject: str = Field("", max_length=200, description="run: word or words that the subject's captions hold")

    @model_validator(mode="after")
    def _together(self) -> Prior:
        if (self.source == "generated") != bool(self.prompt):
            raise ValueError("source generated and a prompt belong together")
        if (self.source == "run") != bool(self.subject):
            raise ValueError("source run and a subject belong together")
        return self


class Lora(FromBase):
    """Low-rank adapters (arXiv:2106.09685) on the frozen denoiser."""

    kind: Literal["lora"] = Field(description="low-rank adapters on the frozen denoiser")
    rank: int = Field(8, ge=1, le=1024, description="rank of the adapters (arXiv:2106.09685: 4 to 64)")
    alpha: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="their output counts alpha / rank times; 0 takes the rank, so that it counts once (ours)",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout of the adapters' input (ours)")
    targets: list[str] = Field(
        ["to_q", "to_k", "to_v", "to_out.0"],
        min_length=1,
        max_length=100,
        description="ends of the names of the layers that get one (default: the attention's projections)",
    )
    prompt: str = Field(
        "",
        max_length=1000,
        description="read instead of all captions, such as `a <rex> dog` (arXiv:2208.12242); empty keeps them",
    )
    prior: Prior = Prior()


class TextualInversion(FromBase):
    """New words for the frozen text encoder (arXiv:2208.01618): only their vectors are learned."""

    kind: Literal["textual_inversion"] = Field(description="vectors of a new word, everything else frozen")
    token: str = Field(pattern=TOKEN, description="the new word as prompts write it: `<name>`, lower case")
    vectors: int = Field(1, ge=1, le=64, description="vectors of the word (arXiv:2208.01618: 1 to 3)")
    init: str = Field(min_length=1, max_length=100, description="a word that the vectors begin as")
    templates: list[str] = Field(
        ["a picture of {}", "a drawing of {}", "{}", "clip art of {}"],
        min_length=1,
        max_length=1000,
        description="texts to train with, {} for the word, {caption} for the picture's own caption; one is drawn for "
        "each picture and step (arXiv:2208.01618 has 27)",
    )

    @model_validator(mode="after")
    def _readable(self) -> TextualInversion:
        if bad := [text for text in self.templates if "{}" not in text or len(text) > 1000]:
            raise ValueError(f"templates: {bad[0][:80]!r} has no {{}} for the word, or is longer than 1000 characters")
        return self


class ControlNet(FromBase):
    """A copy of the U-Net's encoder that reads edges (arXiv:2302.05543)."""

    kind: Literal["controlnet"] = Field(description="a second encoder that reads edges; the denoiser is frozen")


class Distilled(FromBase):
    """What both ways of distillation have in common: the base is the teacher."""

    guidance: float = Field(
        3.0,
        ge=1,
        le=100,
        description="weight of the prompt in the teacher's steps; the student has it inside and is sampled without "
        "(ours)",
    )


class Consistency(Distilled):
    """Latent consistency distillation (arXiv:2310.04378)."""

    kind: Literal["consistency"] = Field(description="a student of few steps: the same clean sample from everywhere")
    teacher_steps: int = Field(
        50, ge=2, le=1000, description="steps of the teacher's own way, one of which it takes (arXiv:2310.04378: 50)"
    )


class Progressive(Distilled):
    """Progressive distillation (arXiv:2202.00512), its rounds in one."""

    kind: Literal["progressive"] = Field(description="a student of few steps, each as long as many of the teacher's")
    student_steps: int = Field(
        4, ge=1, le=64, description="steps that the student takes for a picture (arXiv:2202.00512: down to 4)"
    )
    teacher_steps: int = Field(
        20,
        ge=2,
        le=1000,
        description="steps of the teacher, a multiple of the student's; must divide objective.steps (ours)",
    )


Method = Annotated[
    Full | Lora | TextualInversion | ControlNet | Consistency | Progressive, Field(discriminator="kind")
]
