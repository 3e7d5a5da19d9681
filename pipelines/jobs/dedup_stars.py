"""Connected components as Beam jobs, for more edges than one worker holds: alternating stars.

Edges stand in files, cut by node; a round reads them, groups them by node and writes them anew. What crosses a
shuffle are packed pairs of positions. Each round is a job of its own, so that its end can be tested.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from filters.duplicates import Edges
from filters.duplicates_stars import digest, directed, stepped
from filters.errors import AssayError
from pipelines.engine import PLAIN, Engine, load_beam, run_pipeline
from pipelines.run.directory import Run
from pipelines.run.storage import Store

_FOLDER = "duplicates/stars"
#: Edges that one file should hold (16 bytes each); a worker holds a few of them.
EDGES_A_FILE = 4_000_000
#: Rounds that no graph needs: log2 of the nodes, squared, is the proven bound.
_MAX_ROUNDS = 200


def clusters_by_stars(run: Run, engine: Engine, edges: Sequence[Edges], count: int, files: int = 0) -> np.ndarray:
    """Return what `filters.duplicates.cluster` returns, (count,) int64, computed by the engine's workers.

    `files`: how many files the edges are cut into; 0 chooses by their number.
    """
    total = sum(map(len, edges))
    files = files or max(1, -(-total // EDGES_A_FILE))
    _delete(run.store)
    known = _cut(run.store, edges, files)
    generation = 0
    for _ in range(_MAX_ROUNDS):
        for step in ("large", "large", "small"):
            _round(engine, _Step(run.store, step, generation, files))
            generation += 1
        now = sum(digest(found) for found in _files(run.store, generation, files)) % 2**64
        if now == known:
            break
        known = now
    else:
        raise AssayError(f"{run.store.url}: clusters did not settle; this is a defect, please report it")
    found = np.full(count, -1, dtype=np.int64)
    for stars in _files(run.store, generation, files):
        found[stars[:, 0]] = stars[:, 1]
        found[stars[:, 1]] = stars[:, 1]
    _delete(run.store)
    return found


def _name(generation: int, index: int) -> str:
    return f"{_FOLDER}/{generation:04d}-{index:05d}.npy"


def _cut(store: Store, edges: Sequence[Edges], files: int) -> int:
    """Write the edges, larger node first, by larger node; return their digest."""
    pairs = np.concatenate([np.stack([part.b, part.a], axis=1) for part in edges])
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    for index in range(files):
        _save(store, 0, index, pairs[pairs[:, 0] % files == index])
    return digest(pairs)


def _save(store: Store, generation: int, index: int, pairs: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, pairs, allow_pickle=False)
    store.write(_name(generation, index), buffer.getvalue())


def _load(store: Store, generation: int, index: int) -> np.ndarray:
    found: np.ndarray = np.load(io.BytesIO(store.read(_name(generation, index))), allow_pickle=False)
    return found


def _files(store: Store, generation: int, files: int) -> Iterator[np.ndarray]:
    return (_load(store, generation, index) for index in range(files))


def _delete(store: Store) -> None:
    for name in store.list(_FOLDER):
        store.delete(name)


@dataclass(frozen=True)
class _Step:
    """One step: reads the files of a generation, writes those of the next; a step that runs twice does no harm."""

    store: Store
    step: str
    generation: int
    files: int

    def spread(self, index: int) -> Iterator[tuple[int, bytes]]:
        """Yield (group of nodes, packed rows of node and neighbour) for the edges of one file."""
        rows = directed(_load(self.store, self.generation, index), self.step)
        for group in range(self.files):
            some = rows[rows[:, 0] % self.files == group]
            if len(some):
                yield group, some.tobytes()

    def turn(self, packed: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
        """Yield (file, packed edges) that the step makes of one group of nodes."""
        rows = np.concatenate([np.frombuffer(some, dtype=np.int64).reshape(-1, 2) for some in packed])
        edges = stepped(rows, self.step)
        for index in range(self.files):
            some = edges[edges[:, 0] % self.files == index]
            if len(some):
                yield index, some.tobytes()

    def write(self, index: int, packed: Iterable[bytes]) -> None:
        """Write one file of the next generation, each edge once."""
        rows = [np.frombuffer(some, dtype=np.int64).reshape(-1, 2) for some in packed]
        _save(
            self.store,
            self.generation + 1,
            index,
            np.unique(np.concatenate([*rows, np.empty((0, 2), np.int64)]), axis=0),
        )


def _round(engine: Engine, work: _Step) -> None:
    if engine.runner == PLAIN:
        _plain_round(work)
    else:
        _beam_round(engine, work)
    for index in range(work.files):
        work.store.delete(_name(work.generation, index))


def _plain_round(work: _Step) -> None:
    groups: dict[int, list[bytes]] = {}
    for index in range(work.files):
        for group, packed in work.spread(index):
            groups.setdefault(group, []).append(packed)
    new: dict[int, list[bytes]] = {index: [] for index in range(work.files)}
    for group in sorted(groups):
        for index, packed in work.turn(groups[group]):
            new[index].append(packed)
    for index in range(work.files):
        work.write(index, new[index])


def _beam_round(engine: Engine, work: _Step) -> None:
    beam = load_beam()

    def build(pipeline: Any) -> None:
        # an empty piece for each file, so that files without edges are written too
        none = pipeline | "files" >> beam.Create([(index, b"") for index in range(work.files)])
        found = (
            pipeline
            | "indices" >> beam.Create(range(work.files))
            | "spread" >> beam.Reshuffle()
            | "by node" >> beam.FlatMap(work.spread)
            | "nodes" >> beam.GroupByKey()
            | "step" >> beam.FlatMap(lambda item: work.turn(item[1]))
        )
        _ = (
            (found, none)
            | "all files" >> beam.Flatten()
            | "files again" >> beam.GroupByKey()
            | "write" >> beam.Map(lambda item: work.write(item[0], item[1]))
        )

    run_pipeline(engine, f"stars-{work.generation}", build)
