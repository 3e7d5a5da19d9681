"""`evaluation.json`: what was measured of a checkpoint, how, and what could not be. Its schema is in docs/."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from audit.metrics.estimate import Estimate, Measured

VERSION = 1
JSON, PAGE, CARD = "evaluation.json", "evaluation.html", "model-card.md"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Figure(_Part):
    """A figure with its 95 % interval, where it has one, from `n` things."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int


class NotMeasured(_Part):
    """Why there is no figure."""

    why: str


Shown = Figure | NotMeasured


class Subject(_Part):
    """The checkpoint and its dataset."""

    name: str
    step: int
    checkpoint: str = Field(description="identity of the checkpoint, 64 hex digits")
    dataset: str = Field(description="content hash of the dataset as it was when this was measured")
    samples: int
    seen: int = Field(description="samples that the checkpoint has seen, by its exposure log")
    unseen: int
    basis: Literal["held-out", "unseen", "none"] = Field(
        description="held-out: by data.held_out; unseen: merely not reached yet; none: every sample was seen"
    )
    leaked: int = Field(description="held-out samples that were seen all the same; anything but 0 is a defect")
    gone: int = Field(description="samples that were seen and have left the dataset since")


class Asked(_Part):
    """What decides the figures beside checkpoint and dataset."""

    seed: int
    pictures: int
    scheduler: str
    steps: int
    guidance: float
    width: int
    height: int
    prompts: str = Field(description="where the prompts came from")
    prompts_sha256: str
    features: str
    encoder: str = Field(description="by which prompts and pictures are compared")
    compared: int = Field(description="training pictures that were looked at")


class Loss(_Part):
    """Mean squared error of the network's output; levels from little to much noise."""

    unseen: Shown
    seen: Shown
    gap: Shown
    unseen_levels: list[Shown]
    seen_levels: list[Shown]


class Baseline(_Part):
    """Real pictures against other real pictures, over several splits."""

    mean: float
    low: float
    high: float
    pictures: int


class Frechet(_Part):
    """The Fréchet distance to the dataset's pictures as the training saw them."""

    value: float
    name: str = Field(description="what the distance may be called")
    generated: int
    real: int
    dimension: int
    biased: bool
    baseline: Baseline | NotMeasured


class Manifold(_Part):
    """Improved precision and recall (k = 3), and the same of real pictures against real ones."""

    precision: Shown
    recall: Shown
    real_precision: Shown
    real_recall: Shown


class PromptFit(_Part):
    """Cosines of pictures with their prompts."""

    matched: Shown
    shuffled: Shown
    difference: Shown
    auc: float | None
    real_matched: Shown
    real_difference: Shown


class Pair(_Part):
    """A generated picture and the training picture that it is nearest to."""

    set: Literal["prompts", "training captions"]
    prompt: str
    seed: int
    by: list[Literal["hash", "embedding"]] = Field(
        description="tests that flagged it; empty: it is merely the nearest"
    )
    hash_uid: str | None
    bits: int | None = Field(description="PDQ bits between; null where the picture is too plain")
    embedding_uid: str
    ratio: float = Field(description="distance to the nearest over the mean of the next; 0 is a copy")


class Memorisation(_Part):
    """Nearest training pictures of generated ones, judged by pictures that were not generated."""

    basis: str = Field(description="which pictures set the bounds")
    rate: float = Field(description="a picture no nearer than those is flagged with this probability at most")
    bits_bound: int | None
    ratio_bound: float | None
    baseline: int = Field(description="pictures that set the bounds")
    baseline_flagged: Shown = Field(description="share of them that the bounds flag")
    flagged: Shown
    flagged_training_captions: Shown
    p: float = Field(description="chance of so many flags if all pictures were like those that set the bounds")
    too_plain: int = Field(description="generated pictures without a usable hash")
    pairs: list[Pair]


class Reading(_Part):
    """How well the encoder tells an attribute, tried on the dataset's pictures whose captions name it."""

    attribute: str
    classes: list[str]
    confusion: list[list[int]]
    skill: Shown
    usable: bool


class Prompted(_Part):
    """Shares of the classes among the pictures of one prompt, or of a whole set; as assigned, errors and all."""

    prompt: str
    pictures: int
    shares: dict[str, Shown]
    corrected: Shown | None = Field(None, description="share of the first of two classes, the errors taken out")
    q: float | None = Field(None, description="against the rest of the set, Benjamini-Hochberg over its prompts")


class OutputSet(_Part):
    """One set of prompts."""

    name: str
    attribute: str
    reading: Reading | NotMeasured
    measured: bool
    why: str = ""
    whole: Prompted | None = None
    prompts: list[Prompted] = []
    association: Shown | None = Field(None, description="Cramér's V of prompts and classes, bias-corrected")


class Evaluation(_Part):
    """All of it."""

    version: Literal[1] = 1
    subject: Subject
    asked: Asked
    loss: Loss | NotMeasured
    frechet: Frechet | NotMeasured
    manifold: Manifold | NotMeasured
    prompt_fit: PromptFit
    memorisation: Memorisation | NotMeasured
    outputs: list[OutputSet]
    limits: list[str]


def shown(measured: Measured) -> Shown:
    """Return a metric's result for the document, in six digits."""
    if not isinstance(measured, Estimate):
        return NotMeasured(why=measured.why)
    return Figure(
        value=digits(measured.value),
        low=None if measured.low is None else digits(measured.low),
        high=None if measured.high is None else digits(measured.high),
        n=measured.n,
    )


def digits(value: float) -> float:
    """Return six significant digits: beyond them lies the machine's rounding."""
    return float(f"{value:.6g}")


def dumped(found: Evaluation) -> bytes:
    """Return the document as it is written."""
    return (found.model_dump_json(indent=1) + "\n").encode()
