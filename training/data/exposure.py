"""Which samples a training has seen, and how often: the log that lies in every checkpoint.

One row a shard of a view, with a count for each of its samples. Most counts of an epoch are equal, so that the
compressed file has far less than a byte a sample; the uids stand once, in the views beside it.
"""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from filters.errors import BadInput, first_line
from pipelines.run.parquet_stream import parquet_of
from pipelines.run.schema import SCHEMA_VERSION, check_version
from pipelines.run.storage import Store
from training.data.mixing import uid_texts, uid_words
from training.data.view import View, load_view, view_file

if TYPE_CHECKING:  # who only reads logs needs no torch
    from training.data.batch import Batch

FILE = "exposure.parquet"

#: Where a run keeps what each checkpoint has seen of it.
FOLDER = "exposures"

EXPOSURE = pa.schema(
    [
        pa.field("view", pa.string(), nullable=False, metadata={"doc": "name of the view whose samples are counted"}),
        pa.field("shard", pa.string(), nullable=False, metadata={"doc": "shard of the dataset at that time"}),
        pa.field("total", pa.large_binary(), nullable=False, metadata={"doc": "uint32 a sample: since the start"}),
        pa.field("since", pa.large_binary(), nullable=False, metadata={"doc": "the same since the last checkpoint"}),
    ]
)


@dataclass
class Exposure:
    """Counts of one process, or of all where merged. `views` by name, in the order in which they were begun.

    Counts are uint32 (n,) by name of the view. `total` counts from the start of the training, `since`
    from the last checkpoint on.
    """

    views: dict[str, View] = field(default_factory=dict)
    total: dict[str, np.ndarray] = field(default_factory=dict)
    since: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, batch: Batch, view: View) -> None:
        """Count the samples of a batch that a step has been made with; `view` is the one that the batch names."""
        if view.name != batch.view:
            raise ValueError(f"the batch is of view {batch.view}, not {view.name}")
        self._know(view)
        for counts in (self.total, self.since):
            np.add.at(counts[view.name], batch.rows, np.uint32(1))

    def merge(self, others: list[Exposure]) -> None:
        """Add the counts that other processes have made since the last checkpoint."""
        for other in others:
            for name, counts in other.since.items():
                self._know(other.views[name])
                self.total[name] += counts
                self.since[name] += counts

    def interval(self) -> Exposure:
        """Return the counts since the last checkpoint alone: what one process hands to another to merge."""
        return Exposure(self.views, {}, self.since)

    def checkpointed(self) -> None:
        """Begin a new interval: the counts so far are in a checkpoint."""
        for counts in self.since.values():
            counts[:] = 0

    @property
    def contents(self) -> list[str]:
        """Return the content hashes of the dataset's versions that were trained on, the one begun last at the end.

        Each stage counts its epochs from 0, so that a view's `start` tells nothing of that. Logs from before the order
        was kept have their views by name.
        """
        return list(dict.fromkeys(view.content for view in self.views.values()))

    def forget(self) -> None:
        """Drop all counts: of a process whose counts another one has taken over."""
        self.views.clear()
        self.total.clear()
        self.since.clear()

    def counts(self) -> dict[str, int]:
        """Return how often each sample was seen, by uid; only of those that were."""
        found: dict[str, int] = {}
        for name, total in self.total.items():
            seen = np.flatnonzero(total)
            for uid, number in zip(uid_texts(self.views[name].words[seen]), total[seen].tolist(), strict=True):
                found[uid] = found.get(uid, 0) + number
        return found

    def of(self, uid: str) -> int:
        """Return how often one sample was seen."""
        word = uid_words([uid], "uid")[0]
        return sum(
            int(total[(self.views[name].words == word).all(axis=1)].sum(dtype=np.int64))
            for name, total in self.total.items()
        )

    def dump(self) -> bytes:
        """Return the log as a parquet file."""
        rows = []
        for name, total in sorted(self.total.items()):
            view = self.views[name]
            for number, shard in enumerate(view.shards):
                of_shard = view.shard == number
                columns = (total[of_shard], self.since[name][of_shard])
                rows.append((name, shard, *(counts.astype("<u4").tobytes() for counts in columns)))
        arrays = [pa.array([row[at] for row in rows], EXPOSURE.field(at).type) for at in range(4)]
        facts = {"views": {name: [self.views[name].url, self.views[name].content] for name in self.total}}
        metadata = {"artefact": "exposure", "schema_version": SCHEMA_VERSION, "exposure": json.dumps(facts)}
        buffer = io.BytesIO()
        table = pa.Table.from_arrays(arrays, schema=EXPOSURE.with_metadata(metadata))
        pq.write_table(table, buffer, compression="zstd")
        return buffer.getvalue()

    def save(self, folder: str | Path, training: str | Path | None = None, file: str = FILE) -> None:
        """Write the log and its views to a checkpoint's folder, or another one.

        `training`: the training's folder; on a local disk its views are linked instead of written again.
        """
        store = Store(str(folder))
        for name in sorted(self.total):
            _place_view(store, self.views[name], Path(training) if training is not None else None)
        store.write(file, self.dump())

    def _know(self, view: View) -> None:
        if view.name not in self.total:
            self.views[view.name] = view
            self.total[view.name] = np.zeros(len(view), dtype=np.uint32)
            self.since[view.name] = np.zeros(len(view), dtype=np.uint32)


def _place_view(store: Store, view: View, training: Path | None) -> None:
    name = view_file(view.name)
    if store.exists(name):
        return
    if training is not None and store.local and (training / name).exists():
        target = Path(store.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(training / name, target)
        except OSError:
            pass  # another file system, or one without links
        else:
            return
    view.save(store)


def load_exposure(folder: str | Path, file: str = FILE) -> Exposure:
    """Return the log of a checkpoint's folder. Raises `BadInput` where there is none, or it is not whole."""
    store = Store(str(folder))
    where = f"{store.url}/{file}"
    if not store.exists(file):
        raise BadInput(f"{where}: no such file; a checkpoint of this project has one")
    found = Exposure()
    try:
        parquet = parquet_of(io.BytesIO(store.read(file)))
        check_version(parquet.schema_arrow, where)
        table = parquet.read(use_threads=False)
        for name in json.loads(table.schema.metadata[b"exposure"])["views"]:
            path = f"{store.url}/{view_file(name)}"
            view = load_view(store.read(view_file(name)), path)
            if view.name != name:
                raise BadInput(f"{path}: holds the view {view.name}")
            found._know(view)
        for row in table.to_pylist():
            view = found.views[row["view"]]
            place = view.shard == view.shards.index(row["shard"])
            found.total[view.name][place] = np.frombuffer(row["total"], dtype="<u4")
            found.since[view.name][place] = np.frombuffer(row["since"], dtype="<u4")
    except (pa.ArrowInvalid, OSError, KeyError, ValueError, TypeError) as error:
        raise BadInput(f"{where}: not an exposure log ({first_line(error, 100)})") from None
    return found


def exposures(checkpoint: str | Path) -> dict[str, int]:
    """Return how often a checkpoint has seen each sample, by uid. Raises `BadInput`."""
    return load_exposure(checkpoint).counts()
