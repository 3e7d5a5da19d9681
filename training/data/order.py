"""In which order samples are seen: a pure function of seed, epoch, shards, uids and weights.

The samples of one epoch after another form one stream. Each bucket collects its samples from the stream, and
whenever it has a batch, that is the next batch. What is left in the buckets when an epoch ends is carried into the
next one, so that no sample is dropped and no batch is short. All of it can be computed for any epoch on its own,
so that a cursor of three values is the whole state of the order.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from filters.errors import BadInput
from training.config_data import Data
from training.data.mixing import ORDER, PHASE, SHARDS, keys, uniform
from training.data.view import View


@dataclass(frozen=True)
class Cursor:
    """Where a training is: `position` batches of `epoch` are done; `view` is what the epoch's order is made from."""

    epoch: int = 0
    position: int = 0
    view: str = ""

    def state(self) -> dict[str, Any]:
        """Return the cursor as JSON values."""
        return asdict(self)


def read_cursor(state: dict[str, Any], where: str) -> Cursor:
    """Return the cursor of JSON values; `where` names their file. Raises `BadInput`."""
    try:
        cursor = Cursor(int(state["epoch"]), int(state["position"]), str(state["view"]))
        if min(cursor.epoch, cursor.position) < 0 or set(state) != {"epoch", "position", "view"}:
            raise ValueError
    except (KeyError, ValueError, TypeError):
        raise BadInput(f"{where}: not a position of the data loader; take another checkpoint") from None
    return cursor


@dataclass(frozen=True)
class Entries:
    """Places in the stream, arrays of one shape: row of the view, epoch that it stems from, which of its repeats."""

    rows: np.ndarray
    origin: np.ndarray
    repeat: np.ndarray

    def take(self, at: Any) -> Entries:
        """Return some of the places."""
        return Entries(self.rows[at], self.origin[at], self.repeat[at])

    def __len__(self) -> int:
        return len(self.rows)


def joined(pieces: list[Entries]) -> Entries:
    """Return the pieces one behind the other."""
    names = ("rows", "origin", "repeat")
    return Entries(*(np.concatenate([getattr(piece, name) for piece in pieces]) for name in names))


@dataclass(frozen=True)
class Plan:
    """The k batches of one epoch: `entries` of shape (k, batch), `bucket` int16 (k,)."""

    entries: Entries
    bucket: np.ndarray

    def __len__(self) -> int:
        return len(self.bucket)


def rates(view: View, config: Data) -> np.ndarray:
    """Return float64 (n,): how often each sample is seen an epoch; 1 on average."""
    if config.weighting == "loss":
        return np.ones(len(view))
    weight: np.ndarray = view.weight.astype(np.float64)
    found: np.ndarray = weight / weight.mean()
    return found


def seen_before(view: View, config: Data, epoch: int) -> np.ndarray:
    """Return int64 (n,): how often each sample is in the stream before `epoch`, counted from epoch 0.

    Systematic resampling along time (Kitagawa, JCGS 5(1), 1996, appendix): floor(epoch x rate + phase) with a phase
    of its own for each sample, so that the number is never one or more away from epoch x rate.
    """
    if config.weighting == "loss":
        return np.full(len(view), epoch, dtype=np.int64)
    phase = uniform(keys(view.words, PHASE, config.seed))
    times: np.ndarray = np.floor(epoch * rates(view, config) + phase).astype(np.int64)
    return times


def stream(view: View, config: Data, epoch: int) -> Entries:
    """Return the places of one epoch in their order."""
    times = seen_before(view, config, epoch + 1) - seen_before(view, config, epoch)
    rows = np.repeat(np.arange(len(view)), times)
    repeat = np.arange(len(rows)) - np.repeat(np.cumsum(times) - times, times)
    drawn = keys(view.words[rows], ORDER, config.seed, epoch, repeat)
    order = np.lexsort((drawn, _groups(view, config, epoch)[view.shard[rows]]))
    return Entries(rows[order], np.full(len(rows), epoch), repeat[order])


def _groups(view: View, config: Data, epoch: int) -> np.ndarray:
    """Return int64 (shards,): in which group of shards, shuffled together, each shard is read."""
    count = len(view.shards)
    if not config.shuffle_shards:
        return np.zeros(count, dtype=np.int64)
    numbers = np.stack([np.arange(count, dtype=np.uint64)] * 2, axis=1)
    order = np.argsort(keys(numbers, SHARDS, config.seed, epoch), kind="stable")
    groups = np.empty(count, dtype=np.int64)
    groups[order] = np.arange(count) // config.shuffle_shards
    return groups


def carried_into(view: View, config: Data, epoch: int) -> Entries:
    """Return the places that the epochs before `epoch` (from the view's first on) left in the buckets, in order."""
    first = view.carried
    start = Entries(first, np.full(len(first), view.start - 1), np.arange(len(first)))
    if epoch == view.start:
        return start
    count = len(view.sizes)
    between = seen_before(view, config, epoch) - seen_before(view, config, view.start)
    total = np.bincount(view.bucket, between, count) + np.bincount(view.bucket[first], minlength=count)
    left = total.astype(np.int64) % config.batch
    pieces: list[Entries] = []
    for earlier in range(epoch - 1, view.start - 2, -1):
        if not left.any():
            break
        entries = stream(view, config, earlier) if earlier >= view.start else start
        buckets = view.bucket[entries.rows]
        last = _from_end(buckets) < left[buckets]
        pieces.append(entries.take(last))
        left = left - np.bincount(buckets[last], minlength=count)
    return joined(pieces[::-1]) if pieces else start.take(slice(0, 0))


def _from_end(buckets: np.ndarray) -> np.ndarray:
    """Return int64: how many later places have the same bucket."""
    order = np.argsort(buckets, kind="stable")
    ends = np.searchsorted(buckets[order], buckets[order], side="right")
    found = np.empty(len(buckets), dtype=np.int64)
    found[order] = ends - 1 - np.arange(len(buckets))
    return found


def plan(view: View, config: Data, epoch: int) -> Plan:
    """Return the batches of an epoch, each of one bucket, in the order in which the buckets fill."""
    entries = joined([carried_into(view, config, epoch), stream(view, config, epoch)])
    buckets = view.bucket[entries.rows]
    full = _from_start(buckets) < (np.bincount(buckets, minlength=1) // config.batch * config.batch)[buckets]
    order = np.argsort(buckets, kind="stable")
    places = order[full[order]].reshape(-1, config.batch)
    places = places[np.argsort(places[:, -1], kind="stable")]
    return Plan(entries.take(places), buckets[places[:, 0]] if len(places) else np.empty(0, np.int16))


def _from_start(buckets: np.ndarray) -> np.ndarray:
    return _from_end(buckets[::-1])[::-1]


def leftover(view: View, config: Data, epoch: int) -> np.ndarray:
    """Return the uids uint64 (m, 2) that are in the buckets when `epoch` begins: what another view goes on with."""
    words: np.ndarray = view.words[carried_into(view, config, epoch).rows]
    return words
