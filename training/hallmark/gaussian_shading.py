"""Gaussian Shading: a watermark in the initial noise of a diffusion sampler, which leaves the noise N(0, I).

Source: Z. Yang, K. Zeng, K. Chen, H. Fang, W. Zhang, N. Yu: Gaussian Shading: Provable Performance-Lossless Image
Watermarking for Diffusion Models, CVPR 2024 (arXiv 2404.04956). The payload's bits are repeated over the latent,
encrypted by a stream cipher, and become the signs of the noise; the magnitudes are random. Every picture has a nonce
of its own: with the same one twice, two pictures would share all signs, which is neither lossless nor safe (arXiv
2503.11404). So detection asks for the signs of each registered picture, and compares all of them without a vote.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from scipy.special import betainc, gammaln, ndtri

from training.hallmark.watermark import FPR, Detection, WatermarkKey

#: The name of this mark in soft bindings. It is not on C2PA's list of registered algorithms.
ALGORITHM = "org.assay-data.gaussian-shading.1"

NONCE_BYTES = 12

#: Registered pictures whose signs are held at once while scanning; bounds the memory (8 MB at 4 x 64 x 64).
_BLOCK = 4096


@dataclass(frozen=True)
class Geometry:
    """Shape of the latent, and over how many channels and how wide a square each payload bit is repeated."""

    channels: int
    height: int
    width: int
    channel_copies: int = 1
    space_copies: int = 8

    def __post_init__(self) -> None:
        whole = (
            self.channels % self.channel_copies == 0
            and self.height % self.space_copies == 0
            and self.width % self.space_copies == 0
        )
        if min(self.channels, self.height, self.width) < 1 or not whole or self.size % 8:
            raise ValueError(f"{self}: the copies must divide the latent, whose size must be a multiple of 8")

    @property
    def size(self) -> int:
        """Return the number of signs."""
        return self.channels * self.height * self.width

    @property
    def bits(self) -> int:
        """Return the number of payload bits."""
        return self.size // self.copies

    @property
    def copies(self) -> int:
        """Return how often each payload bit stands in the noise."""
        return self.channel_copies * self.space_copies**2


def new_nonce() -> bytes:
    """Return a fresh nonce of 12 bytes; never use one for two pictures."""
    return secrets.token_bytes(NONCE_BYTES)


def payload(identity: str, geometry: Geometry) -> np.ndarray:
    """Return a picture's payload, 0/1 uint8 (bits,): SHAKE-256 of its id."""
    stream = hashlib.shake_256(f"assay-payload:{identity}".encode()).digest((geometry.bits + 7) // 8)
    return np.unpackbits(np.frombuffer(stream, np.uint8))[: geometry.bits]


def shade(
    key: WatermarkKey, nonce: bytes, bits: np.ndarray, geometry: Geometry, generator: np.random.Generator
) -> np.ndarray:
    """Return marked noise, float32 (c, h, w). It is N(0, I) where the cipher's bits are uniform.

    Signs are the encrypted bits; magnitudes are those of normal numbers, drawn from `generator`.
    """
    signs = np.unpackbits(_signs(key, nonce, bits, geometry)).astype(np.float64) * 2 - 1
    # Never exactly 0, so that every magnitude is above 0 and finite.
    uniform = (generator.integers(0, 1 << 53, geometry.size) + 0.5) / (1 << 53)
    noise: np.ndarray = signs * -ndtri(uniform / 2)
    return noise.reshape(geometry.channels, geometry.height, geometry.width).astype(np.float32)


def decode(noise: np.ndarray, key: WatermarkKey, nonce: bytes, geometry: Geometry) -> np.ndarray:
    """Return the payload by majority over the copies, 0/1 uint8 (bits,); a tie counts as 0.

    `noise` is what an inversion recovered, (c, h, w); `nonce` that of the picture that it is thought to be.
    """
    plain = np.unpackbits(_cipher(key, nonce, _packed(noise, geometry)))
    f, s = geometry.channel_copies, geometry.space_copies
    shape = (f, geometry.channels // f, s, geometry.height // s, s, geometry.width // s)
    votes = plain.reshape(shape).sum(axis=(0, 2, 4))
    majority: np.ndarray = (votes * 2 > geometry.copies).reshape(-1).astype(np.uint8)
    return majority


def probability(matches: int, size: int, share: float = 0.5) -> float:
    """Return the probability that at least `matches` of `size` coins agree: by default fair ones, as in a picture
    without the mark. The binomial tail as an incomplete beta function.
    """
    if matches <= 0:
        return 1.0
    return float(betainc(matches, size - matches + 1, share)) if matches <= size else 0.0


def threshold(size: int, fpr: float = FPR, candidates: int = 1) -> int:
    """Return the fewest matches that chance gives with probability <= `fpr` over that many candidates.

    `size + 1` where even a full match is too likely.
    """
    low, high = 0, size + 1
    while low < high:
        middle = (low + high) // 2
        if candidates * probability(middle, size) <= fpr:
            high = middle
        else:
            low = middle + 1
    return low


def scan(
    noises: Sequence[np.ndarray],
    registered: Iterable[tuple[str, bytes]],
    key: WatermarkKey,
    geometry: Geometry,
    bound: float = FPR,
) -> Detection:
    """Look for the registered picture (id, nonce) whose signs agree best with what an inversion recovered.

    `noises`: one (c, h, w) an orientation, the upright picture's first, then its mirror image's. The signs of
    registered pictures are as good as random to who has not the key, so the matches of an unmarked picture are
    binomial, whatever its own signs look like.
    """
    queries = np.stack([_packed(noise, geometry) for noise in noises]).view(np.uint8)
    found: tuple[int, str | None, int] = (-1, None, 0)
    candidates = 0
    source = iter(registered)
    while some := list(islice(source, _BLOCK)):
        candidates += len(some)
        expected = np.stack([_signs(key, nonce, payload(name, geometry), geometry) for name, nonce in some])
        for orientation, query in enumerate(queries):
            agree = geometry.size - np.bitwise_count(expected ^ query).sum(axis=1, dtype=np.int64)
            at = int(agree.argmax())
            found = max(found, (int(agree[at]), some[at][0], -orientation), key=lambda one: one[0])
    matches, name, orientation = found
    if name is None:
        return Detection(ALGORITHM, False, None, 1.0, 0, geometry.size)
    fpr = min(1.0, probability(matches, geometry.size) * candidates * len(noises))
    return Detection(ALGORITHM, fpr <= bound, name, fpr, matches, geometry.size, flipped=orientation != 0)


@dataclass(frozen=True)
class GaussianShading:
    """The detector of one owner's marks at sampling.

    `registered` yields (id, nonce) of all issued pictures (`HallmarkRegistry.nonces`). `noise_of` brings uint8
    (h, w, 3) back to the initial noise, (c, h, w): encode, then `training.hallmark.inversion.invert` with the
    checkpoint that made the picture.
    """

    key: WatermarkKey
    geometry: Geometry
    registered: Callable[[], Iterable[tuple[str, bytes]]]
    noise_of: Callable[[np.ndarray], np.ndarray]
    algorithm: str = ALGORITHM

    def detect(self, pixels: np.ndarray, bound: float = FPR) -> Detection:
        """Look for any issued picture's mark, in the picture and in its mirror image."""
        views = (pixels, np.ascontiguousarray(pixels[:, ::-1]))
        noises = [self.noise_of(view) for view in views]
        return scan(noises, self.registered(), self.key, self.geometry, bound)


def expected_bit_errors(correlation: float, geometry: Geometry) -> float:
    """Return the share of wrong payload bits where true and recovered noise correlate so much (0 to 1).

    A sign is wrong with probability arccos(correlation) / pi; a bit where at least half its copies are, ties counted
    half, as a tie decodes as 0 and half the bits are 0.
    """
    wrong = math.acos(correlation) / math.pi
    copies = geometry.copies
    more = probability(copies // 2 + 1, copies, wrong)
    if copies % 2:
        return more
    half = copies // 2
    ways = float(gammaln(copies + 1) - 2 * gammaln(half + 1))
    return more + math.exp(ways + half * (math.log(wrong) + math.log1p(-wrong))) / 2 if 0 < wrong < 1 else more


def _signs(key: WatermarkKey, nonce: bytes, bits: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return the signs of a picture's noise, packed uint8 (size / 8,); a 1 is positive."""
    f, s = geometry.channel_copies, geometry.space_copies
    small = bits.reshape(geometry.channels // f, geometry.height // s, geometry.width // s)
    return _cipher(key, nonce, np.packbits(np.tile(small, (f, s, s))))


def _cipher(key: WatermarkKey, nonce: bytes, packed: np.ndarray) -> np.ndarray:
    """Return the bytes under ChaCha20 with counter 0 (RFC 8439); the same call encrypts and decrypts."""
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"a nonce has {NONCE_BYTES} bytes, this one {len(nonce)}")
    cipher = Cipher(algorithms.ChaCha20(key.derive("gaussian-shading"), b"\0\0\0\0" + nonce), mode=None)
    return np.frombuffer(cipher.encryptor().update(packed.tobytes()), np.uint8)


def _packed(noise: np.ndarray, geometry: Geometry) -> np.ndarray:
    if noise.shape != (geometry.channels, geometry.height, geometry.width):
        raise ValueError(f"noise of shape {noise.shape} for {geometry}")
    return np.packbits(noise.reshape(-1) > 0)
