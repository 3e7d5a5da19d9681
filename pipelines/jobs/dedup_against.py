"""Decontamination: samples whose picture is also in another set, by hashes and embeddings of that set alone.

A set is a run (of a dataset, its kept samples) or a parquet file with some of the columns sha256 and pdq (bytes or
hex), phash (64-bit number or hex), pixels and colours (bytes), image (fixed-size list of floats), uid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.duplicates import METHODS, firsts
from filters.duplicates_hamming import bands, between
from filters.duplicates_turns import ITSELF, TURNS, turned
from filters.errors import BadInput
from filters.semantic import near_across, usable
from pipelines.jobs.dedup_columns import (
    Hashes,
    hashes_of,
    part_vectors,
    run_hashes,
    run_vectors,
    vectors_of,
)
from pipelines.run.directory import RECIPE, Run, open_run
from pipelines.run.parquet_stream import parquet_of
from pipelines.run.recipe_duplicates import Duplicates
from pipelines.run.schema import CONTAMINATION
from pipelines.run.steady import StoreRefused
from pipelines.run.storage import Store, sha256_stream
from pipelines.sources.listing import opened_file

CONTAMINATION_FILE = "duplicates/contamination.parquet"

_COLUMNS = ("uid", "sha256", "pixels", "phash", "pdq", "pdq_quality", "colours", "image")


@dataclass(frozen=True)
class OtherSet:
    """Hashes, names and (where asked for) embeddings of a set; all have the same rows. `encoder`: its model id."""

    hashes: Hashes
    names: list[str]
    vectors: np.ndarray | None
    encoder: str | None


@dataclass
class _Nearest:
    """The nearest sample of one set for each row of the run, by the first method that finds one."""

    other: np.ndarray
    method: np.ndarray
    distance: np.ndarray

    def take(self, rows: np.ndarray, others: np.ndarray, distances: np.ndarray, method: str) -> None:
        """Enter pairs found by one method; of several for a row, the nearest, then the first of the set."""
        order = np.lexsort([others, distances, rows])
        rows, others, distances = rows[order], others[order], distances[order]
        first = np.concatenate([[True], np.diff(rows) != 0]) if len(rows) else np.empty(0, dtype=bool)
        rows, others, distances = rows[first], others[first], distances[first]
        new = self.other[rows] < 0
        self.other[rows[new]] = others[new]
        self.method[rows[new]] = METHODS.index(method)
        self.distance[rows[new]] = distances[new]


def against_state(places: Sequence[str]) -> list[object]:
    """Return what the sets hold, as hashes. Raises `BadInput` where one cannot be read."""
    state: list[object] = []
    for place in places:
        if _is_run(place):
            run = open_run(place)
            parts = [(run.marker("scores", i).files, i) for i in run.parts("scores")]
            state.append([sorted((name, r.sha256) for name, r in files.items()) for files, _ in parts])
            state.append([run.marker("ledger", i).facts.get("content") for i in run.parts("ledger")])
        else:
            try:
                with opened_file(place) as stream:
                    state.append(sha256_stream(stream))
            except (OSError, ValueError, ImportError) as error:
                raise BadInput(f"duplicates.against: {place}: no run and no file that can be read ({error})") from None
    return state


def contamination(run: Run, parts: Sequence[int], hashes: Hashes) -> pa.Table:
    """Compare the run with every set of `duplicates.against`. Raises `BadInput`."""
    settings = run.recipe.duplicates
    found: list[pa.Table] = []
    for number, place in enumerate(settings.against if settings else []):
        assert settings is not None
        other = read_set(place, settings.cosine is not None)
        nearest = _compared(run, parts, hashes, other, settings, place)
        rows = np.flatnonzero(nearest.other >= 0)
        arrays = [
            pa.array(rows, pa.int64()),
            pa.array(np.full(len(rows), number), pa.int32()),
            pa.array([other.names[row] for row in nearest.other[rows]], pa.string()),
            pa.DictionaryArray.from_arrays(pa.array(nearest.method[rows]), pa.array(METHODS)),
            pa.array(nearest.distance[rows]),
        ]
        found.append(pa.Table.from_arrays(arrays, schema=CONTAMINATION))
    return pa.concat_tables(found) if found else CONTAMINATION.empty_table()


def read_set(place: str, embeddings: bool) -> OtherSet:
    """Read a run or a parquet file. Raises `BadInput` where it is neither, or has nothing to compare."""
    return _run_set(open_run(place), embeddings) if _is_run(place) else _file_set(place, embeddings)


def _is_run(place: str) -> bool:
    try:
        return Store(place).exists(RECIPE)
    except (OSError, StoreRefused):
        return False


def _run_set(run: Run, embeddings: bool) -> OtherSet:
    parts = run.parts("scores")
    if not parts:
        raise BadInput(f"duplicates.against: {run.store.url}: the run has no scores yet")
    kept = np.ones(sum(run.marker("scores", i).rows for i in parts), dtype=bool)
    if run.parts("ledger") == parts:
        decisions = [run.table("ledger", i, ["decision"]).column("decision").cast(pa.string()) for i in parts]
        kept = np.concatenate([pc.equal(column, "kept").to_numpy() for column in decisions])
    rows = np.flatnonzero(kept)
    names = [uid for i in parts for uid in run.table("samples", i, ["uid"]).column("uid").to_pylist()]
    models: dict[str, str] = run.marker("scores", parts[0]).facts["models"]
    vectors = run_vectors(run, parts)[rows] if embeddings else None
    return OtherSet(
        run_hashes(run, parts).taken(rows), [names[row] for row in rows], vectors, models.get("similarity")
    )


def _file_set(place: str, embeddings: bool) -> OtherSet:
    try:
        with opened_file(place) as stream:
            file = parquet_of(stream)
            wanted = [name for name in _COLUMNS if name in file.schema_arrow.names]
            table = file.read(columns=wanted, use_threads=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(f"duplicates.against: {place}: neither a run nor readable parquet ({reason})") from None
    if not set(table.column_names) & {"sha256", "pixels", "phash", "pdq", "image"}:
        raise BadInput(f"duplicates.against: {place}: has none of the columns sha256, pixels, phash, pdq, image")
    names = [str(number) for number in range(table.num_rows)]
    if "uid" in table.column_names:
        names = [str(uid) for uid in table.column("uid").to_pylist()]
    vectors = encoder = None
    try:
        hashes = hashes_of(table)
        if embeddings and "image" in table.column_names:
            vectors = vectors_of(table.column("image"))
            metadata = table.schema.field("image").metadata or {}
            encoder = metadata[b"model"].decode() if b"model" in metadata else None
    except BadInput as error:
        raise BadInput(f"duplicates.against: {place}: {error}") from None
    return OtherSet(hashes, names, vectors, encoder)


def _compared(
    run: Run, parts: Sequence[int], hashes: Hashes, other: OtherSet, settings: Duplicates, place: str
) -> _Nearest:
    count = len(hashes)
    found = _Nearest(np.full(count, -1, np.int64), np.zeros(count, np.int8), np.zeros(count, np.float32))
    if settings.exact:
        for method in ("sha256", "pixels"):
            found.take(*_equal(hashes, other.hashes, method), method)
    for method, radius in (("phash", settings.phash_distance), ("pdq", settings.pdq_distance)):
        if radius is not None:
            found.take(*_within(hashes, other.hashes, method, radius, settings.colour_distance), method)
    if settings.pdq_distance is not None and settings.dihedral:
        radius, colour = settings.pdq_distance, settings.colour_distance
        found.take(*_within(hashes, other.hashes, "pdq_dihedral", radius, colour), "pdq_dihedral")
    if settings.cosine is not None and other.vectors is not None:
        own: dict[str, str] = run.marker("scores", parts[0]).facts["models"]
        if other.encoder is not None and other.encoder != own.get("similarity"):
            raise BadInput(
                f"duplicates.against: {place}: its embeddings are of {other.encoder}, the run's of "
                f"{own.get('similarity')}; set duplicates.cosine to null, or embed the set with the run's encoder"
            )
        found.take(*_alike(run, parts, other.vectors, settings.cosine, place), "embedding")
    return found


_Found = tuple[np.ndarray, np.ndarray, np.ndarray]


def _equal(hashes: Hashes, others: Hashes, method: str) -> _Found:
    (words, valid), (there, known) = hashes.of(method), others.of(method)
    first = firsts(np.concatenate([there, words]), np.concatenate([known, valid]))[len(there) :]
    rows = np.flatnonzero((first >= 0) & (first < len(there)))
    return rows, first[rows], np.zeros(len(rows), dtype=np.float32)


def _within(hashes: Hashes, others: Hashes, method: str, radius: int, colour: float | None) -> _Found:
    mine, there = hashes.codes(method, colour), others.codes(method, colour)
    pairs = []
    for turn in TURNS[1:] if method == "pdq_dihedral" else (ITSELF,):
        asked = turned(mine.codes, turn)
        accept = mine.agreeing(there, turn)
        pairs += [between(asked, there.codes, radius, band, accept) for band in bands(there.codes, radius)]
    rows = np.concatenate([mine.rows[p.a] for p in pairs] or [np.empty(0, np.int64)])
    found = np.concatenate([there.rows[p.b] for p in pairs] or [np.empty(0, np.int64)])
    distances = np.concatenate([p.distance for p in pairs] or [np.empty(0, np.int16)]).astype(np.float32)
    # what is true of a first row is true of all with the same hash
    stars = mine.stars
    order = np.argsort(rows, kind="stable")
    begin, end = (np.searchsorted(rows[order], stars.a, side=side) for side in ("left", "right"))
    sizes = end - begin
    copies = order[np.repeat(begin - (np.cumsum(sizes) - sizes), sizes) + np.arange(int(sizes.sum()))]
    rows = np.concatenate([rows, np.repeat(stars.b, sizes)])
    return rows, np.concatenate([found, found[copies]]), np.concatenate([distances, distances[copies]])


def _alike(run: Run, parts: Sequence[int], vectors: np.ndarray, cosine: float, place: str) -> _Found:
    base = np.flatnonzero(usable(vectors))
    found = list(_alike_parts(run, parts, vectors[base], cosine, place))
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    rows, others, distances = (np.concatenate([part[i] for part in found]) for i in range(3))
    return rows, base[others], distances


def _alike_parts(run: Run, parts: Sequence[int], base: np.ndarray, cosine: float, place: str) -> Iterator[_Found]:
    start = 0
    for index in parts:
        own = part_vectors(run, index)
        if own is not None and len(base):
            if own.shape[1] != base.shape[1]:
                raise BadInput(
                    f"duplicates.against: {place}: embeddings of length {base.shape[1]}, the run's of {own.shape[1]}"
                )
            rows = np.flatnonzero(usable(own))
            for a, b, distance in near_across(own[rows], base, cosine):
                yield start + rows[a], b, distance
        start += run.marker("scores", index).rows
