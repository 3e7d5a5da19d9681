"""Balance: the kept samples become shards, original bytes untouched, each with a parquet sidecar.

Which samples are kept stands in the ledger; this job only writes them. Shards are filled in the order
of the run, so each one reads one or a few input shards from front to back.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from filters.errors import AssayError, BadInput
from pipelines.engine import Engine, run_parts
from pipelines.jobs.reread import known_hashes, same_records
from pipelines.progress import Meter, announce, shown
from pipelines.run.directory import Run
from pipelines.run.manifest import INDEX
from pipelines.run.parts import PartWriter, fingerprint, finished, marked, part_name, read_marker
from pipelines.run.schema import SCORES_HEAD, sidecar_schema
from pipelines.sources.base import ShardRef
from pipelines.sources.registry import make_source

VERSION = "1"

_SUFFIXES = {"jpeg": "jpg", "mpo": "jpg", "tiff": "tif"}
#: What stands in a shard's KEY.json, beside the caption in KEY.txt.
_JSON = ("uid", "url", "page_url", "creator", "licence", "folder", "width", "height", "format", "sha256", "metadata")


def shard_name(index: int, suffix: str = "") -> str:
    """Return the name of an output shard, e.g. `shards/shard-00007.tar` for suffix `.tar`."""
    return f"shards/shard-{index:05d}{suffix}"


@dataclass(frozen=True)
class Span:
    """Kept samples number `start` to `stop` (exclusive) of one part."""

    part: int
    start: int
    stop: int


def plan(kept: dict[int, int], size: int) -> list[list[Span]]:
    """Cut the run's kept samples (number a part) into shards of `size`, in order."""
    shards: list[list[Span]] = []
    room = 0
    for part, total in sorted(kept.items()):
        start = 0
        while start < total:
            if room == 0:
                shards.append([])
                room = size
            taken = min(room, total - start)
            shards[-1].append(Span(part, start, start + taken))
            start += taken
            room -= taken
    return shards


@dataclass(frozen=True)
class WriteShards:
    """Writes one output shard and its sidecar."""

    run_dir: Run
    shards: tuple[ShardRef, ...]
    spans: tuple[tuple[Span, ...], ...]

    def load(self) -> None:
        """Nothing to load."""

    def run(self, index: int) -> None:
        """Write output shard `index`."""
        store, wanted = self.run_dir.store, self.wanted(index)
        if finished(store, shard_name(index), wanted):
            return
        meter = Meter(store, "balance", index)
        writer = PartWriter(store, shard_name(index), wanted)
        tables = []
        with store.create(shard_name(index, ".tar")) as path:
            with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
                for span in self.spans[index]:
                    tables.append(self._copy(span, archive, meter))
            writer.add_file(shard_name(index, ".tar"), path)
        table = pa.concat_tables(tables)
        writer.add_table(shard_name(index, ".parquet"), table)
        writer.commit(table.num_rows)
        meter.flush()

    def _copy(self, span: Span, archive: tarfile.TarFile, meter: Meter) -> pa.Table:
        """Copy one span's pictures into the archive; return its rows of the sidecar."""
        samples = self.run_dir.table("samples", span.part)
        ledger = self.run_dir.table("ledger", span.part, ["decision"])
        kept = pc.indices_nonzero(pc.equal(ledger.column("decision").cast(pa.string()), "kept"))
        chosen = kept.slice(span.start, span.stop - span.start)
        rows = dict(zip(chosen.to_pylist(), samples.take(chosen).to_pylist(), strict=True))
        hashes = known_hashes(samples)
        for position, record in enumerate(same_records(self.run_dir.recipe, self.shards[span.part], hashes, meter)):
            if position in rows and record.image is not None:
                with meter.time("write"):
                    add_sample(archive, rows[position], record.image)
                meter.count()
        return sidecar_rows(self.run_dir, span.part, chosen)

    def wanted(self, index: int) -> str:
        """Return the fingerprint of output shard `index`."""
        markers = {s.part: self.run_dir.marker("ledger", s.part) for s in self.spans[index]}
        contents = [self.run_dir.marker("samples", s.part).facts["content"] for s in self.spans[index]]
        files = [sorted(r.sha256 for r in marker.files.values()) for marker in markers.values()]
        # the sidecar has their columns; a part that was scored anew may have left the ledger as it was
        scores = [self.run_dir.marker("scores", part).files[part_name("scores", part)].sha256 for part in markers]
        return fingerprint("balance", VERSION, [str(s) for s in self.spans[index]], files, contents, scores)


def sidecar_rows(run: Run, part: int, chosen: pa.Array) -> pa.Table:
    """Return the sidecar rows of the samples at rows `chosen` of one part: head and score columns."""
    samples = run.table("samples", part, ["uid", "sha256", "caption"])
    weight = run.table("ledger", part, ["weight"]).column("weight")
    scores = run.table("scores", part)
    names = [n for n in scores.column_names if n not in {field.name for field in SCORES_HEAD}]
    uids = samples.column("uid")
    head = [uids, uids, weight, samples.column("sha256"), samples.column("caption")]
    schema = sidecar_schema([scores.schema.field(n) for n in names])
    return pa.Table.from_arrays([*head, *(scores.column(n) for n in names)], schema=schema).take(chosen)


def add_sample(archive: tarfile.TarFile, row: dict[str, Any], image: bytes) -> None:
    """Add the members of one sample: the picture's bytes, the caption, and what is known as JSON."""
    suffix = _SUFFIXES.get(row["format"], row["format"])
    body = {name: row[name] for name in _JSON if row[name] is not None}
    if "metadata" in body:
        body["metadata"] = json.loads(body["metadata"])
    text = json.dumps(body, sort_keys=True, ensure_ascii=False).encode("utf-8", "backslashreplace")
    for name, data in ((suffix, image), ("txt", row["caption"].encode()), ("json", text)):
        member = tarfile.TarInfo(f"{row['uid']}.{name}")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))


def balance(run: Run, engine: Engine) -> int:
    """Write all output shards; returns their number. Raises `AssayError` where a kept sample is missing."""
    parts = run.parts("ledger")
    if not parts or parts != run.parts("samples"):
        raise BadInput(f"{run.store.url}: not every part is decided; run assay decide first")
    kept = {i: run.marker("ledger", i).facts["kept"] for i in parts}
    spans = plan(kept, run.recipe.shards.samples)
    work = WriteShards(run, tuple(make_source(run.recipe.input, run.store).shards()), tuple(tuple(s) for s in spans))
    for stale in _written(run):
        if stale >= len(spans):
            for suffix in (".done.json", ".tar", ".parquet"):
                run.store.delete(shard_name(stale, suffix))
    pending = [i for i in range(len(spans)) if not finished(run.store, shard_name(i), work.wanted(i))]
    announce(run.store, "balance", len(spans))
    with shown(run.store, "balance", sum(kept.values())):
        run_parts(engine, "balance", work, pending)
    write_index(run)
    written = sum(rows for rows in shard_rows(run))
    if written != sum(kept.values()):
        raise AssayError(f"{run.store.url}: {sum(kept.values())} samples kept, {written} in shards; run assay balance")
    return len(spans)


def write_index(run: Run) -> None:
    """Write `shards/index.json`, the shard index that webdataset's `wids.ShardListDataset` reads as is."""
    shards = []
    for index in _written(run):
        marker = read_marker(run.store, shard_name(index))
        if marker:
            size = marker.files[shard_name(index, ".tar")].size
            shards.append({"url": f"shard-{index:05d}.tar", "nsamples": marker.rows, "filesize": size})
    body = {"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": run.recipe.name, "shardlist": shards}
    run.store.write(INDEX, json.dumps(body, indent=1).encode())


def shard_rows(run: Run) -> Iterator[int]:
    """Yield the number of samples of each output shard."""
    for index in _written(run):
        marker = read_marker(run.store, shard_name(index))
        if marker:
            yield marker.rows


def _written(run: Run) -> list[int]:
    return marked(run.store, "shards", "shard")
