"""Where text stands in a picture, and what it says: PP-OCRv6 (small) through ONNX Runtime.

The models are those that the package `rapidocr` carries; the package itself is not imported, so that neither its
logger nor its downloads play a part. Pre- and post-processing follow PaddleOCR's (Differentiable Binarization,
Liao et al. 2020, arXiv:1911.08947): a box is the smallest rotated rectangle around a blob of the text map, grown
by area * ratio / perimeter. For a rectangle that equals growing its outline and taking the smallest rectangle
again, so that no polygon library is needed.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from filters.packaged import checked_bytes, package_folder

#: Files of the package rapidocr 3.10.0 and their SHA-256.
DETECTOR = ("PP-OCRv6_det_small.onnx", "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f")
RECOGNISER = ("PP-OCRv6_rec_small.onnx", "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884")

#: Longer side at which text is looked for: smaller pictures are enlarged to the first, larger ones reduced to the
#: second. Below the first small marks of thumbnails are lost, above the second time grows and finds little more.
SIDES = (512, 640)

#: A pixel of the text map above this belongs to text; a box needs this mean. PaddleOCR has 0.3 and 0.6: faint
#: overlays stay below.
PIXEL, BOX = 0.25, 0.4

#: How far a box grows, and the least side of its core (pixels of the text map), as in rapidocr's configuration.
UNCLIP, MIN_SIDE = 1.6, 3

#: Boxes that are returned at most, the most confident ones, and the widest line that is read (48 pixels high).
MAX_BOXES, MAX_WIDTH = 100, 480

#: A box that covers more of the picture than this is no line of text.
MAX_SHARE = 0.5

#: Degrees from level beyond which a line may run downwards as well as upwards.
STEEP = 60

_HEIGHT = 48

#: Longest side that OpenCV turns (its coordinates are 16 bits); the cut around a longer line is shrunk first.
_LONGEST = 32_766
_LOCK = threading.Lock()
_SESSIONS: dict[tuple[str, int], Any] = {}
_CHARACTERS: list[str] = []


@dataclass(frozen=True)
class TextBox:
    """One line of text: corners clockwise from the top left of the reading direction, as shares of the sides.

    `corners` float64 (4, 2), x and y within 0 to 1; `score` the detector's mean, 0 to 1; `angle` of the line
    against the horizontal, degrees -90 to 90; `text` and its mean `confidence` (0 to 1) where it was read.
    """

    corners: np.ndarray
    score: float
    angle: float
    text: str = ""
    confidence: float = 0.0


@dataclass(frozen=True)
class TextReader:
    """Finds and reads text. Results do not depend on the number of threads or on other pictures.

    `threads`: threads a run of a model.
    """

    threads: int = 1

    def load(self) -> None:
        """Make the sessions, once a process and number of threads. Raises `BadInput` for other or no models."""
        for file in (DETECTOR, RECOGNISER):
            self._session(file)

    def text_map(self, image: Image.Image) -> np.ndarray:
        """Return the probability of text, float32 (height, width), at the size where text is looked for."""
        session = self._session(DETECTOR)
        small = image.resize(detection_size(image.size), Image.Resampling.BILINEAR, reducing_gap=3.0)
        blob = (levelled(np.asarray(small)) / 127.5 - 1.0).astype(np.float32)
        found: np.ndarray = session.run(None, {"x": blob[None]})[0][0, 0]
        return found

    def read(self, image: Image.Image, box: TextBox) -> TextBox:
        """Return the box with its text and confidence; a steep line is read from both ends, the clearer one counts."""
        ways = [box.corners]
        if abs(box.angle) > STEEP:
            ways.append(np.roll(box.corners, 2, axis=0))
        found = [(corners, *self._read(image, corners)) for corners in ways]
        corners, text, confidence = max(found, key=lambda way: way[2])
        return TextBox(corners, box.score, box.angle, text, confidence)

    def _read(self, image: Image.Image, corners: np.ndarray) -> tuple[str, float]:
        pixels = line(image, corners)
        blob = (pixels[:, :, ::-1].astype(np.float32) / 127.5 - 1.0).transpose(2, 0, 1)
        # Lines are read one by one: padding to a common width would change what is read.
        return _decoded(self._session(RECOGNISER).run(None, {"x": np.ascontiguousarray(blob)[None]})[0][0])

    def _session(self, file: tuple[str, str]) -> Any:
        key = (file[0], self.threads)
        with _LOCK:
            if key not in _SESSIONS:
                _SESSIONS[key] = _session(file, self.threads)
            return _SESSIONS[key]


def detection_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return width and height at which text is looked for: multiples of 32, the longer side within `SIDES`."""
    longer = max(size)
    scale = min(max(longer, SIDES[0]), SIDES[1]) / longer
    return max(32, round(size[0] * scale / 32) * 32), max(32, round(size[1] * scale / 32) * 32)


def levelled(pixels: np.ndarray) -> np.ndarray:
    """Return darkest channel, luma, brightest channel, each with its local mean and spread made equal.

    Takes uint8 (height, width, 3), returns float32 (3, height, width), 0 to 255.

    Letters laid over a picture are faint, and the network was trained on printed ones. White ones show best in the
    darkest channel, black ones in the brightest, whatever the colour below. Measured on openclipart scenes: the
    darkest channel alone finds 45 of 60 marks of opacity 0.2, the plain picture 40; with the two other channels
    beside it, 84 instead of 82 of 100 of opacity 0.3, and 16 instead of 12 of the 20 black ones among them.
    Shapes may pass for text in it, so that only what was read counts.
    """
    luma = pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    planes = (pixels.min(axis=2).astype(np.float32), luma, pixels.max(axis=2).astype(np.float32))
    return np.stack([_level(plane) for plane in planes])


def _level(plane: np.ndarray) -> np.ndarray:
    raised = plane - _blurred(plane)
    # A plain ground has little spread of its own: without the 12 levels its noise would be blown up.
    spread = np.sqrt(np.maximum(_blurred(raised * raised), 0.0)) + 12.0
    found: np.ndarray = np.clip(128.0 + 45.0 * raised / spread, 0.0, 255.0)
    return found


def _blurred(values: np.ndarray) -> np.ndarray:
    """Return the mean around each pixel, over about a sixth of the longer side; at an eighth of the resolution."""
    height, width = values.shape
    small = cv2.resize(values, (max(2, width // 8), max(2, height // 8)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 0.08 * max(small.shape), borderType=cv2.BORDER_REFLECT_101)
    found: np.ndarray = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return found


def boxes_of(text_map: np.ndarray) -> list[TextBox]:
    """Return the boxes of a text map (height, width), at most `MAX_BOXES`, by falling score."""
    height, width = text_map.shape
    mask = cv2.dilate((text_map > PIXEL).astype(np.uint8), np.ones((2, 2), np.uint8))
    outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for outline in outlines:
        centre, sides, turn = cv2.minAreaRect(outline)
        if min(sides) < MIN_SIDE:
            continue
        score = _mean_inside(text_map, cv2.boxPoints((centre, sides, turn)))
        if score < BOX:
            continue
        grow = sides[0] * sides[1] * UNCLIP / (sides[0] + sides[1])
        corners = _clockwise(cv2.boxPoints((centre, (sides[0] + grow, sides[1] + grow), turn)))
        along = corners[1] - corners[0]
        angle = float(np.degrees(np.arctan2(along[1], along[0])))
        shares = np.clip(corners / (width, height), 0.0, 1.0)
        if (sides[0] + grow) * (sides[1] + grow) <= MAX_SHARE * width * height:
            found.append(TextBox(shares, score, angle))
    # Ties by position, so that the order does not depend on OpenCV's.
    found.sort(key=lambda box: (-box.score, *box.corners[0]))
    return found[:MAX_BOXES]


def covered(boxes: list[TextBox]) -> float:
    """Return the share of the picture inside at least one of the boxes, 0 to 1, on a grid of 256 x 256."""
    grid = np.zeros((256, 256), np.uint8)
    for box in boxes:
        cv2.fillConvexPoly(grid, np.rint(box.corners * 255).astype(np.int32), 1)
    return float(grid.mean())


def model_id() -> str:
    """Return the models' names and SHA-256."""
    return f"pp-ocrv6-small@sha256:{DETECTOR[1][:16]}+{RECOGNISER[1][:16]}"


def models_folder() -> Path:
    """Return the folder of the packaged models; the package is not imported. Raises `BadInput`."""
    needed = "the watermark scorer needs the package rapidocr: pip install 'rapidocr==3.10.0'"
    return package_folder("rapidocr", needed) / "models"


def read_model(path: Path, sha256: str) -> bytes:
    """Return the bytes of a model. Raises `BadInput` when they are not the known ones."""
    return checked_bytes(path, sha256, "pip install 'rapidocr==3.10.0'")


def _session(file: tuple[str, str], threads: int) -> Any:
    model = read_model(models_folder() / file[0], file[1])
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Waiting threads would burn the processor time of the other scorers and processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Every picture may have another size: without this, memory would be kept for each of them.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    if file == RECOGNISER and not _CHARACTERS:
        # Class 0 is CTC's blank; the last one is the space.
        listed = session.get_modelmeta().custom_metadata_map["character"].splitlines()
        _CHARACTERS.extend(["", *listed, " "])
    return session


def _clockwise(corners: np.ndarray) -> np.ndarray:
    """Order a rectangle's corners (4, 2) from the top left of its longer side, read from left to right."""
    corners = np.asarray(corners, dtype=np.float64)
    edges = np.roll(corners, -1, axis=0) - corners
    lengths = np.hypot(edges[:, 0], edges[:, 1])
    # Letters stand along the longer side; nearly square boxes hold upright ones.
    if max(lengths[:2]) > 1.3 * min(lengths[:2]):
        along = 0 if lengths[0] >= lengths[1] else 1
    else:
        along = 0 if abs(edges[0, 0]) >= abs(edges[1, 0]) else 1
    if edges[along, 0] < 0 or (edges[along, 0] == 0 and edges[along, 1] > 0):
        along = (along + 2) % 4
    ordered = np.roll(corners, -along, axis=0)
    first, second = ordered[1] - ordered[0], ordered[3] - ordered[0]
    if first[0] * second[1] - first[1] * second[0] < 0:  # not clockwise in picture coordinates
        ordered = ordered[[3, 2, 1, 0]]
    return ordered


def _mean_inside(values: np.ndarray, corners: np.ndarray) -> float:
    height, width = values.shape
    left, top = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, (width - 1, height - 1))
    right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int), 0, (width - 1, height - 1))
    mask = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
    cv2.fillPoly(mask, [np.rint(corners - (left, top)).astype(np.int32)], 1)
    inside = values[top : bottom + 1, left : right + 1][mask > 0]
    return float(inside.mean()) if inside.size else 0.0


def line(image: Image.Image, shares: np.ndarray) -> np.ndarray:
    """Return the upright line of text within corners (4, 2), as shares of the sides: uint8 (48, width, 3) RGB."""
    corners = (shares * image.size).astype(np.float32)
    wide = float(np.hypot(*(corners[1] - corners[0])))
    high = max(1.0, float(np.hypot(*(corners[3] - corners[0]))))
    width = int(np.clip(round(_HEIGHT * wide / high), 16, MAX_WIDTH))
    target = np.array([(0, 0), (width, 0), (width, _HEIGHT), (0, _HEIGHT)], np.float32)
    # Only the part around the box is turned; copying the whole picture costs more than reading it.
    left, top = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 2, 0)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 2, image.size)
    cut = image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
    factor = -(-max(cut.size) // _LONGEST)
    part = np.asarray(cut if factor == 1 else cut.reduce(factor))
    own = (corners - np.array((left, top), np.float32)) / np.float32(factor)
    turned = cv2.getPerspectiveTransform(own, target)
    found: np.ndarray = cv2.warpPerspective(
        part, turned, (width, _HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return found


def _decoded(found: np.ndarray) -> tuple[str, float]:
    """Return text and mean confidence of CTC probabilities (steps, classes), best class a step."""
    best = found.argmax(axis=1)
    fresh = np.ones(len(best), dtype=bool)
    fresh[1:] = best[1:] != best[:-1]
    fresh &= best != 0
    if not fresh.any():
        return "", 0.0
    text = "".join(_CHARACTERS[index] for index in best[fresh]).strip()
    return text, float(found.max(axis=1)[fresh].mean())
