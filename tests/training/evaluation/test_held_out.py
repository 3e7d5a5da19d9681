"""Samples that are held out: the same ones always, never in an order, never in a batch."""

import numpy as np
import pytest
from training_runs import first, shards_of, small

from filters.errors import BadInput
from training.data.held_out import held_out
from training.data.order import plan
from training.data.view import View, order_digest

NONE = np.empty((0, 2), dtype=np.uint64)


@pytest.fixture(scope="module")
def shards(dataset):
    return shards_of(dataset)


def test_a_larger_share_holds_out_those_of_a_smaller_one():
    words = np.random.default_rng(0).integers(0, 2**63, (20_000, 2)).astype(np.uint64)
    small_share, large_share = held_out(words, 0.02), held_out(words, 0.1)
    assert not (small_share & ~large_share).any()
    assert small_share.mean() == pytest.approx(0.02, abs=0.004)
    assert large_share.mean() == pytest.approx(0.1, abs=0.01)
    assert not held_out(words, 0.0).any()


def test_no_batch_holds_a_held_out_sample(shards):
    config = small(held_out=0.3, seed=5)
    out = set(shards.uids(np.flatnonzero(held_out(shards.words, 0.3))))
    assert 5 < len(out) < 40
    seen = {uid for batch in first(shards, config, 30) for uid in batch.uids}
    assert not seen & out
    assert len(seen) == len(shards) - len(out)


@pytest.mark.parametrize("weighting", ["sample", "loss"])
def test_another_version_of_the_dataset_carries_samples_over_rightly(shards, weighting):
    config = small(held_out=0.3, weighting=weighting)
    view = View.of(shards, config, 0, NONE)
    carried = View.of(shards, config, 3, view.words[[4, 7]])
    assert carried.carried.tolist() == [4, 7]
    assert (carried.words[carried.carried] == view.words[[4, 7]]).all()
    uids = {tuple(word) for word in view.words[plan(view, config, 0).entries.rows.ravel()].tolist()}
    assert len(uids) <= len(view) < len(shards)


def test_trainings_without_it_keep_their_order(shards):
    assert order_digest(small()) == order_digest(small(held_out=0.0)) != order_digest(small(held_out=0.1))


def test_shards_and_sizes_stay_those_of_the_samples(shards):
    view = View.of(shards, small(held_out=0.3), 0, NONE)
    rows = shards.find(view.words)
    assert (view.shard == shards.shard_of(rows)).all()
    assert (view.weight == shards.weight[rows]).all()


def test_holding_out_all_is_refused(shards, monkeypatch):
    monkeypatch.setattr("training.data.view.held_out", lambda words, share: np.ones(len(words), bool))
    with pytest.raises(BadInput, match="leaves no sample"):
        View.of(shards, small(held_out=0.5), 0, NONE)
