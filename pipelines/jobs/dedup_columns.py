"""What the duplicate search reads of a run: hashes and embeddings, by position (rows of all parts in order)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa

from filters.duplicates import Codes, firsts
from filters.duplicates_colours import SIZE, UNKNOWN, coarse
from filters.duplicates_likeness import PDQ_QUALITY, Bounds, Features
from filters.errors import BadInput
from filters.semantic import usable
from pipelines.run.directory import Run
from pipelines.run.parts import part_name

#: Columns that pictures are compared by; each may be absent.
SAMPLE_COLUMNS = ("sha256",)
_SIZES = (("sha256", 32), ("pixels", 16), ("pdq", 32), ("colours", SIZE))
SCORE_COLUMNS = ("pixels", "phash", "pdq", "pdq_quality", "colours")


@dataclass(frozen=True)
class Hashes:
    """Hashes of n samples as words of 64 bits, and which rows have one.

    `sha256` and `pdq` uint64 (n, 4), `pixels` (n, 2), `phash` (n, 1). `colours`: coarse layouts int8 (n, 48), see
    `filters.duplicates_colours`.
    """

    sha256: np.ndarray
    has_sha256: np.ndarray
    pixels: np.ndarray
    has_pixels: np.ndarray
    phash: np.ndarray
    has_phash: np.ndarray
    pdq: np.ndarray
    has_pdq: np.ndarray
    colours: np.ndarray

    def __len__(self) -> int:
        return len(self.sha256)

    def of(self, method: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the words and the rows that have some, by method."""
        name = "pdq" if method == "pdq_dihedral" else method
        return getattr(self, name), getattr(self, f"has_{name}")

    def codes(self, method: str, colour: float | None) -> Codes:
        """Return the distinct hashes of a perceptual method, for a search of pairs whose colours agree within a bound.

        `colour` None, or a set without colours: pairs count whatever their colours.
        """
        if colour is None or (self.colours == UNKNOWN).all():
            return Codes.of(*self.of(method))
        return Codes.of(*self.of(method), self.colours, colour)

    def taken(self, rows: np.ndarray) -> Hashes:
        """Return the hashes of some rows."""
        return Hashes(*(getattr(self, one.name)[rows] for one in fields(self)))


def hashes_of(table: pa.Table) -> Hashes:
    """Return the hashes of a table's rows; null, and columns that it lacks, are no hash.

    Raises `BadInput` for every other value that is none: a hash that cannot be read would match nothing, in silence.
    """
    sha, pixels, pdq, colours = (_words(_values(table, name), size, name) for name, size in _SIZES)
    found = _values(table, "phash")
    phash = np.array([_number(value, row) for row, value in enumerate(found)], dtype=np.uint64).reshape(-1, 1)
    try:
        quality = np.array([value or 0 for value in _values(table, "pdq_quality")], dtype=np.int64)
    except (TypeError, ValueError, OverflowError):
        raise BadInput("the column pdq_quality must hold numbers") from None
    if "pdq_quality" not in table.column_names:
        quality[:] = PDQ_QUALITY  # a list of hashes without qualities: its maker has chosen them
    has_phash = np.array([value is not None for value in found], dtype=bool)
    layouts = coarse(colours[0].view(np.int8), colours[1])
    return Hashes(*sha, *pixels, phash, has_phash, pdq[0], pdq[1] & (quality >= PDQ_QUALITY), layouts)


def joined_hashes(parts: Sequence[Hashes]) -> Hashes:
    """Return several parts' hashes as one."""
    return Hashes(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(Hashes)))


def _values(table: pa.Table, name: str) -> list[object]:
    return table.column(name).to_pylist() if name in table.column_names else [None] * table.num_rows


def _bytes(value: object, size: int, name: str, row: int) -> bytes:
    """Return a hash that stands as bytes or in hex; null has no bytes. Raises `BadInput`."""
    if value is None:
        return b""
    found = value
    if isinstance(value, str):
        try:
            found = bytes.fromhex(value)
        except ValueError:
            found = None
    # hex digits as bytes: an MD5 in hex is as long as a SHA-256
    if not isinstance(found, bytes) or len(found) != size or (name == "sha256" and _HEX.fullmatch(found)):
        raise BadInput(
            f"column {name}, row {row}: {_shown(value)} is no hash of {size} bytes; give bytes, "
            f"or text of {2 * size} hex digits and nothing else, or null"
        )
    return found


_HEX = re.compile(rb"[0-9a-fA-F]+")


def _number(value: object, row: int) -> int:
    """Return a 64-bit hash that stands as a number or in hex, 0 for null. Raises `BadInput`."""
    if value is None:
        return 0
    found = value
    if isinstance(value, str):
        try:
            found = int(value, 16)
        except ValueError:
            found = None
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 1 << 64:
        raise BadInput(
            f"column phash, row {row}: {_shown(value)} is no 64-bit hash; give a whole number from 0, "
            "or text of 16 hex digits, or null"
        )
    return found


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _words(values: list[object], size: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return hashes of `size` bytes as words (n, size / 8), and which rows have one. Raises `BadInput`."""
    found = [_bytes(value, size, name, row) for row, value in enumerate(values)]
    has = np.array([len(value) == size for value in found], dtype=bool)
    packed = b"".join(value or bytes(size) for value in found)
    return np.frombuffer(packed, dtype=np.uint64).reshape(-1, size // 8), has


def run_hashes(run: Run, parts: Sequence[int]) -> Hashes:
    """Return the hashes of some parts of a run."""
    found = []
    for index in parts:
        samples = run.table("samples", index, list(SAMPLE_COLUMNS))
        scores = run.table("scores", index, list(SCORE_COLUMNS))
        for name in scores.column_names:
            samples = samples.append_column(scores.schema.field(name), scores.column(name))
        found.append(hashes_of(samples))
    return joined_hashes(found)


def vectors_of(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column of vectors (fixed-size list of a float type) as float16 (n, d). Raises `BadInput`."""
    flat = column.combine_chunks()
    if not pa.types.is_fixed_size_list(flat.type) or not pa.types.is_floating(flat.type.value_type):
        raise BadInput("a column of embeddings is a fixed-size list of floats")
    size, start = flat.type.list_size, flat.offset
    values = flat.values.slice(start * size, len(flat) * size)
    found: np.ndarray = values.to_numpy(zero_copy_only=False).astype(np.float16).reshape(-1, size)
    if flat.null_count:
        found = found.copy()
        found[flat.is_null().to_numpy(zero_copy_only=False)] = 0
    return found


def part_vectors(run: Run, index: int) -> np.ndarray | None:
    """Return one part's picture embeddings float16 (n, d); None where it has none."""
    name = part_name("embeddings", index)
    if name not in run.marker("scores", index).files:
        return None
    return vectors_of(run.table("embeddings", index, ["image"]).column("image"))


def run_vectors(run: Run, parts: Sequence[int]) -> np.ndarray:
    """Return the picture embeddings of some parts, float16 (n, d); zeros where a row has none."""
    found = [part_vectors(run, index) for index in parts]
    width = next((vectors.shape[1] for vectors in found if vectors is not None), 1)
    rows = [run.marker("scores", index).rows for index in parts]
    return np.concatenate(
        [np.zeros((n, width), np.float16) if v is None else v for v, n in zip(found, rows, strict=True)]
        or [np.zeros((0, width), np.float16)]
    )


def features_of(hashes: Hashes, vectors: np.ndarray | None, bounds: Bounds) -> Features:
    """Return what the choice compares n rows by; `vectors` (n, d) are read where the bounds ask for a cosine."""
    count = len(hashes)
    vector = np.full(count, -1, dtype=np.int64)
    if vectors is None or bounds.cosine is None:
        vectors = np.zeros((0, 1), dtype=np.float16)
    else:
        good = usable(vectors)
        vector[good] = np.flatnonzero(good)
    return Features(
        firsts(hashes.sha256, hashes.has_sha256),
        firsts(hashes.pixels, hashes.has_pixels),
        hashes.phash,
        hashes.has_phash,
        hashes.pdq,
        hashes.has_pdq,
        vectors,
        vector,
        hashes.colours,
    )
