"""The data loader: batches in an order that depends on configuration and cursor alone.

Which samples a batch has is decided before anything is decoded; how many processes decode, and how many train,
changes nothing. A sample that is removed while the training is under way is in no batch from then on; the order of
the others stays.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from filters.errors import BadInput, TooManyFailures
from pipelines.run.storage import Store
from training.config_data import Data
from training.data.batch import Batch, Unreadable
from training.data.buckets import bucket_sizes
from training.data.decode import BYTES_CHANGED, FILE_UNREADABLE, NOT_CACHED, Outcome
from training.data.jobs import draws, jobs_of, make_decoder
from training.data.latents import Entry, LatentCache, stacked
from training.data.mixing import find_words, uid_texts, uid_words
from training.data.order import Cursor, Entries, leftover, plan, rates
from training.data.pool import Decoder
from training.data.samples import ShardSet, content_now, present
from training.data.view import View, load_view, order_digest, view_file

#: Reasons that a changed dataset gives as well as a broken one.
_MOVED = frozenset({BYTES_CHANGED, FILE_UNREADABLE, NOT_CACHED})


@dataclass(frozen=True)
class Caches:
    """What need not be computed for each batch anew: latents of pictures.

    Captions' vectors are not kept on the disk: at 37 kB a caption (24 tokens) they are larger than most pictures'
    latents, and the text encoder keeps those of the newest captions in memory (`text.cache_mb`). `fill` adds what a
    version of the dataset has and the caches have not; all processes call it together.
    """

    latents: LatentCache | None = None
    fill: Callable[[ShardSet], None] | None = None

    @property
    def all(self) -> list[LatentCache]:
        """Return those there are."""
        return [self.latents] if self.latents is not None else []


@dataclass
class _Scene:
    """A view beside the dataset as it is: the rows of the shards, and which samples may still be used."""

    view: View
    rows: np.ndarray
    there: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, view: View, shards: ShardSet, gone: np.ndarray, config: Data) -> _Scene:
        rows = shards.find(view.words)
        return cls(view, rows, (rows >= 0) & (find_words(gone, view.words) < 0), loss_weights(view, config))


@dataclass(frozen=True)
class _Ahead:
    """A batch under way: its samples over all processes, this one's share of them, and the number of its decoding."""

    scene: _Scene
    cursor: Cursor
    last: bool
    whole: Entries
    share: Entries
    bucket: int
    task: int | None


class Batches:
    """Iterates over batches without end, from a cursor on. One process's share: `rank` of `world`.

    `folder`: the training's folder, where views are kept (`views/`); without one, a training cannot be resumed once
    the dataset has changed. `agreed`: the version of the dataset that epochs are planned from, the same in all
    processes; `shards`: that one, or a newer one that this process has met. Close it, or use it in a `with` block.
    """

    def __init__(
        self,
        shards: ShardSet,
        config: Data,
        rank: int = 0,
        world: int = 1,
        cursor: Cursor | None = None,
        folder: Path | None = None,
        caches: Caches | None = None,
    ) -> None:
        """Open the position. Raises `BadInput` where it cannot be gone on from."""
        if not 0 <= rank < world <= config.batch:
            raise BadInput(f"data.batch ({config.batch}) must be at least the number of processes ({world})")
        self.config, self.rank, self.world = config, rank, world
        self.shards = self.agreed = shards
        self.caches = caches or Caches()
        if self.caches.latents is not None and (config.flip or config.crop == "random"):
            raise BadInput("cached latents are of whole, unmirrored pictures: set data.flip to 0, data.crop to centre")
        self.unreadable: dict[str, Unreadable] = {}
        self._store = Store(str(folder)) if folder else None
        self._sizes = bucket_sizes(config.buckets)
        self._gone = np.empty((0, 2), dtype=np.uint64)
        self._left: list[str] = []
        self._decoder: Decoder | None = None
        self._ahead: deque[_Ahead] = deque()
        view = self._open_view(cursor or Cursor())
        self._cursor = replace(cursor or Cursor(), view=view.name)
        self._given = _Scene.of(view, shards, self._gone, config)
        self._left += uid_texts(view.words[~self._given.there])
        self._turn(self._given, self._cursor)

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    @property
    def cursor(self) -> Cursor:
        """Return where to go on after the last batch that was given out."""
        return self._cursor

    @property
    def view(self) -> View:
        """Return the view that the last batch which was given out is of."""
        return self._given.view

    @property
    def processes(self) -> list[int]:
        """Return the ids of the decoding processes."""
        return self._decoder.processes if self._decoder is not None else []

    def close(self) -> None:
        """End the decoding processes."""
        self._ahead.clear()
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None

    def remove(self, uids: list[str]) -> None:
        """Take samples out of all batches from the next one on, those decoded ahead included."""
        self._gone = np.concatenate([self._gone, uid_words(uids, "removed samples")])
        for scene in [self._given, self._scene, *(ahead.scene for ahead in self._ahead)]:
            scene.there &= find_words(self._gone, scene.view.words) < 0

    def refresh(self, shards: ShardSet) -> None:
        """Go on with another version of the dataset; to be called by all processes at the same batch.

        What it has no longer is out from the next batch on; what it has in addition comes with the next epoch.
        """
        self.agreed = shards
        self._go_on_with(shards)

    def _go_on_with(self, shards: ShardSet) -> None:
        self.close()
        for cache in self.caches.all:
            cache.forget()
        self.shards = shards
        before = self._given
        self._given = _Scene.of(before.view, shards, self._gone, self.config)
        self._left += uid_texts(before.view.words[before.there & ~self._given.there])
        self._turn(self._given, self._cursor)

    def take_left(self) -> list[str]:
        """Return the uids of the epoch's view that the dataset has lost since the last call, for the record."""
        left, self._left = self._left, []
        return left

    def __iter__(self) -> Iterator[Batch]:
        """Yield batch after batch, also one of which no sample is left: other processes may have some of it.

        Raises `TooManyFailures` where more samples are unreadable than allowed.
        """
        while True:
            self._fill()
            ahead = self._ahead.popleft()
            batch = self._finished(ahead)
            if batch is not None:
                self._cursor, self._given = ahead.cursor, ahead.scene
                yield batch

    def _open_view(self, cursor: Cursor) -> View:
        """Return the view of the cursor's epoch."""
        none = np.empty((0, 2), dtype=np.uint64)
        if not cursor.view:
            return self._keep(View.of(self.shards, self.config, cursor.epoch, none))
        name = view_file(cursor.view)
        if self._store is not None and self._store.exists(name):
            view = load_view(self._store.read(name), f"{self._store.url}/{name}")
        else:
            start = cursor.view.partition("-")[0]
            view = View.of(self.shards, self.config, int(start) if start.isdigit() else 0, none)
        if view.name != cursor.view or view.order != order_digest(self.config):
            raise BadInput(
                f"{self.shards.url}: batch {cursor.position} of epoch {cursor.epoch} cannot be gone on from: the "
                f"dataset or the configuration of data is another one, or {name} is gone: start a new training"
            )
        return view

    def _keep(self, view: View) -> View:
        if self._store is not None and self.rank == 0:
            view.save(self._store)
        return view

    def _turn(self, scene: _Scene, cursor: Cursor) -> None:
        """Go to a place of an epoch."""
        self._require_some(scene)
        self._scene, self._epoch, self._position = scene, cursor.epoch, cursor.position
        self._plan = plan(scene.view, self.config, cursor.epoch)

    def _require_some(self, scene: _Scene) -> None:
        if not scene.there.any():
            raise BadInput(f"{self.shards.url}: every sample has been removed; there is nothing left to train on")

    def _next_epoch(self) -> None:
        scene, epoch = self._scene, self._epoch + 1
        # not `shards`: another process may not have met that version yet, and would plan another epoch
        if self.agreed.content != scene.view.content:
            carried = leftover(scene.view, self.config, epoch)
            view = self._keep(View.of(self.agreed, self.config, epoch, carried))
            scene = _Scene.of(view, self.shards, self._gone, self.config)
        self._turn(scene, Cursor(epoch, 0))

    def _fill(self) -> None:
        """Have as many batches under way as the configuration says."""
        while len(self._ahead) < self.config.prefetch:
            if self._position < len(self._plan):
                self._ahead.append(self._begin())
                self._position += 1
            else:
                self._next_epoch()

    def _begin(self) -> _Ahead:
        """Choose this process's share of the batch at the present place, and have it decoded."""
        scene, position = self._scene, self._position
        self._require_some(scene)
        whole = self._plan.entries.take(position)
        share = whole.take(slice(self.rank, None, self.world))
        share = share.take(scene.there[share.rows])
        bucket, task = int(self._plan.bucket[position]), None
        if self.caches.latents is None and len(share):
            drawn = draws(scene.view, share, self.config)
            jobs = jobs_of(self.shards, scene.rows[share.rows], drawn.across, drawn.down, drawn.flip)
            task = self._decoding().submit(jobs, *scene.view.sizes[bucket])
        cursor = Cursor(self._epoch, position + 1, scene.view.name)
        return _Ahead(scene, cursor, position + 1 == len(self._plan), whole, share, bucket, task)

    def _finished(self, ahead: _Ahead) -> Batch | None:
        """Return a batch; None where the dataset turns out to have changed, and its batches were begun anew."""
        scene, rows = ahead.scene, ahead.scene.rows[ahead.share.rows]
        width, height = scene.view.sizes[ahead.bucket]
        pixels, outcomes = np.empty((0, 3, height, width), np.uint8), [Outcome()] * len(rows)
        if ahead.task is not None:
            pixels, outcomes = self._decoding().result(ahead.task)
        latents = _cached(self.caches.latents, self.shards, rows, outcomes)
        # what is not where it was may have been moved or taken out by a retraction
        if any(outcome.reason in _MOVED for outcome in outcomes) and self._changed():
            return None
        uids = self.shards.uids(rows)
        # some may have been removed while the batch was under way
        there = scene.there[ahead.share.rows]
        failed = [Unreadable(uids[at], *outcomes[at][:2]) for at in np.flatnonzero(there) if outcomes[at].reason]
        self._count(failed, len(scene.view))
        chosen = np.flatnonzero(there & np.array([not outcome.reason for outcome in outcomes], dtype=bool))
        good = [outcomes[at] for at in chosen]
        drawn = draws(scene.view, ahead.share.take(chosen), self.config)
        texts = self.shards.captions(rows[chosen])
        return Batch(
            epoch=ahead.cursor.epoch,
            number=ahead.cursor.position - 1,
            last=ahead.last,
            cursor=ahead.cursor,
            view=scene.view.name,
            rows=ahead.share.rows[chosen],
            uids=[uids[at] for at in chosen],
            images=torch.from_numpy(pixels[chosen] if len(chosen) < len(pixels) else pixels),
            captions=["" if dropped else text for text, dropped in zip(texts, drawn.dropped, strict=True)],
            dropped=torch.from_numpy(drawn.dropped),
            weights=torch.from_numpy(scene.weight[ahead.share.rows[chosen]]),
            sizes=torch.tensor([(o.height, o.width) for o in good], dtype=torch.int32).reshape(-1, 2),
            crops=torch.tensor([(o.top, o.left) for o in good], dtype=torch.int32).reshape(-1, 2),
            flipped=torch.from_numpy(drawn.flip),
            planned=int(scene.there[ahead.whole.rows].sum()),
            latents=stacked([latents[int(at)] for at in chosen]) if self.caches.latents else None,
            unreadable=tuple(failed),
        )

    def _changed(self) -> bool:
        """Find the samples of the dataset as it is now where it is another version; tell whether it is."""
        if content_now(self.shards.url) == self.shards.content:
            return False
        self._go_on_with(present(self.shards.url))
        return True

    def _count(self, failed: list[Unreadable], samples: int) -> None:
        for sample in failed:
            self.unreadable.setdefault(sample.uid, sample)
        if failed and len(self.unreadable) > self.config.max_unreadable * samples:
            last = failed[-1]
            raise TooManyFailures(
                f"{self.shards.url}: {len(self.unreadable)} of {samples} samples are unreadable, more than "
                f"data.max_unreadable ({self.config.max_unreadable:g}); last {last.uid}: {last.reason} {last.detail}"
            )

    def _decoding(self) -> Decoder:
        if self._decoder is None:
            self._decoder = make_decoder(
                self.shards.url, self.config, -(-self.config.batch // self.world), self._sizes
            )
        return self._decoder


def loss_weights(view: View, config: Data) -> np.ndarray:
    """Return float32 (n,): what each sample's loss is multiplied by, 1 on average over the view."""
    if config.weighting == "sample":
        return np.ones(len(view), dtype=np.float32)
    return rates(view, config.model_copy(update={"weighting": "sample"})).astype(np.float32)


def _cached(
    cache: LatentCache | None, shards: ShardSet, rows: np.ndarray, outcomes: list[Outcome]
) -> dict[int, Entry]:
    """Return what is cached, by place; the outcomes of those that have nothing say so, the others where they lie."""
    found: dict[int, Entry] = {}
    for at, entry in enumerate(cache.lookup(shards, rows)) if cache is not None else ():
        if entry is not None:
            found[at] = entry
            if cache is not None and cache.key.kind == "latents":
                outcomes[at] = Outcome("", "", *entry.geometry)
        elif not outcomes[at].reason:
            outcomes[at] = Outcome(NOT_CACHED, "nothing is cached for it, though there is for others of its shard")
    return found
