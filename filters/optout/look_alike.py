"""Pictures that look like registered ones: PDQ hashes by differing bits, embeddings by cosine.

PDQ finds copies through recompression, scaling and colour changes, and the eight flips and right-angle turns; it
does not find crops (measured: none at 10 %) or small rotations. Embeddings do, and also find pictures that are
only alike: hence two bounds, and a person between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

#: Least PDQ quality (0 to 100) at which a hash says anything. Source: ThreatExchange pdq/README, "discard <= 49".
MIN_QUALITY = 50

#: Differing bits of 256 up to which two hashes are of one picture. Source: as above.
PDQ_DISTANCE = 31

_BITS = 256
#: Pictures, or pairs of picture and registered vector, compared at once; bounds the memory of a search.
_BLOCK = 4096
_MAX_PAIRS = 1 << 22


@dataclass(frozen=True)
class Likeness:
    """Pairs of rows of the samples and of the registered pictures: int64, int64, float32."""

    samples: np.ndarray
    registered: np.ndarray
    distance: np.ndarray


def dihedral(code: bytes) -> list[bytes]:
    """Return the PDQ hashes of a picture's eight flips and turns, from the 32 bytes of one of them; itself first.

    The bits are the signs of 16 x 16 DCT coefficients around their median: a turn transposes them, a flip negates
    every second row or column. The median moves a little, so that derived hashes differ by up to 10 bits from
    computed ones (measured); `filters.scorers.pdq.dihedral_hashes` computes them from the picture.
    """
    bits = np.unpackbits(np.frombuffer(code, dtype=np.uint8)).reshape(16, 16)
    odd = (np.arange(16) % 2).astype(np.uint8)
    turned = []
    for transpose, rows, cols in product((0, 1), repeat=3):
        variant = (bits.T if transpose else bits) ^ (odd[:, None] * rows) ^ (odd[None, :] * cols)
        turned.append(np.packbits(variant).tobytes())
    return turned


@dataclass(frozen=True)
class PdqIndex:
    """Hashes of registered pictures, uint8 (n, 32), and the row of the picture that each belongs to, int64 (n,).

    The search is exact: about 1 ms a sample and million hashes on one core.
    """

    codes: np.ndarray
    owners: np.ndarray

    @classmethod
    def of(cls, pictures: Sequence[bytes]) -> PdqIndex:
        """Build the index from the hashes of each picture: 32 bytes, or those of all its variants in one."""
        owners = np.repeat(np.arange(len(pictures), dtype=np.int64), [len(codes) // 32 for codes in pictures])
        return cls(np.frombuffer(b"".join(pictures), dtype=np.uint8).reshape(-1, 32), owners)

    def search(self, codes: np.ndarray, usable: np.ndarray, radius: int = PDQ_DISTANCE) -> Likeness:
        """Return the pairs within `radius` bits, the nearest variant of each picture.

        `codes` uint8 (m, 32); `usable` bool (m,) marks rows whose quality is high enough.
        """
        rows = np.flatnonzero(usable)
        if len(rows) == 0 or len(self.codes) == 0:
            return _none()
        import faiss  # slow to import, and most registries hold no pictures

        index = faiss.IndexBinaryFlat(_BITS)
        index.add(np.ascontiguousarray(self.codes))
        queries, owners, distances = [], [], []
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            # faiss compares strictly (distance < radius), hence + 1
            limits, found, labels = index.range_search(np.ascontiguousarray(codes[block]), radius + 1)
            counts: np.ndarray = np.diff(limits.astype(np.int64))
            queries.append(np.repeat(block, counts))
            owners.append(self.owners[labels])
            distances.append(found.astype(np.float32))
        return _nearest(np.concatenate(queries), np.concatenate(owners), np.concatenate(distances))


@dataclass(frozen=True)
class EmbeddingIndex:
    """Unit vectors of registered pictures, float32 (n, d), all by one encoder."""

    vectors: np.ndarray

    def search(self, vectors: np.ndarray, usable: np.ndarray, bound: float) -> Likeness:
        """Return the pairs whose cosine is at least `bound`; `distance` holds the cosine.

        `vectors` (m, d) of any float type and length; rows that are not `usable`, zero or not finite match nothing.
        """
        if len(self.vectors) == 0:
            return _none()
        queries, owners, cosines = [], [], []
        rows = np.flatnonzero(usable)
        step = max(1, min(_BLOCK, _MAX_PAIRS // len(self.vectors)))
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            some = vectors[block].astype(np.float32)
            lengths = np.linalg.norm(some, axis=1)
            good = np.isfinite(lengths) & (lengths > 0)
            some = some[good] / lengths[good][:, None]
            found = some @ self.vectors.T
            at, owner = np.nonzero(found >= np.float32(bound))
            queries.append(block[good][at])
            owners.append(owner)
            cosines.append(found[at, owner])
        if not queries:
            return _none()
        return Likeness(np.concatenate(queries), np.concatenate(owners), np.concatenate(cosines).astype(np.float32))


def _none() -> Likeness:
    return Likeness(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


def _nearest(samples: np.ndarray, registered: np.ndarray, distance: np.ndarray) -> Likeness:
    """Keep the nearest of the pairs of the same sample and picture."""
    order = np.lexsort([distance, registered, samples])
    samples, registered, distance = samples[order], registered[order], distance[order]
    first = np.ones(len(samples), dtype=bool)
    first[1:] = (np.diff(samples) != 0) | (np.diff(registered) != 0)
    return Likeness(samples[first].astype(np.int64), registered[first].astype(np.int64), distance[first])
