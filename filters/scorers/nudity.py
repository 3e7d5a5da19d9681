"""Exposed body parts, found by the packaged NudeNet detector, and their union with Open-NSFW's probability.

**Optional, because of its licence.** The package nudenet 3.4.2 declares MIT in its metadata, but the licence files
inside it are the GNU AGPL 3.0, and so says the model file itself (`license: AGPL-3.0`, trained and exported with
ultralytics YOLOv8). Assay takes the stricter reading: it neither ships nor requires the package, imports none of
its code, and reads its model file only where a user has installed it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from PIL import Image

from filters.packaged import checked_bytes, package_folder
from filters.scorers.nsfw import NsfwScorer
from filters.scoring import Batch, Evidence, columns

#: 320n.onnx of the package nudenet 3.4.2.
MODEL_SHA256 = "c15d8273adad2d0a92f014cc69ab2d6c311a06777a55545f2c4eb46f51911f0f"

#: The classes of the model, in its order.
CLASSES = (
    "FEMALE_GENITALIA_COVERED",
    "FACE_FEMALE",
    "BUTTOCKS_EXPOSED",
    "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_BREAST_EXPOSED",
    "ANUS_EXPOSED",
    "FEET_EXPOSED",
    "BELLY_COVERED",
    "FEET_COVERED",
    "ARMPITS_COVERED",
    "ARMPITS_EXPOSED",
    "FACE_MALE",
    "BELLY_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
    "ANUS_COVERED",
    "FEMALE_BREAST_COVERED",
    "BUTTOCKS_COVERED",
)

#: The classes that count. Covered parts, faces, feet, armpits, bellies and male chests are no nudity by themselves.
EXPLICIT = frozenset(
    {
        "ANUS_EXPOSED",
        "BUTTOCKS_EXPOSED",
        "FEMALE_BREAST_EXPOSED",
        "FEMALE_GENITALIA_EXPOSED",
        "MALE_GENITALIA_EXPOSED",
    }
)

_SIDE = 320

#: Longest side that is padded to a square first, as the package does: its square takes 3 bytes times the side squared
#: (200 MB here). Longer pictures are shrunk as they are.
_LONGEST_SQUARE = 8192

#: The package's bounds: confidence of a box, and overlap (intersection over union) above which the weaker one goes.
_CONFIDENCE, _OVERLAP = 0.25, 0.45

_FIELDS = pa.schema(
    [
        pa.field(
            "nsfw_parts", pa.float32(), metadata={"doc": "highest confidence of an explicit exposed body part, 0 to 1"}
        ),
        pa.field("nsfw_combined", pa.float32(), metadata={"doc": "the larger of nsfw and nsfw_parts, 0 to 1"}),
    ]
)

_LOCK = threading.Lock()
_SESSIONS: dict[int, Any] = {}


@dataclass(frozen=True)
class Part:
    """One body part: its class, confidence (0.25 to 1) and box x, y, width, height in whole pixels."""

    name: str
    score: float
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class NudityScorer:
    """Two detectors side by side: NudeNet's body parts, and Open-NSFW's probability of the whole picture.

    `nsfw_parts` is the highest confidence of the five explicit exposed classes (`EXPLICIT`), 0 where the detector's
    own bound of 0.25 is not reached. `nsfw_combined` is the larger of that and of `nsfw`: a bound on it drops exactly
    what the same bound on either detector would drop. A sum, a product or a noisy-or would need the two to be
    calibrated against labelled pictures, and none are at hand here.

    **Recall is not measured here**: no unsafe picture was run. A user with a labelled set measures it with
    `assay evaluate nsfw --images DIR --labels labels.csv`.

    `threads`: threads a run of a model. Results depend neither on it nor on the batch.
    """

    threads: int = 1
    name: str = "nudity"
    version: str = "1"
    whole: NsfwScorer = field(default_factory=lambda: NsfwScorer(threads=1))

    @property
    def fields(self) -> pa.Schema:
        """`nsfw_parts`, `nsfw_combined` float32, 0 to 1."""
        return _FIELDS

    def load(self) -> None:
        """Make both sessions, once a process. Raises `BadInput` for another or no model."""
        self._session()
        self.whole.load()

    def model_id(self) -> str:
        """Return the models' names and SHA-256."""
        return f"nudenet-320n@sha256:{MODEL_SHA256[:16]}+{self.whole.model_id()}"

    def score(self, batch: Batch) -> pa.RecordBatch:
        """Return the two columns of each picture; runs both models."""
        return self.score_with_evidence(batch, {})[0]

    def score_with_evidence(
        self, batch: Batch, known: Mapping[str, pa.Array]
    ) -> tuple[pa.RecordBatch, list[list[Evidence]]]:
        """Return the two columns and each picture's explicit parts.

        Open-NSFW does not run where `known` has its column `nsfw` (n,).
        """
        whole = known["nsfw"] if "nsfw" in known else self.whole.score(batch).column("nsfw")
        found = [self.detect(picture.image) for picture in batch.pictures]
        parts = np.array([explicit(some) for some in found], dtype=np.float32)
        combined = np.maximum(parts, whole.to_numpy(zero_copy_only=False).astype(np.float32))
        evidence = [[_evidence(part) for part in some if part.name in EXPLICIT] for some in found]
        return columns(_FIELDS, {"nsfw_parts": parts, "nsfw_combined": combined}), evidence

    def detect(self, image: Image.Image) -> list[Part]:
        """Return every body part found in an RGB picture, covered ones and faces too, by falling confidence."""
        # One by one: a batch is no faster, and its results may differ in the last bit.
        found = self._session().run(None, {"images": preprocess(image)})[0]
        return postprocess(found, image.size)

    def _session(self) -> Any:
        with _LOCK:
            if self.threads not in _SESSIONS:
                _SESSIONS[self.threads] = _session(self.threads)
            return _SESSIONS[self.threads]


def explicit(parts: list[Part]) -> float:
    """Return the highest confidence of an explicit exposed part, 0 without one."""
    return max((part.score for part in parts if part.name in EXPLICIT), default=0.0)


def _evidence(part: Part) -> Evidence:
    left, top, width, height = part.box
    return Evidence(part.name.lower(), None, part.score, (left, top, left + width, top + height))


def preprocess(image: Image.Image) -> np.ndarray:
    """Return float32 (1, 3, 320, 320), 0 to 1, as the package gives it to the model.

    Black to the right or below to a square, then bilinear to 320. The channels are in the order blue, green, red:
    the package swaps them twice, and what it publishes was measured that way.
    """
    pixels = np.asarray(image)[:, :, ::-1]
    height, width = pixels.shape[:2]
    longer = max(height, width)
    small: np.ndarray
    if longer > _LONGEST_SQUARE:
        small = np.zeros((_SIDE, _SIDE, 3), np.uint8)
        wide, high = max(1, round(_SIDE * width / longer)), max(1, round(_SIDE * height / longer))
        small[:high, :wide] = cv2.resize(np.ascontiguousarray(pixels), (wide, high), interpolation=cv2.INTER_LINEAR)
    else:
        # Shrinking by far first, as drafts do, would change the results; OpenCV needs the square.
        square = np.zeros((longer, longer, 3), np.uint8)
        square[:height, :width] = pixels
        small = cv2.resize(square, (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray((small.astype(np.float32) * np.float32(1 / 255.0)).transpose(2, 0, 1)[None])


def postprocess(found: np.ndarray, size: tuple[int, int]) -> list[Part]:
    """Return the parts of the model's output (1, 22, boxes) for a picture of `size` (width, height).

    Boxes of all classes compete: of two that overlap by more than 0.45 the more confident one stays.
    """
    rows = found[0].T
    best = rows[:, 4:].max(axis=1)
    rows, best = rows[best > _CONFIDENCE], best[best > _CONFIDENCE]
    order = np.argsort(-best, kind="stable")
    rows, best = rows[order], best[order]
    scale = np.float32(max(size)), np.float32(_SIDE)
    sides = rows[:, 2:4] * scale[0] / scale[1]
    corners = (rows[:, :2] - rows[:, 2:4] / 2) * scale[0] / scale[1]
    limits = np.array(size, dtype=np.float32)
    corners = np.clip(corners, 0, limits)
    sides = np.minimum(sides, limits - corners)
    names = rows[:, 4:].argmax(axis=1)
    kept: list[int] = []
    for at in range(len(rows)):
        if all(_overlap(corners[at], sides[at], corners[other], sides[other]) <= _OVERLAP for other in kept):
            kept.append(at)
    return [
        Part(CLASSES[names[at]], float(best[at]), (*map(int, corners[at]), *map(int, sides[at])))  # type: ignore[arg-type]
        for at in kept
    ]


def _overlap(corner: np.ndarray, sides: np.ndarray, other: np.ndarray, others: np.ndarray) -> float:
    """Return intersection over union of two boxes; 1 for two empty ones, as OpenCV has it."""
    first, second = float(sides[0]) * float(sides[1]), float(others[0]) * float(others[1])
    if first + second <= np.finfo(np.float64).eps:
        return 1.0
    low = np.maximum(corner, other).astype(np.float64)
    high = np.minimum(corner.astype(np.float64) + sides, other.astype(np.float64) + others)
    shared = float(np.prod(np.maximum(high - low, 0.0)))
    return shared / (first + second - shared)


def model_path() -> Path:
    """Return the path of the packaged model; the package itself is not imported. Raises `BadInput`."""
    needed = "the scorer nudity needs nudenet, whose model is under the AGPL (see NOTICE): pip install nudenet==3.4.2"
    return package_folder("nudenet", needed) / "320n.onnx"


def read_model(path: Path) -> bytes:
    """Return the bytes of the model. Raises `BadInput` when they are not the known ones."""
    return checked_bytes(path, MODEL_SHA256, "pip install nudenet==3.4.2")


def _session(threads: int) -> Any:
    model = read_model(model_path())
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Waiting threads would burn the processor time of the other scorers and processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
