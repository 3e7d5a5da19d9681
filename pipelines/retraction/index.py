"""Where a key occurs: address, domain, creator or hash to positions in the run, without reading the run.

Each file covers some consecutive parts and is sorted by the key's hash, so that a look-up reads only the row
groups whose statistics hold it. The index is made when the run is finished; it can always be made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from filters.optout.entries import Kind
from filters.optout.matching import KeyFinder
from pipelines.registry.samples import samples_to_match
from pipelines.run.directory import Run
from pipelines.run.parquet_stream import parquet_of
from pipelines.run.parts import PartWriter, fingerprint, finished, part_name
from pipelines.run.schema import KEYS, check_version

VERSION = "3"
ARTEFACT = "index"

#: Kinds of key that samples are looked up by.
KEY_KINDS = frozenset(
    {Kind.URL.value, Kind.URL_PREFIX.value, Kind.DOMAIN.value, Kind.CREATOR.value, Kind.SHA256.value}
)

#: Samples that one index file covers at least (bounds memory: about 10 keys of 16 bytes each); rows of a row group.
_SAMPLES = 1_000_000
_ROW_GROUP = 65_536


def build_index(run: Run) -> None:
    """Write the index files of a run whose samples are all there; those that are done stay."""
    starts, groups = _groups(run)
    for number, parts in enumerate(groups):
        name, wanted = part_name(ARTEFACT, number, ""), _wanted(run, parts)
        if finished(run.store, name, wanted):
            continue
        table = _sorted(run, parts, starts)
        writer = PartWriter(run.store, name, wanted)
        with run.store.create(part_name(ARTEFACT, number)) as path:
            pq.write_table(table, path, compression="zstd", row_group_size=_ROW_GROUP)
            writer.add_file(part_name(ARTEFACT, number), path)
        writer.commit(table.num_rows)


def find_positions(run: Run, keys: Iterable[str]) -> np.ndarray:
    """Return the positions (m,) int64, sorted, of samples that have one of `keys` (`kind:key`).

    A few positions may be wrong (equal hashes of other keys): whoever asks compares the samples themselves. Parts
    whose index is of an earlier version, or of other samples, are read: keys are made in another way since.
    """
    wanted = pa.array(sorted({key_hash(key) for key in keys}), pa.uint64())
    found = [np.empty(0, dtype=np.int64)]
    starts, groups = _groups(run)
    for number, parts in enumerate(groups):
        if finished(run.store, part_name(ARTEFACT, number, ""), _wanted(run, parts)):
            found += _in_file(run, part_name(ARTEFACT, number), wanted)
        else:
            found.append(_rows_of(_sorted(run, parts, starts), wanted))
    return np.unique(np.concatenate(found))


def _wanted(run: Run, parts: list[int]) -> str:
    return fingerprint("index", VERSION, [run.marker("samples", part).facts["content"] for part in parts])


def _rows_of(table: pa.Table, wanted: pa.Array) -> np.ndarray:
    rows = table.filter(pc.is_in(table.column("hash"), value_set=wanted))
    found: np.ndarray = rows.column("position").to_numpy()
    return found


def key_hash(key: str) -> int:
    """Return 64 bits of the key's BLAKE2b."""
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _groups(run: Run) -> tuple[dict[int, int], list[list[int]]]:
    """Return the first position of each part, and the parts that share an index file."""
    starts: dict[int, int] = {}
    groups: list[list[int]] = []
    position = room = 0
    for part in run.parts("samples"):
        starts[part] = position
        rows = run.marker("samples", part).rows
        if room <= 0:
            groups.append([])
            room = _SAMPLES
        groups[-1].append(part)
        position += rows
        room -= rows
    return starts, groups


def _sorted(run: Run, parts: list[int], starts: dict[int, int]) -> pa.Table:
    hashes, positions = [np.empty(0, dtype=np.uint64)], [np.empty(0, dtype=np.int64)]
    finder = KeyFinder(KEY_KINDS)
    for part in parts:
        found = finder.find(samples_to_match(run, part))
        hashes.append(np.array([key_hash(key.key) for key in found], dtype=np.uint64))
        positions.append(np.array([key.row for key in found], dtype=np.int64) + starts[part])
    both = np.concatenate(hashes), np.concatenate(positions)
    order = np.lexsort((both[1], both[0]))
    table = pa.Table.from_arrays([pa.array(column[order]) for column in both], schema=KEYS)
    return table


def _in_file(run: Run, name: str, wanted: pa.Array) -> Iterator[np.ndarray]:
    with run.store.open(name) as stream:
        file = parquet_of(stream)
        check_version(file.schema_arrow, name)
        values = wanted.to_numpy()
        for number in range(file.metadata.num_row_groups):
            bounds = file.metadata.row_group(number).column(0).statistics
            inside = np.searchsorted(values, [np.uint64(bounds.min), np.uint64(bounds.max)], side="left")
            if inside[0] == inside[1] and (inside[1] == len(values) or values[inside[1]] != np.uint64(bounds.max)):
                continue
            yield _rows_of(file.read_row_group(number, use_threads=False), wanted)
