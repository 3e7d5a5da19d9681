"""The units of the duplicate search: each reads hashes by itself and writes the edges that it finds.

Nothing crosses a shuffle: a unit's input is the run's columns of hashes, its output positions and distances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pyarrow as pa

from filters.duplicates import METHODS, Codes, Edges, Search, equal_edges, searches
from filters.duplicates_likeness import Bounds
from filters.duplicates_turns import ITSELF, TRIED
from filters.semantic import semantic_edges
from pipelines.jobs.dedup_columns import Hashes, run_hashes, run_vectors
from pipelines.run.directory import Run
from pipelines.run.parts import PartWriter, finished, part_name, read_marker, read_table
from pipelines.run.schema import EDGES

#: Where the units leave their edges until all are there.
WORK = "duplicates/work"


@dataclass(frozen=True)
class Source:
    """The parts that a search reads; two of one place with the same state are one for the caches."""

    run: Run = field(compare=False)
    place: str
    parts: tuple[int, ...]
    state: str


@dataclass(frozen=True)
class Unit:
    """One unit: a method, and the part of its search (None: the whole of it)."""

    method: str
    search: Search | None = None


@dataclass(frozen=True)
class SearchUnits:
    """Runs the units of one search; each writes one part of `WORK`. `since`: only pairs with a row from there on."""

    source: Source
    units: tuple[Unit, ...]
    bounds: Bounds
    since: int

    @property
    def run_dir(self) -> Run:
        """The run."""
        return self.source.run

    def load(self) -> None:
        """Nothing to load: the columns are read when a unit needs them, once a process."""

    def run(self, index: int) -> None:
        """Write unit `index` unless it is there."""
        store, name = self.source.run.store, part_name(WORK, index, "")
        if finished(store, name, self.source.state):
            return
        edges, thinned = self._found(self.units[index])
        writer = PartWriter(store, name, self.source.state)
        writer.add_table(part_name(WORK, index), edges_table([(self.units[index].method, edges)]))
        writer.commit(len(edges), {"thinned": thinned})

    def _found(self, unit: Unit) -> tuple[Edges, bool]:
        if unit.method == "embedding":
            vectors = run_vectors(self.source.run, self.source.parts)
            found = semantic_edges(vectors, float(self.bounds.cosine or 1), self.since)
            return found, found.thinned
        if unit.search is not None:
            codes = codes_of(self.source, unit.method, self.bounds.colour)
            return unit.search.run(codes, self.radius(unit.method))
        if unit.method in ("sha256", "pixels"):
            edges = equal_edges(*hashes(self.source).of(unit.method))
            late = edges.b >= self.since
            return Edges(edges.a[late], edges.b[late], edges.distance[late]), False
        # equal hashes; their distinct ones are searched by the other units
        return codes_of(self.source, unit.method, self.bounds.colour).star(self.since), False

    def radius(self, method: str) -> int:
        """Return the bits within which a method's hashes are duplicates."""
        found = self.bounds.phash if method == "phash" else self.bounds.pdq
        return found or 0


@lru_cache(maxsize=1)
def hashes(source: Source) -> Hashes:
    """Return the hashes of a source, kept for the process until `forget`."""
    return run_hashes(source.run, source.parts)


@lru_cache(maxsize=2)
def codes_of(source: Source, method: str, colour: float | None) -> Codes:
    """Return the distinct codes of a method, kept for the process until `forget`."""
    return hashes(source).codes(method, colour)


def forget() -> None:
    """Give back the memory of the columns."""
    hashes.cache_clear()
    codes_of.cache_clear()


def units_of(source: Source, bounds: Bounds, since: int, methods: Sequence[str] = METHODS) -> tuple[Unit, ...]:
    """Return the units of the search that the bounds ask for, of those methods that the run has columns for."""
    found: list[Unit] = []
    if bounds.exact:
        found += [Unit(name) for name in ("sha256", "pixels") if _some(source, name)]
    if bounds.phash is not None and _some(source, "phash"):
        found += [Unit("phash"), *_searches(source, "phash", bounds.phash, bounds, since)]
    if bounds.pdq is not None and _some(source, "pdq"):
        found += [Unit("pdq"), *_searches(source, "pdq", bounds.pdq, bounds, since)]
        if bounds.dihedral:
            found += _searches(source, "pdq_dihedral", bounds.pdq, bounds, since)
    if bounds.cosine is not None:
        found.append(Unit("embedding"))
    return tuple(unit for unit in found if unit.method in methods)


def _some(source: Source, method: str) -> bool:
    return bool(hashes(source).of(method)[1].any())


def _searches(source: Source, method: str, radius: int, bounds: Bounds, since: int) -> list[Unit]:
    turns = TRIED if method == "pdq_dihedral" else (ITSELF,)
    codes = codes_of(source, method, bounds.colour)
    return [Unit(method, search) for search in searches(codes, radius, since, turns)]


def edges_table(edges: Sequence[tuple[str, Edges]]) -> pa.Table:
    """Return edges by method as a table."""
    if not edges:
        return EDGES.empty_table()
    names = [method for method, _ in edges]
    codes = np.repeat(np.arange(len(edges)), [len(found) for _, found in edges]).astype(np.int8)
    arrays = [
        pa.array(np.concatenate([found.a for _, found in edges])),
        pa.array(np.concatenate([found.b for _, found in edges])),
        pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(names, pa.string())),
        pa.array(np.concatenate([found.distance for _, found in edges]).astype(np.float32)),
    ]
    return pa.Table.from_arrays(arrays, schema=EDGES)


def table_edges(table: pa.Table) -> Edges:
    """Return the rows of an edge table, whatever their method."""
    return Edges.of(*(table.column(name).to_numpy() for name in ("a", "b", "distance")))


def unit_edges(run: Run, index: int) -> tuple[Edges, bool]:
    """Return what unit `index` has written: its edges, and whether only some are left of them."""
    marker = read_marker(run.store, part_name(WORK, index, ""))
    thinned = bool(marker and marker.facts.get("thinned"))
    return table_edges(read_table(run.store, part_name(WORK, index))), thinned
