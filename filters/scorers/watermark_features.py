"""What a watermark looks like, in numbers: what the text says, how often, where, and how it lies on the picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from filters.scorers.text_detection import TextBox, covered, line
from filters.watermark_marks import letters, named_by, recognise

#: Text counts as read above this confidence and with so many letters; below it, shapes pass for letters.
CONFIDENCE, LETTERS = 0.75, 3

#: The features, in the order of `features`.
NAMES = (
    "agency",
    "phrase",
    "pattern",
    "read",
    "long",
    "repeats",
    "boxes",
    "area",
    "slanted",
    "upright_side",
    "centred",
    "corner",
    "periodic",
    "see_through",
    "faint",
    "grey",
    "legible",
    "wide",
)


def features(image: Image.Image, boxes: Sequence[TextBox], text_map: np.ndarray, caption: str) -> np.ndarray:
    """Return float64 (18,), each about 0 to 1, in the order of `NAMES`.

    `boxes` with texts where they were read. Text that the caption names counts for nothing, unless it is repeated
    at least three times.
    """
    read = [box for box in boxes if is_read(box)]
    excused = [box for box in read if named_by(caption, box.text)]
    if excused and repeats(read) < 3:
        read = [box for box in read if all(box is not other for other in excused)]
        boxes = [box for box in boxes if all(box is not other for other in excused)]
    marks = [(mark, box) for box in read if (mark := recognise(box.text))]
    agency = max((mark.quality * box.confidence for mark, box in marks if mark.kind == "agency"), default=0.0)
    phrase = max((box.confidence for mark, box in marks if mark.kind in ("phrase", "word")), default=0.0)
    pattern = max(
        (box.confidence for mark, box in marks if mark.kind in ("url", "copyright", "number", "handle")), default=0.0
    )
    sizes = np.array([len(letters(box.text)) * box.confidence for box in read])
    slants = np.array([abs(box.angle) for box in read])
    centres = np.array([box.corners.mean(axis=0) for box in read]).reshape(-1, 2)
    inner = np.abs(centres - 0.5).max(axis=1, initial=0.0) if len(read) else np.array([])
    see_through, faint, grey = overlay(image, read[:6])
    return np.array(
        [
            agency,
            phrase,
            pattern,
            float(bool(read)),
            min(1.0, float(sizes.max(initial=0.0)) / 12),
            min(1.0, (repeats(read) - 1) / 4) if read else 0.0,
            min(1.0, len(read) / 8),
            np.sqrt(covered(list(read))),
            float(((slants > 13) & (slants < 77)).mean()) if len(read) else 0.0,
            float((slants >= 77).any()) if len(read) else 0.0,
            float((inner < 0.12).any()),
            float((inner > 0.38).any()),
            periodicity(text_map) if read or len(boxes) >= 3 else 0.0,
            see_through,
            faint,
            grey,
            # What was nearly read says nothing more where something was.
            0.0 if read else max((nearly(box) for box in boxes), default=0.0),
            0.0 if read else max((box.score for box in boxes if elongation(box, image.size) >= 2), default=0.0),
        ]
    )


def elongation(box: TextBox, size: tuple[int, int]) -> float:
    """Return width over height of a box; words are longer than high, single shapes are not."""
    corners = box.corners * size
    high = max(1.0, float(np.hypot(*(corners[3] - corners[0]))))
    return float(np.hypot(*(corners[1] - corners[0]))) / high


def nearly(box: TextBox) -> float:
    """Return how nearly a box that does not count as read holds a text, 0 to 1."""
    return box.confidence**2 * min(1.0, len(letters(box.text)) / 4)


def is_read(box: TextBox) -> bool:
    """Tell whether the box holds a text that was read, and not shapes."""
    return box.confidence >= CONFIDENCE and len(letters(box.text)) >= LETTERS


def repeats(boxes: Sequence[TextBox]) -> int:
    """Return how many of the boxes hold the same text at most, misread or cut ones included; 0 without boxes."""
    texts = [letters(box.text) for box in boxes]
    return max((sum(_same(text, other) for other in texts) for text in texts), default=0)


def _same(one: str, other: str) -> bool:
    """Tell whether one text is the other, or most of it."""
    short, long = sorted((one, other), key=len)
    if short in long:
        return True
    pairs = {short[at : at + 2] for at in range(len(short) - 1)}
    return len(pairs & {long[at : at + 2] for at in range(len(long) - 1)}) >= 0.6 * len(pairs)


def periodicity(text_map: np.ndarray) -> float:
    """Return how far the text map (height, width) repeats itself, 0 to 1: the highest peak of its autocorrelation.

    The hill around shift 0, which every line of letters has, does not count, nor do shifts of more than 0.6 of a
    side (too little overlaps). A map that is nearly empty repeats nothing.
    """
    height, width = text_map.shape
    small = cv2.resize(text_map, (max(8, width // 4), max(8, height // 4)), interpolation=cv2.INTER_AREA)
    small = small.astype(np.float64)
    energy = float(small.std())
    if energy < 0.01:
        return 0.0
    centred = small - small.mean()
    padded = (2 * small.shape[0], 2 * small.shape[1])
    spectrum = np.fft.rfft2(centred, padded)
    found = np.fft.irfft2(spectrum * spectrum.conj(), padded)
    ones = np.fft.rfft2(np.ones_like(small), padded)
    overlap = np.maximum(np.fft.irfft2(ones * ones.conj(), padded), 1.0)
    found /= overlap
    found /= found[0, 0]
    found = np.fft.fftshift(found)
    middle = (small.shape[0], small.shape[1])
    _, hills = cv2.connectedComponents((found > 0.2).astype(np.uint8), connectivity=4)
    reach = [int(0.6 * side) for side in small.shape]
    window = tuple(slice(at - far, at + far + 1) for at, far in zip(middle, reach, strict=True))
    other = (hills[window] != hills[middle]) & (hills[window] > 0)
    peak = float(found[window][other].max(initial=0.0))
    return min(1.0, max(0.0, peak)) * min(1.0, energy / 0.1)


def overlay(image: Image.Image, boxes: Sequence[TextBox]) -> tuple[float, float, float]:
    """Return whether the letters let the picture through, how faint and how grey they are; each 0 to 1.

    An overlay of opacity a and grey w turns a colour b into (1 - a) b + a w: over several pieces of text and the
    three channels, letters then depend on the ground beside them with slope 1 - a, while opaque letters have slope
    0. `see_through` is that slope, drawn to 0 where the ground hardly varies; `faint` is 1 less the difference of
    letters and ground on a scale of 0 to 128; `grey` is 1 less the spread of the channels' differences.
    """
    strokes, grounds = [], []
    for box in boxes:
        for stroke, ground in _pieces(line(image, box.corners)):
            strokes.append(stroke)
            grounds.append(ground)
    if not strokes:
        return 0.0, 0.0, 0.0
    stroke_colours, ground_colours = np.array(strokes), np.array(grounds)
    difference = stroke_colours - ground_colours
    x, y = ground_colours.ravel(), stroke_colours.ravel()
    spread = x - x.mean()
    # 12 levels of variation are needed before the slope is believed.
    slope = float((spread * (y - y.mean())).sum() / ((spread**2).sum() + 144.0 * len(x)))
    faint = 1.0 - min(1.0, float(np.abs(difference.mean(axis=1)).mean()) / 128)
    grey = 1.0 - min(1.0, float(np.ptp(difference, axis=1).mean()) / 64)
    return min(1.0, max(0.0, slope)), faint, grey


def _pieces(pixels: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return mean colours (3,) of letters and of the ground beside them, for each 48 pixels of a line."""
    luma = pixels.astype(np.float32).mean(axis=2)
    raised = luma - cv2.GaussianBlur(luma, (0, 0), 8)
    inner = raised[8:-8]
    # Letters are brighter or darker than what surrounds them; the longer tail says which.
    sign = 1.0 if np.percentile(inner, 95) >= -np.percentile(inner, 5) else -1.0
    raised *= sign
    bound = 0.5 * float(np.percentile(raised[8:-8], 95))
    found = []
    for left in range(0, max(1, pixels.shape[1] - 24), 48):
        part, height = pixels[:, left : left + 48].astype(np.float64), raised[:, left : left + 48]
        stroke, ground = height > max(bound, 2.0), height < 0.0
        if stroke.sum() >= 20 and ground.sum() >= 20:
            found.append((part[stroke].mean(axis=0), part[ground].mean(axis=0)))
    return found
