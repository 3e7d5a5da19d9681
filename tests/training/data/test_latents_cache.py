"""Cached tensors are those of their key, are found by uid, and leave with a retracted sample."""

import json
from itertools import islice

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from training_runs import first, opened, shards_of, small

from filters.errors import BadInput, TooManyFailures
from filters.optout.entries import Draft, Kind
from pipelines.jobs.apply import apply
from pipelines.jobs.retract import Keys
from pipelines.registry.store import open_registry
from training.data.encoding import fill_latents, latent_key
from training.data.latents import Entry, Key, LatentCache
from training.data.loader import Batches, Caches
from training.data.mixing import uid_words


def halved(pixels: torch.Tensor) -> torch.Tensor:
    """A stand-in for an autoencoder that is exact: means of 4 x 4 pixels, times 0.5."""
    return torch.nn.functional.avg_pool2d(pixels, 4) * 0.5


def filled(folder, config, dtype: str = "float32") -> tuple[Caches, int]:
    shards = shards_of(folder)
    latents = LatentCache(shards.url, latent_key(config, "an autoencoder", dtype, 0.5))
    done, failed = fill_latents(latents, shards, config, halved)
    assert failed == []
    return Caches(latents), done


def test_cached_latents_are_what_the_encoder_makes_of_the_same_pixels(own):
    config = small(caption_dropout=0.5)
    caches, done = filled(own, config)
    assert done == 60
    shards = shards_of(own)
    with_cache = first(shards, config, 10, caches=caches)
    without = first(shards, config, 10)
    for cached, plain in zip(with_cache, without, strict=True):
        assert cached.uids == plain.uids
        assert cached.images.shape[0] == 0
        assert torch.equal(cached.latents, halved(plain.pixels))
        assert torch.equal(cached.sizes, plain.sizes)
        assert torch.equal(cached.crops, plain.crops)
        assert cached.captions == plain.captions
    assert len({tuple(batch.latents.shape[2:]) for batch in with_cache}) > 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_numbers_keep_the_precision_that_the_key_names(own, dtype):
    config = small()
    caches, _ = filled(own, config, dtype)
    batch, plain = first(shards_of(own), config, 1, caches=caches)[0], first(shards_of(own), config, 1)[0]
    assert batch.latents.dtype == getattr(torch, dtype)
    assert torch.equal(batch.latents, halved(plain.pixels).to(batch.latents.dtype))


def test_a_second_filling_does_nothing_and_a_torn_one_goes_on(own):
    config = small()
    caches, _ = filled(own, config)
    shards = shards_of(own)
    assert fill_latents(caches.latents, shards, config, halved)[0] == 0
    name = own / "run" / caches.latents.file(shards.shards[1])
    pq.write_table(pq.read_table(name).slice(5), name)
    caches.latents.forget()
    assert fill_latents(caches.latents, shards, config, halved)[0] == 5
    assert torch.equal(first(shards, config, 3, caches=caches)[2].latents, halved(first(shards, config, 3)[2].pixels))


@pytest.mark.parametrize(
    "other",
    [{"model": "another"}, {"sizes": ((32, 32),)}, {"crop": "random"}, {"dtype": "float16"}, {"scale": 0.18215}],
)
def test_the_tensors_of_another_key_are_never_used(own, other):
    config = small()
    caches, _ = filled(own, config)
    key = caches.latents.key
    cache = LatentCache(str(own / "run"), Key(**{**vars(key), **other}))
    assert len(cache.missing(shards_of(own), 0)) == 16
    with pytest.raises(BadInput, match="nothing is cached under this key"):
        first(shards_of(own), config, 1, caches=Caches(latents=cache))
    # also not where a file is given its name
    shard = shards_of(own).shards[0]
    (own / "run" / caches.latents.file(shard)).rename(own / "run" / cache.file(shard))
    with pytest.raises(BadInput, match="not of the key in its name"):
        cache.missing(shards_of(own), 0)


def test_a_retraction_deletes_latents_and_training_goes_on(own):
    config = small()
    caches, _ = filled(own, config)
    before = shards_of(own)
    with open_registry(str(own / "registry.sqlite")) as registry:
        registry.append([Draft(Kind.CREATOR, "artist 2")])
    with Batches(before, config.model_copy(update={"max_unreadable": 0.0}), caches=caches) as batches:
        iterator = iter(batches)
        next(iterator)
        caches.latents.forget()
        record = apply(opened(own), None, Keys(Ed25519PrivateKey.generate()))
        left = set(record["left"])
        # the loader finds out by itself, from the rows that are gone
        later = {uid for batch in islice(iterator, 20) for uid in batch.uids}
        assert not left & later
        assert set(batches.take_left()) == left
    assert len(left) == 12
    held = set()
    for path in (own / "run" / "latents").glob("*.parquet"):
        held |= set(pq.read_table(path).column("uid").to_pylist())
        marker = json.loads(path.with_suffix(".done.json").read_text())
        assert marker["rows"] == pq.read_table(path).num_rows
    assert held == set(before.uids(np.arange(60))) - left
    assert any(name.startswith("latents/") for name in record["purged"])
    now = shards_of(own)
    seen = {uid for batch in first(now, config, 20, caches=caches) for uid in batch.uids}
    assert seen == held
    # a job that read the pictures before the retraction does not bring them back
    rows = before.find(uid_words(sorted(left), "x"))
    rows = rows[before.shard_of(rows) == 0]
    caches.latents.add(before, 0, rows, [Entry(torch.ones(3, 8, 8))] * len(rows))
    assert not left & set(
        pq.read_table(own / "run" / caches.latents.file("shards/shard-00000")).column("uid").to_pylist()
    )


def test_what_could_not_be_cached_counts_as_unreadable(own):
    config = small(weighting="loss", max_unreadable=0.02)
    caches, _ = filled(own, config)
    shards = shards_of(own)
    name = own / "run" / caches.latents.file(shards.shards[0])
    table = pq.read_table(name)
    pq.write_table(table.slice(1), name)
    caches.latents.forget()
    with Batches(shards, config, caches=caches) as batches:
        for _, _batch in zip(range(9), batches, strict=False):
            pass
        assert {(s.uid, s.reason) for s in batches.unreadable.values()} == {
            (table.column("uid")[0].as_py(), "NOT_CACHED")
        }
    pq.write_table(table.slice(2), name)
    caches.latents.forget()
    with pytest.raises(TooManyFailures, match="NOT_CACHED"):
        first(shards, config, 20, caches=caches)


def test_cached_latents_exclude_what_they_cannot_have(cleared):
    cache = LatentCache(str(cleared / "run"), Key("latents", "x"))
    for settings in ({"flip": 0.5}, {"crop": "random"}):
        with pytest.raises(BadInput, match="whole, unmirrored"):
            Batches(shards_of(cleared), small(**settings), caches=Caches(latents=cache))
    with pytest.raises(BadInput, match="float8"):
        LatentCache(str(cleared / "run"), Key("latents", "x", dtype="float8"))
