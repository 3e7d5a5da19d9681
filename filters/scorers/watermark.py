"""Visible watermarks: text laid over a picture by a stock agency or its author."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from filters.scorers.text_detection import TextBox, TextReader, boxes_of, covered, model_id
from filters.scorers.watermark_features import NAMES, elongation, features, is_read, repeats
from filters.scoring import Batch, Evidence, columns
from filters.watermark_marks import marks_version, named_by, recognise

#: Lines that are read at most, the likeliest ones first; a page of text needs no more to be told from a mark.
MAX_READ = 8

#: Least quality times confidence at which an agency's name counts by itself.
CLEARLY = 0.75

_FIELDS = pa.schema(
    [
        pa.field("watermark", pa.float32(), metadata={"doc": "how much the picture looks watermarked, 0 to 1"}),
        pa.field("text_area", pa.float32(), metadata={"doc": "share of the picture inside boxes of text, 0 to 1"}),
        pa.field("watermark_text", pa.string(), metadata={"doc": "the mark that was recognised; null when none"}),
    ]
)


@dataclass(frozen=True)
class Finding:
    """What was found in one picture: boxes of text (those that were read first), features, score 0 to 1."""

    boxes: list[TextBox]
    features: np.ndarray
    score: float
    text: str | None


@dataclass(frozen=True)
class WatermarkScorer:
    """Text detection, reading, and a logistic model over what the text says and how it lies on the picture.

    `watermark` is that model's output, or how clearly a listed agency was read where that is higher. 18 features
    (`watermark_features.py`); weights in `watermark_weights.json` beside it, fitted by `scripts/fit_watermark.py` on
    stamped scenes of openclipart drawings; no photo took part.
    `text_area` counts every line that was read, of ordinary signs too. `watermark_text` is the agency, or the line
    that holds a URL, copyright line, number or phrase of the list, or that stands there three times; text that the
    caption names is left out.

    Marks without letters are not found: it reads logos by their text only.

    `threads`: threads a run of a model. Results do not depend on it, nor on the other pictures of the batch.
    """

    threads: int = 1
    name: str = "watermark"
    version: str = "1"

    @property
    def fields(self) -> pa.Schema:
        """`watermark`, `text_area` float32, 0 to 1; `watermark_text` string or null."""
        return _FIELDS

    def load(self) -> None:
        """Make the sessions, once a process. Raises `BadInput` for other or no models."""
        TextReader(self.threads).load()
        weights()

    def model_id(self) -> str:
        """Return the models' names and SHA-256, and the versions of the list of marks and of the weights."""
        return f"{model_id()}+marks-{marks_version()}+weights-{weights()['version']}"

    def score(self, batch: Batch) -> pa.RecordBatch:
        """Return the three columns of each picture of the batch."""
        return self.score_with_evidence(batch, {})[0]

    def score_with_evidence(
        self, batch: Batch, known: Mapping[str, pa.Array]
    ) -> tuple[pa.RecordBatch, list[list[Evidence]]]:
        """Return the columns and, for each picture, the lines of text that count; `known` is not used."""
        found = [
            self.examine(picture.image, caption)
            for picture, caption in zip(batch.pictures, batch.captions, strict=True)
        ]
        values: dict[str, object] = {
            "watermark": np.array([finding.score for finding in found], dtype=np.float32),
            "text_area": np.array([text_area(finding.boxes) for finding in found], dtype=np.float32),
            "watermark_text": [finding.text for finding in found],
        }
        evidence = [lines(finding, p.image.size) for finding, p in zip(found, batch.pictures, strict=True)]
        return columns(_FIELDS, values), evidence

    def examine(self, image: Image.Image, caption: str = "") -> Finding:
        """Return what is found in one RGB picture with its caption."""
        reader = TextReader(self.threads)
        text_map = reader.text_map(image)
        boxes = _likely_first(boxes_of(text_map), image.size)
        boxes = [reader.read(image, box) for box in boxes[:MAX_READ]] + boxes[MAX_READ:]
        found = features(image, boxes, text_map, caption)
        return Finding(boxes, found, probability(found), _recognised(boxes, caption))


def probability(found: np.ndarray) -> float:
    """Return the score for the features (18,), 0 to 1: the logistic model's output, or the agency's if it is higher.

    The name of a listed agency that was read clearly (quality times confidence at least `CLEARLY`) and that the
    caption does not name is a watermark by itself, wherever it stands.
    """
    model = weights()
    total = model["intercept"] + float(np.dot(found, [model["weights"][name] for name in NAMES]))
    score = 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, total))))
    agency = float(found[NAMES.index("agency")])
    return max(score, agency) if agency >= CLEARLY else score


def lines(finding: Finding, size: tuple[int, int]) -> list[Evidence]:
    """Return the boxes that count towards `text_area`, for a picture of `size` (width, height).

    Kind: that of the mark (`agency`, `url`, ...), `text` for other text, `unread` for boxes that were too many to be
    read (their confidence is the detector's). The box is the smallest upright one around the line.
    """
    found = []
    for at, box in enumerate(finding.boxes):
        if not counts(at, box):
            continue
        low, high = box.corners.min(axis=0) * size, box.corners.max(axis=0) * size
        place = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
        if at >= MAX_READ:
            found.append(Evidence("unread", None, box.score, place))
        else:
            mark = recognise(box.text)
            found.append(Evidence(mark.kind if mark else "text", box.text, box.confidence, place))
    return found


@lru_cache(maxsize=1)
def weights() -> dict[str, Any]:
    """Return the logistic model: `version`, `intercept`, `weights` by feature, `threshold`."""
    text = files("filters.scorers").joinpath("watermark_weights.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def _likely_first(boxes: list[TextBox], size: tuple[int, int]) -> list[TextBox]:
    """Order boxes by score and elongation: lines of text are read before shapes where there are too many."""
    return sorted(boxes, key=lambda box: -box.score * min(3.0, elongation(box, size)))


def text_area(boxes: Sequence[TextBox]) -> float:
    """Return the share of the picture inside boxes that were read, or that were too many to be read, 0 to 1."""
    return covered([box for at, box in enumerate(boxes) if counts(at, box)])


def counts(at: int, box: TextBox) -> bool:
    """Tell whether the box at place `at` of a finding was read, or was one too many to be read."""
    return at >= MAX_READ or is_read(box)


def _recognised(boxes: Sequence[TextBox], caption: str) -> str | None:
    """Return the best mark among the boxes, or the text that is repeated at least three times; None without."""
    read = [box for box in boxes if is_read(box)]
    tiled = repeats(read) >= 3
    ranked = []
    for box in read:
        mark = recognise(box.text)
        if mark is not None and (tiled or not named_by(caption, box.text)):
            ranked.append((mark.kind != "agency", -mark.quality * box.confidence, mark.name))
    if ranked:
        return min(ranked)[2]
    if tiled:
        most = max(read, key=lambda box: (repeats([box, *(b for b in read if b is not box)]), len(box.text)))
        return most.text
    return None
