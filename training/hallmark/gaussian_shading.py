"""Gaussian Shading: a watermark in the initial noise of a diffusion sampler, which leaves the noise N(0, I).

Source: Z. Yang, K. Zeng, K. Chen, H. Fang, W. Zhang, N. Yu: Gaussian Shading: Provable Performance-Lossless Image
Watermarking for Diffusion Models, CVPR 2024 (arXiv 2404.04956). The payload's bits are repeated over the latent,
encrypted by a stream cipher, and become the signs of the noise; the magnitudes are random. Every picture has a nonce
of its own: with the same one twice, two pictures would share all signs, which is neither lossless nor safe (arXiv
2503.11404). So detection asks for the signs of each registered picture, and compares all of them without a vote.

What an inversion recovers is not trusted alike everywhere: a sign counts as much as its recovered number is far from
the channel's mean. Measured on eight pictures of the demo's checkpoint, where the inversion is poor (correlation 0.3):
the weighted sum stands at 8.5 of its standard deviations, equal weights at 6.5.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from scipy.special import betainc, gammaln, ndtr, ndtri

from training.hallmark.watermark import FPR, Detection, WatermarkKey, best

#: The name of this mark in soft bindings. It is not on C2PA's list of registered algorithms.
ALGORITHM = "org.assay-data.gaussian-shading.1"

NONCE_BYTES = 12

#: Registered pictures whose signs are held at once while scanning; bounds the memory (32 MB at 4 x 64 x 64).
_BLOCK = 512

#: A weighted sum of random signs exceeds x of its standard deviations at most so many times as often as a normal
#: number does, whatever the weights. Source: V. Bentkus, D. Dzindzalieta: A tight Gaussian bound for weighted sums of
#: Rademacher random variables, Bernoulli 21 (2015); the constant is 1 / (4 P(Z >= sqrt 2)).
_RADEMACHER = 1 / (4 * float(ndtr(-math.sqrt(2))))


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


def chance(score: float) -> float:
    """Return the most that a score of this many standard deviations, or more, has as its probability by chance.

    It holds for any weights where the signs are random, and is about 3 times what a normal number would give.
    """
    return min(1.0, max(_RADEMACHER * float(ndtr(-score)), sys.float_info.min))


def scan(
    noises: Sequence[np.ndarray],
    registered: Iterable[tuple[str, bytes]],
    key: WatermarkKey,
    geometry: Geometry,
    bound: float = FPR,
    tries: int | None = None,
) -> Detection:
    """Look for the registered picture (id, nonce) whose signs agree best with what an inversion recovered.

    `noises`: one (c, h, w) an orientation, the upright picture's first, then its mirror image's; `tries`: how many
    are looked at in all, where there are others. The signs of registered pictures are as good as random to who has
    not the key, so the weighted sum of an unmarked picture is one of random signs, whatever its own numbers are.
    """
    queries = np.stack([_weights(noise, geometry) for noise in noises], axis=1)
    found: tuple[float, str | None, int, bytes] = (-1.0, None, 0, b"")
    candidates = 0
    source = iter(registered)
    while some := list(islice(source, _BLOCK)):
        candidates += len(some)
        packed = np.stack([_signs(key, nonce, payload(name, geometry), geometry) for name, nonce in some])
        scores = (np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1) @ queries
        at, orientation = (int(one) for one in np.unravel_index(scores.argmax(), scores.shape))
        first = (float(scores[at, orientation]), some[at][0], orientation, packed[at].tobytes())
        found = max(found, first, key=lambda one: one[0])
    score, name, orientation, signs = found
    if name is None:
        return Detection(ALGORITHM, False, None, 1.0, 0, geometry.size)
    expected = np.unpackbits(np.frombuffer(signs, np.uint8)) > 0
    matches = int((expected == (queries[:, orientation] > 0)).sum())
    fpr = min(1.0, chance(score) * candidates * (tries or len(noises)))
    return Detection(ALGORITHM, fpr <= bound, name, fpr, matches, geometry.size, flipped=orientation != 0)


@dataclass(frozen=True)
class GaussianShading:
    """The detector of one owner's marks at sampling.

    `registered` yields (id, nonce) of the pictures that may be meant (`HallmarkRegistry.nonces`). `noises_of` gives,
    for each size at which uint8 (h, w, 3) may have been sampled, that size's geometry and a call that brings the
    picture back to the initial noise, (c, h, w): encode, then `training.hallmark.inversion.invert` with the checkpoint
    that made it.
    """

    key: WatermarkKey
    registered: Callable[[], Iterable[tuple[str, bytes]]]
    noises_of: Callable[[np.ndarray], Sequence[tuple[Geometry, Callable[[], np.ndarray]]]]
    algorithm: str = ALGORITHM

    def detect(self, pixels: np.ndarray, bound: float = FPR) -> Detection:
        """Look for any issued picture's mark at every size, and then in the mirror image.

        The probability counts all sizes and both orientations, also where the first was enough.
        """
        found = []
        for flipped in (False, True):
            sizes = self.noises_of(np.ascontiguousarray(pixels[:, ::-1]) if flipped else pixels)
            for geometry, noise in sizes:
                one = scan([noise()], self.registered(), self.key, geometry, bound, tries=2 * len(sizes))
                found.append(replace(one, flipped=flipped))
                if one.found:
                    return found[-1]
        return best(found) or Detection(ALGORITHM, False, None, 1.0, 0, 0)


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


def _weights(noise: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return how much each sign counts, and which it is: float32 (size,), of length 1.

    The recovered numbers themselves, without their channels' means, which tell of the picture's colours. All zero
    where there is nothing to go by.
    """
    _check_shape(noise, geometry)
    values = np.nan_to_num(noise.astype(np.float64))
    values = values - values.mean(axis=(1, 2), keepdims=True)
    length = float(np.linalg.norm(values))
    scaled = values / length if 0 < length < math.inf else np.zeros_like(values)
    flat: np.ndarray = scaled.reshape(-1).astype(np.float32)
    return flat


def _packed(noise: np.ndarray, geometry: Geometry) -> np.ndarray:
    _check_shape(noise, geometry)
    return np.packbits(noise.reshape(-1) > 0)


def _check_shape(noise: np.ndarray, geometry: Geometry) -> None:
    if noise.shape != (geometry.channels, geometry.height, geometry.width):
        raise ValueError(f"noise of shape {noise.shape} for {geometry}")
