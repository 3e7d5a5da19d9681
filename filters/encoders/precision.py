"""What a smaller precision costs: the cosine of its embeddings to those in float32, on real pictures and captions."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from filters.decoding import decode
from filters.encoders.uri import load_encoder, parse_uri, with_precision

#: Smallest cosine to float32 that scores made in another precision should keep.
MIN_COSINE = 0.999

_PROBE = Path(__file__).parent / "probe"


@dataclass(frozen=True)
class PrecisionError:
    """Cosines, -1 to 1, between the embeddings of one model in `precision` and in float32.

    `similarity_shift` is the largest change of a picture's similarity to its caption (0 to 2): what a threshold sees.
    """

    model: str
    precision: str
    pictures: int
    captions: int
    picture_min: float
    picture_mean: float
    caption_min: float
    caption_mean: float
    similarity_shift: float

    @property
    def ok(self) -> bool:
        """Whether the smallest cosine is at least `MIN_COSINE`."""
        return min(self.picture_min, self.caption_min) >= MIN_COSINE

    def facts(self, digits: int = 5) -> dict[str, object]:
        """Return all fields for JSON, floats rounded: other processors differ in the digits behind."""
        return {name: round(x, digits) if isinstance(x, float) else x for name, x in asdict(self).items()}

    def line(self) -> str:
        """Return the figures as one line for people."""
        return (
            f"{self.precision} against fp32 on {self.pictures} pictures and {self.captions} captions: cosine at least "
            f"{self.picture_min:.5f} and {self.caption_min:.5f}, mean {self.picture_mean:.5f} and "
            f"{self.caption_mean:.5f}; similarity moves by at most {self.similarity_shift:.4f}"
        )


def is_rounded(encoder_uri: str) -> bool:
    """Tell whether the encoder runs in less than float32 on this machine. Looks at the URI and for a GPU only."""
    parsed = parse_uri(encoder_uri)
    if parsed.kind == "builtin" or parsed.precision == "fp32":
        return False
    import torch  # only here: the others do without

    return bool(parsed.precision) or torch.cuda.is_available()


def precision_error(encoder_uri: str, pictures: list[Image.Image], captions: list[str]) -> PrecisionError:
    """Measure the encoder of `encoder_uri` against the same weights in float32. Loads both, one after the other.

    `pictures` are RGB, `captions` as many. Raises `BadInput` where the encoder cannot be loaded, `ValueError` where
    there are no pictures or other numbers of captions.
    """
    if not pictures or len(pictures) != len(captions):
        raise ValueError(f"one caption a picture, not {len(captions)} for {len(pictures)}")
    encoder = load_encoder(encoder_uri, threads=1)
    model, precision = encoder.model_id(), encoder.precision
    found = encoder.encode_images(pictures), encoder.encode_texts(captions)
    del encoder  # two models at once would take twice the memory
    if parse_uri(encoder_uri).kind == "builtin" or precision == "fp32":
        exact = found
    else:
        exact_encoder = load_encoder(with_precision(encoder_uri, "fp32"), threads=1)
        exact = exact_encoder.encode_images(pictures), exact_encoder.encode_texts(captions)
    picture, caption = (_cosines(a, b) for a, b in zip(found, exact, strict=True))
    shift = np.abs(_cosines(*found) - _cosines(*exact)).max()
    return PrecisionError(
        model,
        precision,
        len(pictures),
        len(captions),
        float(picture.min()),
        float(picture.mean()),
        float(caption.min()),
        float(caption.mean()),
        float(shift),
    )


def probe() -> tuple[list[Image.Image], list[str]]:
    """Return the packaged pictures with their captions: a dozen public-domain drawings of openclipart."""
    captions: dict[str, str] = json.loads((_PROBE / "captions.json").read_text(encoding="utf-8"))
    return [decode((_PROBE / name).read_bytes()).image for name in captions], list(captions.values())


def _cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    cosines: np.ndarray = np.einsum("nd,nd->n", one.astype(np.float64), other.astype(np.float64))
    return cosines
