"""RivaGAN: a watermark of 32 bits that is put into finished pixels, of any generator.

Source: K. A. Zhang et al.: Robust Invisible Video Watermarking with Attention (arXiv 1909.01285); the weights that
ship here are described in training/hallmark/rivagan/NOTICE. Needs onnxruntime only.

32 bits are few: at a false-positive rate of 1e-6 they leave room for about 4,000 different marks without one wrong
bit. So pictures do not each get a mark of their own: an owner has a small pool of words, drawn from a secret, and
which picture it is the register's fingerprints tell. More words mean fewer wrong bits that are borne.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from filters.packaged import checked_bytes
from training.hallmark.watermark import FPR, Detection, WatermarkKey

#: The name of this mark in soft bindings. It is not on C2PA's list of registered algorithms.
ALGORITHM = "org.assay-data.rivagan.1"

BITS = 32

#: Longer side in pixels at which the networks work, whatever the picture's: scaling does not change what they see.
#: Measured on photos of 512 px: 256 bears JPEG better than 512 does, at a quarter of the time; turns it bears worse.
SIDE = 256

#: Shorter sides below this are widened to it: the decoder pools over patches.
_LEAST = 16

_FOLDER = Path(__file__).parent / "rivagan"
_SHA256 = {
    "encoder": "66bc7814fadac7d686105c8ab26c6cf2cc8e40deb83e67bb6ef5b9de9b8ece0d",
    "decoder": "6b006690cf352fa50a91a0b6d6241dbcded0a9957969e2c0665cf9a7011b3880",
}

#: Steps to which a bit's weight is rounded, so that the tail probability is computed exactly.
_STEPS = 31

#: Orientations that are tried: as it is, and mirrored.
_TRIES = 2


@dataclass(frozen=True)
class RivaGan:
    """The post-hoc watermark of one owner.

    `words`: size of the pool. `threads` of the networks, 0 for all cores. `side`: longer side at which they work; a
    mark is found only at the one at which it was put in.
    """

    key: WatermarkKey
    words: int = 4
    threads: int = 0
    side: int = SIDE
    algorithm: str = ALGORITHM
    _sessions: dict[tuple[int, str], Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.words <= 4096:
            raise ValueError(f"{self.words} words; 1 to 4,096")

    def __getstate__(self) -> dict[str, Any]:
        """Leave the networks behind when the mark travels to another process."""
        kept = {name: value for name, value in self.__dict__.items() if name not in ("_sessions", "pool", "_bits")}
        return {**kept, "_sessions": {}}

    @cached_property
    def pool(self) -> tuple[str, ...]:
        """Return the owner's words, 8 hex digits each, all different; the same for the same secret."""
        found: dict[str, None] = {}
        number = 0
        while len(found) < self.words:
            found[self.key.derive(f"rivagan-word-{number}")[: BITS // 8].hex()] = None
            number += 1
        return tuple(found)

    def values(self) -> tuple[str, ...]:
        """Return the owner's words."""
        return self.pool

    def new_value(self) -> str:
        """Return one of the owner's words by lot."""
        return secrets.choice(self.pool)

    def embed(self, pixels: np.ndarray, value: str) -> np.ndarray:
        """Return a marked copy of uint8 (h, w, 3). `value`: 8 hex digits."""
        bits = word_bits(value)
        small = _worked(pixels, self.side)
        (marked,) = self._session("encoder").run(None, {"frame": _frame(small), "data": bits[None].astype(np.float32)})
        residual = np.clip(marked[0, :, 0], -1, 1).transpose(1, 2, 0) * 127.5 + 127.5 - small
        added = _resized(residual.astype(np.float32), pixels.shape[1], pixels.shape[0])
        result: np.ndarray = np.clip(np.rint(pixels + added), 0, 255).astype(np.uint8)
        return result

    def detect(self, pixels: np.ndarray, bound: float = FPR) -> Detection:
        """Look for the owner's words in uint8 (h, w, 3), and then in its mirror image.

        The probability counts both orientations and every word, also where the first was enough.
        """
        found = self.match(self.logits(pixels), bound, flipped=False)
        if found.found:
            return found
        mirrored = self.match(self.logits(np.ascontiguousarray(pixels[:, ::-1])), bound, flipped=True)
        return mirrored if mirrored.fpr < found.fpr else found

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """Return the decoder's 32 outputs, float64; above 0 is a 1 (trained with a logistic loss)."""
        (output,) = self._session("decoder").run(None, {"frame": _frame(_worked(pixels, self.side))})
        values: np.ndarray = np.nan_to_num(output[0].astype(np.float64))
        return values

    def match(self, logits: np.ndarray, bound: float, flipped: bool) -> Detection:
        """Compare the decoder's outputs for one orientation with every word of the pool."""
        sizes, agree = weights(logits), self._bits == (logits > 0)
        reached = (agree * sizes).sum(axis=1)
        at = int(reached.argmax())
        fpr = min(1.0, float(survival(sizes)[reached[at]]) * len(self.pool) * _TRIES)
        return Detection(ALGORITHM, fpr <= bound, self.pool[at], fpr, int(agree[at].sum()), BITS, flipped)

    @cached_property
    def _bits(self) -> np.ndarray:
        """Return the pool's words, 0/1 uint8 (words, 32)."""
        return np.stack([word_bits(word) for word in self.pool])

    def _session(self, part: str) -> Any:
        """Return the network of this process; threads do not survive a fork."""
        place = (os.getpid(), part)
        if place not in self._sessions:
            import onnxruntime

            data = checked_bytes(_FOLDER / f"{part}.onnx", _SHA256[part], "install Assay again")
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self.threads
            self._sessions[place] = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        return self._sessions[place]


def word_bits(value: str) -> np.ndarray:
    """Return the 32 bits of a word, 0/1 uint8. Raises `ValueError` for what is not 8 hex digits."""
    raw = bytes.fromhex(value)
    if len(raw) * 8 != BITS:
        raise ValueError(f"{value!r}: a word has {BITS // 4} hex digits")
    return np.unpackbits(np.frombuffer(raw, np.uint8))


def chance(logits: np.ndarray, word: str) -> float:
    """Return the probability that a word drawn at random fits these outputs at least as well as this one does.

    The words are drawn without regard to the picture, so that the sum of the weights with random signs is the right
    comparison for any weights; its distribution is counted out, not approximated. Equal weights give the binomial
    tail.
    """
    sizes = weights(logits)
    agree = (logits > 0) == word_bits(word)
    return float(survival(sizes)[int(sizes[agree].sum())])


def weights(logits: np.ndarray) -> np.ndarray:
    """Return how much each bit counts, int64 (32,), 0 to 31: the square root of its output over the largest.

    A bit counts as much as the decoder is sure of it. Measured: at JPEG 25 and turns of 15 degrees the same matches
    are about ten times less likely by chance than with equal weights.
    """
    sizes = np.abs(logits)
    top = float(sizes.max())
    return np.rint(_STEPS * np.sqrt(sizes / top)).astype(np.int64) if top > 0 else np.zeros(BITS, np.int64)


def survival(sizes: np.ndarray) -> np.ndarray:
    """Return, for each possible sum of agreeing weights, the probability that a random word reaches it, float64."""
    counts = np.ones(1, np.float64)
    for size in sizes:
        spread = np.zeros(len(counts) + int(size))
        spread[: len(counts)] += counts / 2
        spread[int(size) :] += counts / 2
        counts = spread
    tail: np.ndarray = np.minimum(1.0, counts[::-1].cumsum()[::-1])
    return tail


def _worked(pixels: np.ndarray, side: int) -> np.ndarray:
    """Return the picture at the size at which the networks work, uint8."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    size = tuple(max(_LEAST, round(length * scale)) for length in (width, height))
    if size == (width, height):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def _frame(pixels: np.ndarray) -> np.ndarray:
    """Return float32 (1, 3, 1, h, w) in -1..1: a video of one frame."""
    scaled: np.ndarray = (pixels.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None, :, None]
    return scaled


def _resized(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return float32 (h, w, 3) at another size."""
    if values.shape[:2] == (height, width):
        return values
    channels = [
        np.asarray(Image.fromarray(values[..., i]).resize((width, height), Image.Resampling.BICUBIC)) for i in range(3)
    ]
    return np.stack(channels, axis=-1)
