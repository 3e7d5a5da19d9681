"""What a run is searched by: hashes and vectors of its pictures in two flat files, made once, outside the run.

Parquet keeps them compressed, part by part; a search reads all of them. So the first search of a run writes them side
by side, in the order of the run, into the folder of the indexes, and every search maps them into memory. A run whose
scores or embeddings change (a retraction takes both out) gets new files, and the old ones are deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from dashboards.web.catalogue import Opened
from dashboards.web.indexing import Part
from filters.optout.look_alike import MIN_QUALITY

#: Raised where the files change; files of another version are made again.
_VERSION = 1

#: 64-bit words of a picture's hashes: four of PDQ, one of pHash. 0 means that there is none.
WORDS = 5

#: Rows that one step of a scan takes: 12 MB as float32 of 384 dimensions.
_BLOCK = 8192


@dataclass(frozen=True)
class SearchFiles:
    """Hashes uint64 (n, 5) and vectors float16 (n, d) of a run, mapped; `vectors` is None where there are none."""

    hashes: np.ndarray
    vectors: np.ndarray | None

    def near(self, codes: list[bytes], bits: int) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and differing bits, both int64 (n,), of all PDQ hashes within `bits` of any of `codes`.

        The nearest stand first.
        """
        words = [np.frombuffer(code, dtype=np.uint64) for code in codes]
        return self._hamming(words, slice(0, 4), bits)

    def near_phash(self, code: int, bits: int) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and differing bits, as `near` does, of all pHash values within `bits` of `code`."""
        return self._hamming([np.array([code], dtype=np.uint64)], slice(4, 5), bits)

    @property
    def has_pdq(self) -> bool:
        """Tell whether any picture of the run has a PDQ hash that says something."""
        return any(bool(self.hashes[at : at + _BLOCK, :4].any()) for at in range(0, len(self.hashes), _BLOCK))

    def _hamming(self, words: list[np.ndarray], columns: slice, bits: int) -> tuple[np.ndarray, np.ndarray]:
        rows, distances = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for start in range(0, len(self.hashes), _BLOCK):
            block = np.ascontiguousarray(self.hashes[start : start + _BLOCK, columns])
            found = np.min([np.bitwise_count(block ^ word).sum(axis=1, dtype=np.int64) for word in words], axis=0)
            here = np.flatnonzero((found <= bits) & block.any(axis=1))
            rows.append(here + start)
            distances.append(found[here])
        places, values = np.concatenate(rows), np.concatenate(distances)
        order = np.lexsort([places, values])
        return places[order], values[order]

    def alike(
        self, vector: np.ndarray, most: int, threads: int = 1, but: np.ndarray | None = None
    ) -> list[tuple[int, float]]:
        """Return (position, cosine) of the `most` pictures nearest to a unit vector float32 (d,).

        `but` int64 (n,), sorted: positions that are left out.
        """
        vectors = self.vectors
        if vectors is None:
            return []
        query = np.asarray(vector, dtype=np.float32)
        known = np.empty(0, np.int64) if but is None else but

        def best(start: int) -> tuple[np.ndarray, np.ndarray]:
            block = np.asarray(vectors[start : start + _BLOCK], dtype=np.float32)
            cosines = block @ query
            low, high = np.searchsorted(known, [start, start + len(block)])
            cosines[known[low:high] - start] = -np.inf
            some = np.argpartition(-cosines, min(most, len(cosines)) - 1)[:most]
            some = some[(cosines[some] != 0) & (cosines[some] != -np.inf)]  # a picture without a vector has zeros
            return some + start, cosines[some]

        with ThreadPoolExecutor(max(1, threads)) as pool:
            found = list(pool.map(best, range(0, len(vectors), _BLOCK)))
        if not found:
            return []
        places, values = (np.concatenate([item[i] for item in found]) for i in range(2))
        order = np.lexsort([places, -values])[:most]
        return [(int(places[at]), float(min(1.0, values[at]))) for at in order]


def search_files(opened: Opened, cache: Path, lock: threading.Lock) -> SearchFiles:
    """Return the run's files, made now where they are not there yet; one request makes them, others wait."""
    mine = f"search-{_short(str(opened.place.path))}-"
    target = cache / f"{mine}{_short(_state(opened))}"
    with lock:
        if not target.is_dir():
            temporary = cache / f".tmp-{os.getpid()}-{secrets.token_hex(4)}"
            temporary.mkdir(mode=0o700)
            try:
                _write(opened, temporary)
                os.replace(temporary, target)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            for path in cache.glob(f"{mine}*"):
                if path != target:
                    shutil.rmtree(path, ignore_errors=True)
    rows = sum(part.rows for part in opened.parts)
    dimension = int(json.loads((target / "facts.json").read_text())["dimension"])
    hashes = _mapped(target / "hashes.u64", np.dtype(np.uint64), (rows, WORDS))
    vectors = _mapped(target / "vectors.f16", np.dtype(np.float16), (rows, dimension)) if dimension else None
    return SearchFiles(hashes, vectors)


def _mapped(path: Path, kind: np.dtype[np.generic], shape: tuple[int, int]) -> np.ndarray:
    return np.memmap(path, kind, "r", shape=shape) if shape[0] else np.zeros(shape, kind)


def _state(opened: Opened) -> str:
    """Return what the files are made from: parts with size and time of change."""
    found = []
    for artefact in ("scores", "embeddings"):
        for part in opened.parts:
            path = opened.file(artefact, part)
            facts = os.stat(path) if path else None
            found.append([artefact, part.index, part.rows, facts and [facts.st_size, facts.st_mtime_ns]])
    return json.dumps([_VERSION, found])


def _short(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()


def _write(opened: Opened, folder: Path) -> None:
    dimension = 0
    with (folder / "hashes.u64").open("xb") as stream:
        for part in opened.parts:
            stream.write(_hashes(opened, part).tobytes())
    if all(opened.file("embeddings", part) for part in opened.parts):
        with (folder / "vectors.f16").open("xb") as stream:
            for part in opened.parts:
                vectors = _vectors(opened, part)
                dimension = vectors.shape[1]
                stream.write(np.ascontiguousarray(vectors).tobytes())
    (folder / "facts.json").write_text(json.dumps({"dimension": dimension}))


def _hashes(opened: Opened, part: Part) -> np.ndarray:
    found = np.zeros((part.rows, WORDS), dtype=np.uint64)
    table = opened.run.table("scores", part.index, ["pdq", "pdq_quality", "phash"])
    fill: dict[str, Callable[[pa.Array], None]] = {"pdq": _into(found[:, :4]), "phash": _into(found[:, 4:])}
    for name, write in fill.items():
        if name in table.column_names:
            write(table.column(name).combine_chunks())
    if "pdq_quality" in table.column_names:
        quality = table.column("pdq_quality").to_numpy()
        # below this a hash says nothing: it would look like any other blank picture
        found[~(np.nan_to_num(quality.astype(np.float64), nan=-1) >= MIN_QUALITY), :4] = 0
    return found


def _into(place: np.ndarray) -> Callable[[pa.Array], None]:
    """Return a function that writes a column of 8 or 32 bytes a row into words uint64 (n, 1 or 4); nulls stay 0."""

    def write(column: pa.Array) -> None:
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        values = column.drop_null().buffers()[1]
        if valid.any() and values is not None:
            start = column.drop_null().offset * place.shape[1]
            words = np.frombuffer(values, dtype=np.uint64)[start : start + int(valid.sum()) * place.shape[1]]
            place[valid] = words.reshape(-1, place.shape[1])

    return write


def _vectors(opened: Opened, part: Part) -> np.ndarray:
    column = opened.run.table("embeddings", part.index, ["image"]).column("image").combine_chunks()
    dimension = column.type.list_size
    vectors: np.ndarray = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, dimension)
    return vectors.astype(np.float16, copy=False)
