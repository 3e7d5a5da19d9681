"""Parts and their done-markers: what makes every job resumable.

A part is written first, its marker last. The marker holds the part's fingerprint (what it was made from
and by which code), so that a part is redone exactly when something that it depends on has changed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from filters.errors import BadInput
from pipelines.run.parquet_stream import parquet_of
from pipelines.run.schema import check_version
from pipelines.run.storage import Store, sha256_file


@dataclass(frozen=True)
class FileRecord:
    """One finished file: its size in bytes and SHA-256."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Marker:
    """A finished part: rows, files by name, fingerprint, and facts that the manifest or status reads."""

    rows: int
    files: dict[str, FileRecord]
    fingerprint: str
    facts: dict[str, Any] = field(default_factory=dict)


def fingerprint(*things: object) -> str:
    """Return 32 hex digits over the JSON of `things`."""
    text = json.dumps(things, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def part_name(artefact: str, index: int, suffix: str = ".parquet") -> str:
    """Return the name of one part, e.g. `samples/part-00007.parquet`."""
    return f"{artefact}/part-{index:05d}{suffix}"


def read_marker(store: Store, name: str) -> Marker | None:
    """Return the marker of the part `name` (without suffix), None where there is none or it is unreadable."""
    data = store.find(f"{name}.done.json")
    if data is None:
        return None
    try:
        raw = json.loads(data)
        files = {path: FileRecord(**record) for path, record in raw["files"].items()}
        return Marker(raw["rows"], files, raw["fingerprint"], raw["facts"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def finished(store: Store, name: str, wanted: str) -> Marker | None:
    """Return the marker if the part is there, whole in size, and made from what `wanted` names."""
    marker = read_marker(store, name)
    if marker is None or marker.fingerprint != wanted:
        return None
    if any(store.size(path) != record.size for path, record in marker.files.items()):
        return None
    return marker


class PartWriter:
    """Collects the files of one part; `commit` writes the marker last."""

    def __init__(self, store: Store, name: str, wanted: str) -> None:
        self._store = store
        self._name = name
        self._wanted = wanted
        self._files: dict[str, FileRecord] = {}
        # a marker of an older state must not vouch for files that are about to change
        store.delete(f"{name}.done.json")

    def add_table(self, name: str, table: pa.Table) -> None:
        """Write one parquet file (zstd, the table's own schema metadata)."""
        with self._store.create(name) as path:
            # checksums, so that a flipped bit is an error for whoever reads, and never another number
            pq.write_table(table, path, compression="zstd", write_page_checksum=True)
            self._files[name] = FileRecord(path.stat().st_size, sha256_file(path))

    def add_file(self, name: str, path: Path) -> None:
        """Record a file that was written to `path` and is about to be published as `name`."""
        self._files[name] = FileRecord(path.stat().st_size, sha256_file(path))

    def keep(self, marker: Marker, name: str) -> None:
        """Keep a file of an earlier state of the part, if it had it."""
        if name in marker.files:
            self._files[name] = marker.files[name]

    def commit(self, rows: int, facts: Mapping[str, Any] | None = None) -> Marker:
        """Write the marker; from here on the part counts as done."""
        marker = Marker(rows, self._files, self._wanted, dict(facts or {}))
        body = json.dumps(asdict(marker), sort_keys=True, indent=1)
        self._store.write(f"{self._name}.done.json", body.encode())
        return marker


def read_table(store: Store, name: str, columns: list[str] | None = None) -> pa.Table:
    """Read one parquet file of the run, refusing unknown major versions. Raises `BadInput`."""
    with store.open(name) as stream:
        try:
            file = parquet_of(stream, checksums=True)
            check_version(file.schema_arrow, name)
            wanted = None if columns is None else [c for c in columns if c in file.schema_arrow.names]
            return file.read(columns=wanted, use_threads=False)
        except (pa.ArrowInvalid, OSError) as error:
            raise BadInput(f"{store.url}/{name}: unreadable parquet ({str(error).splitlines()[0]})") from None


def part_indices(store: Store, artefact: str) -> list[int]:
    """Return the indices of the parts of `artefact` that have a marker, sorted."""
    return marked(store, artefact, "part")


def marked(store: Store, folder: str, kind: str) -> list[int]:
    """Return the numbers of the markers `KIND-NUMBER.done.json` in a folder, sorted; other names are not ours."""
    ours = re.compile(rf"{kind}-([0-9]{{5,12}})\.done\.json")
    found = (ours.fullmatch(name.rsplit("/", 1)[-1]) for name in store.list(folder))
    return sorted(int(name[1]) for name in found if name)
