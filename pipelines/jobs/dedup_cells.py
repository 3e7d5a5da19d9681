"""The semantic search for more embeddings than one worker holds: cells as files, searched group by group.

First each part's vectors are written again, sorted by the cells that they go to; then each group of cells is read
from all these files and searched. Positions and distances are all that is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from filters.duplicates import Edges, equal_edges, firsts
from filters.semantic import (
    MAX_CELLS,
    NEAREST,
    Cells,
    by_cell,
    cell_edges,
    cells_for,
    nearest,
    signatures,
    train,
    unit,
    usable,
)
from pipelines.engine import Engine, run_parts
from pipelines.jobs.dedup_columns import part_vectors
from pipelines.jobs.dedup_search import WORK, edges_table, table_edges
from pipelines.run.directory import Run
from pipelines.run.parquet_stream import parquet_of
from pipelines.run.parts import PartWriter, finished, part_name, read_marker, read_table

FOLDERS = _PLACED, _FOUND = f"{WORK}-cells", f"{WORK}-found"
#: Vectors that the cells' centres are learnt from, at most.
_SAMPLE = 262_144


@dataclass(frozen=True)
class _Place:
    """Writes one part's vectors sorted by cell, one row group a group of cells."""

    run_dir: Run
    starts: tuple[int, ...]
    parts: tuple[int, ...]
    cells: Cells
    first: np.ndarray
    cosine: float
    groups: int
    state: str

    def load(self) -> None:
        """Nothing to load."""

    def run(self, index: int) -> None:
        """Write the placed vectors of the part number `index` of `parts`."""
        store, name = self.run_dir.store, part_name(_PLACED, index, "")
        if finished(store, name, self.state):
            return
        vectors = part_vectors(self.run_dir, self.parts[index])
        vectors = np.zeros((0, self.cells.centres.shape[1]), np.float16) if vectors is None else vectors
        here = np.arange(self.starts[index], self.starts[index] + len(vectors))
        rows = np.flatnonzero(self.first[here] == here)  # equal vectors are a star already
        places = nearest(vectors[rows], self.cells, self.cosine)
        order, starts = by_cell(places, len(self.cells))
        size = vectors.shape[1]
        vector = pa.list_(pa.float16(), size)
        schema = pa.schema([("position", pa.int64()), ("cell", pa.int32()), ("home", pa.bool_()), ("vector", vector)])
        writer = PartWriter(store, name, self.state)
        file = part_name(_PLACED, index)
        with store.create(file) as path:
            with pq.ParquetWriter(path, schema, compression="none") as parquet:
                for group in range(self.groups):
                    low, high = (_cell_bound(side, self.groups, len(self.cells)) for side in (group, group + 1))
                    some = order[starts[low] : starts[high]]
                    local, rank = np.divmod(some, places.shape[1])
                    flat = pa.array(vectors[rows[local]].reshape(-1))
                    arrays = [here[rows[local]], places.reshape(-1)[some], rank == 0]
                    columns = [pa.array(column) for column in arrays]
                    columns.append(pa.FixedSizeListArray.from_arrays(flat, size))
                    parquet.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=max(1, len(some)))
            writer.add_file(file, path)
        writer.commit(len(order))


def _cell_bound(group: int, groups: int, cells: int) -> int:
    return cells * group // groups


@dataclass(frozen=True)
class _Search:
    """Searches one group of cells over all parts."""

    run_dir: Run
    parts: tuple[int, ...]
    cosine: float
    groups: int
    state: str

    def load(self) -> None:
        """Nothing to load."""

    def run(self, index: int) -> None:
        """Write the edges of group `index`."""
        store, name = self.run_dir.store, part_name(_FOUND, index, "")
        if finished(store, name, self.state):
            return
        tables = []
        for part in range(len(self.parts)):
            with store.open(part_name(_PLACED, part)) as stream:
                file = parquet_of(stream)
                if index < file.num_row_groups:
                    tables.append(file.read_row_group(index, use_threads=False))
        table = pa.concat_tables(tables).combine_chunks()
        size = table.schema.field("vector").type.list_size
        vectors = table.column("vector").combine_chunks().flatten().to_numpy().reshape(-1, size)
        positions, home, cells = (table.column(name).to_numpy() for name in ("position", "home", "cell"))
        order = np.argsort(cells, kind="stable")
        found = []
        for members in np.split(order, np.flatnonzero(np.diff(cells[order])) + 1):
            found.append(("embedding", cell_edges(vectors[members], positions[members], home[members], self.cosine)))
        writer = PartWriter(store, name, self.state)
        writer.add_table(part_name(_FOUND, index), edges_table(found))
        writer.commit(sum(len(edges) for _, edges in found), {"thinned": any(edges.thinned for _, edges in found)})


@dataclass(frozen=True)
class CellSearch:
    """The whole search: places every part, searches every group of cells."""

    place: _Place
    search: _Search
    stars: Edges

    def run_all(self, engine: Engine) -> list[Edges]:
        """Return all edges; killed, the same call goes on where it was."""
        run, groups = self.search.run_dir, range(self.search.groups)
        run_parts(engine, "dedup-cells", self.place, range(len(self.place.parts)))
        run_parts(engine, "dedup-semantic", self.search, groups)
        found = []
        for group in groups:
            marker = read_marker(run.store, part_name(_FOUND, group, ""))
            thinned = bool(marker and marker.facts.get("thinned"))
            found.append(replace(table_edges(read_table(run.store, part_name(_FOUND, group))), thinned=thinned))
        return [self.stars, *found]


def cell_units(run: Run, parts: Sequence[int], cosine: float, state: str, limit: int) -> CellSearch | None:
    """Return the search over files; None where the vectors fit into `limit` bytes of one worker."""
    marks, sample, counts = [], [], []
    sizes = [run.marker("scores", index).rows for index in parts]
    width = next((v.shape[1] for v in (part_vectors(run, i) for i in parts[:1]) if v is not None), 0)
    if sum(sizes) * width * 2 <= limit:
        return None
    share = min(1.0, _SAMPLE / sum(sizes))
    for index, rows in zip(parts, sizes, strict=True):
        vectors = part_vectors(run, index)
        vectors = np.zeros((rows, width), np.float16) if vectors is None else vectors
        good = usable(vectors)
        marks.append(np.where(good[:, None], signatures(vectors), 0))
        counts.append(good)
        usables = np.flatnonzero(good)
        draw = np.random.default_rng(index).choice(usables, int(np.ceil(share * len(usables))), replace=False)
        sample.append(vectors[np.sort(draw)])
    valid, words = np.concatenate(counts), np.concatenate(marks)
    learnt = np.concatenate(sample)
    cells = max(1, min(MAX_CELLS, cells_for(int(valid.sum())), len(learnt) // 2))
    if cells == 1:
        return None
    groups = min(cells, max(1, -(-sum(sizes) * width * 2 * NEAREST // max(1, limit // 4))))
    starts = tuple(int(n) for n in np.concatenate([[0], np.cumsum(sizes)[:-1]]))
    place = _Place(run, starts, tuple(parts), train(unit(learnt), cells), firsts(words, valid), cosine, groups, state)
    return CellSearch(place, _Search(run, tuple(parts), cosine, groups, state), equal_edges(words, valid))
