"""The order is a function of seed, epoch, shards, uids and weights, and of nothing else."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from training_runs import first, same, shards_of, small

from filters.errors import BadInput
from training.data.buckets import bucket_sizes
from training.data.loader import Batches
from training.data.mixing import find_words, uid_texts, uid_words
from training.data.order import Cursor, carried_into, plan, read_cursor, seen_before, stream
from training.data.view import View, load_view


def view_of(count: int, config, weights: np.ndarray | None = None, shards: int = 4) -> View:
    """A view of `count` samples whose uids, buckets and weights are drawn."""
    draw = np.random.default_rng(count)
    sizes = tuple(bucket_sizes(config.buckets))
    words = draw.integers(0, 2**63, (count, 2)).astype(np.uint64)
    shard = np.sort(draw.integers(0, shards, count)).astype(np.int32)
    weight = np.ones(count, np.float32) if weights is None else weights.astype(np.float32)
    bucket = draw.integers(0, len(sizes), count).astype(np.int16)
    none = np.empty(0, np.int64)
    head = ("", "ab" * 32, "00" * 4, 0, tuple(f"shards/{at}" for at in range(shards)), sizes)
    return View(*head, words, shard, weight, bucket, none)


def places(entries) -> list[tuple[int, int, int]]:
    return list(zip(entries.rows.tolist(), entries.origin.tolist(), entries.repeat.tolist(), strict=True))


@pytest.mark.parametrize("settings", [{}, {"weighting": "loss"}, {"shuffle_shards": 2}, {"batch": 61}])
def test_the_plan_of_any_epoch_is_what_filling_buckets_one_sample_at_a_time_gives(settings):
    config = small(**settings)
    view = view_of(157, config, np.random.default_rng(1).gamma(1, 1, 157))
    buckets: dict[int, list[tuple[int, int, int]]] = {}
    for epoch in range(9):
        wanted = []
        for place in places(stream(view, config, epoch)):
            full = buckets.setdefault(int(view.bucket[place[0]]), [])
            full.append(place)
            if len(full) == config.batch:
                wanted.append(list(full))
                full.clear()
        made = plan(view, config, epoch)
        assert [places(made.entries.take(at)) for at in range(len(made))] == wanted
        assert sorted(places(carried_into(view, config, epoch + 1))) == sorted(
            place for bucket in buckets.values() for place in bucket
        )


def test_each_sample_is_seen_once_an_epoch_where_weights_are_for_the_loss():
    config = small(weighting="loss")
    view = view_of(100, config, np.arange(1, 101))
    assert Counter(stream(view, config, 5).rows.tolist()) == Counter(range(100))
    assert stream(view, config, 5).rows.tolist() != stream(view, config, 6).rows.tolist()
    assert (
        stream(view, config.model_copy(update={"seed": 1}), 5).rows.tolist() != stream(view, config, 5).rows.tolist()
    )


def test_exposure_is_never_one_or_more_away_from_what_the_weight_asks_for():
    config = small()
    weights = np.random.default_rng(2).lognormal(0, 1.5, 400)
    weights[7] = 0
    view = view_of(400, config, weights)
    seen = np.zeros(400)
    for epoch in range(40):
        np.add.at(seen, stream(view, config, epoch).rows, 1)
        wanted = (epoch + 1) * view.weight.astype(np.float64) / view.weight.mean(dtype=np.float64)
        assert np.abs(seen - wanted).max() < 1
    assert seen[7] == 0
    assert (seen == seen_before(view, config, 40)).all()
    assert abs(seen.sum() / (40 * 400) - 1) < 0.01


def test_shards_that_are_shuffled_together_are_read_before_the_next_ones():
    config = small(shuffle_shards=2)
    view = view_of(200, config, shards=6)
    order = view.shard[stream(view, config, 0).rows]
    groups = [set(order[start:stop].tolist()) for start, stop in _thirds(view, order)]
    assert [len(group) for group in groups] == [2, 2, 2]
    assert set.union(*groups) == set(range(6))


def _thirds(view: View, order: np.ndarray) -> list[tuple[int, int]]:
    """Places in the order where a third pair of shards begins and ends, by the sizes of the shards met."""
    sizes = np.bincount(view.shard, minlength=6)
    found, at = [], 0
    while at < len(order):
        met = list(dict.fromkeys(order[at:].tolist()))[:2]
        found.append((at, at + int(sizes[met].sum())))
        at = found[-1][1]
    return found


def test_the_order_of_the_others_does_not_depend_on_who_is_there():
    config = small(weighting="loss")
    view = view_of(90, config)
    keep = np.flatnonzero(np.arange(90) % 7 > 0)
    fields = {name: getattr(view, name)[keep] for name in ("words", "shard", "weight", "bucket")}
    fewer = replace(view, **fields)
    all_of_them = [row for row in stream(view, config, 3).rows.tolist() if row % 7]
    assert keep[stream(fewer, config, 3).rows].tolist() == all_of_them


def test_what_is_left_of_one_dataset_is_carried_into_its_next_version():
    config = small()
    old = view_of(61, config)
    left = carried_into(old, config, 4)
    assert len(left)
    new = replace(old, start=4, carried=left.rows, content="cd" * 32)
    seen = {
        place
        for batch in range(len(plan(new, config, 4)))
        for place in places(plan(new, config, 4).entries.take(batch))
    }
    waiting = set(places(carried_into(new, config, 5)))
    assert {(row, 3, at) for at, row in enumerate(left.rows.tolist())} <= seen | waiting


def test_a_view_survives_its_file_and_a_broken_file_is_refused(tmp_path):
    config = small()
    view = replace(view_of(50, config), carried=np.array([3, 1]))
    back = load_view(view.dump(), "x")
    assert back.name == view.name
    for name in ("words", "shard", "weight", "bucket", "carried"):
        assert (getattr(back, name) == getattr(view, name)).all()
    assert view.dump() == view.dump()
    for broken in (b"", b"PAR1" + bytes(60), view.dump()[:-9], replace(view, bucket=view.bucket + 90).dump()):
        with pytest.raises(BadInput, match="view"):
            load_view(broken, "x")


def test_a_cursor_is_read_back_and_anything_else_refused():
    cursor = Cursor(3, 14, "000000-ab")
    assert read_cursor(cursor.state(), "x") == cursor
    for state in ({}, {"epoch": 1, "position": -1, "view": ""}, {"epoch": "x", "position": 0, "view": ""}):
        with pytest.raises(BadInput, match="position"):
            read_cursor(state, "x")


def test_uids_are_found_also_where_their_first_halves_are_equal():
    words = np.array([[5, 1], [5, 2], [9, 9], [5, 3]], dtype=np.uint64)
    assert find_words(words, words[[3, 0, 2, 1]]).tolist() == [3, 0, 2, 1]
    assert find_words(words, np.array([[5, 4], [1, 1]], dtype=np.uint64)).tolist() == [-1, -1]
    assert (uid_words(uid_texts(words), "x") == words).all()
    for bad in ("zz" * 16, "ab", " " * 32):
        with pytest.raises(BadInput, match="32 hex digits"):
            uid_words([bad], "x")


def test_batches_do_not_depend_on_workers_or_prefetch(cleared):
    shards = shards_of(cleared)
    config = small(crop="random", flip=0.5, seed=3)
    wanted = first(shards, config, 16)
    for settings in ({"workers": 1, "prefetch": 1}, {"workers": 3, "prefetch": 6}, {"prefetch": 9}):
        found = first(shards, config.model_copy(update=settings), 16)
        assert all(same(a, b) for a, b in zip(wanted, found, strict=True))
    assert len({batch.epoch for batch in wanted}) > 1
    assert any(batch.flipped.any() for batch in wanted)


def test_resumed_anywhere_it_goes_on_bit_for_bit(cleared):
    shards = shards_of(cleared)
    config = small(crop="random", flip=0.5, caption_dropout=0.3)
    wanted = first(shards, config, 20)
    for at in (1, 6, 7, 8, 13, 19):
        found = first(shards, config, 20 - at, cursor=wanted[at - 1].cursor)
        assert all(same(a, b) for a, b in zip(wanted[at:], found, strict=True))


@pytest.mark.parametrize("world", [2, 3])
def test_the_processes_share_the_same_global_batches(cleared, world):
    shards, config = shards_of(cleared), small()
    whole = first(shards, config, 10)
    shares = [first(shards, config, 10, rank=rank, world=world) for rank in range(world)]
    for at, batch in enumerate(whole):
        parts = [share[at] for share in shares]
        assert sorted(uid for part in parts for uid in part.uids) == sorted(batch.uids)
        assert [part.uids for part in parts] == [batch.uids[rank::world] for rank in range(world)]
        assert {part.cursor for part in parts} == {batch.cursor}
        assert {part.planned for part in parts} == {8}
        for rank, part in enumerate(parts):
            assert (part.images == batch.images[rank::world]).all()


def test_captions_are_dropped_by_hash_at_the_stated_rate_and_the_same_ones_again(cleared):
    shards = shards_of(cleared)
    batches = first(shards, small(caption_dropout=0.25), 200)
    dropped = np.concatenate([batch.dropped.numpy() for batch in batches])
    # 1,600 draws: the standard error is 0.011
    assert abs(dropped.mean() - 0.25) < 0.045
    for batch in batches[:20]:
        texts = dict(zip(shards.uids(np.arange(len(shards))), shards.captions(np.arange(len(shards))), strict=True))
        wanted = ["" if gone else texts[uid] for uid, gone in zip(batch.uids, batch.dropped.tolist(), strict=True)]
        assert batch.captions == wanted


def test_weights_are_in_the_loss_or_in_the_sampling_never_in_both(cleared):
    shards = replace(shards_of(cleared), weight=np.linspace(0.1, 2, 60).astype(np.float32))
    loss = first(shards, small(weighting="loss"), 4)
    for batch in loss:
        rows = shards.find(uid_words(batch.uids, "x"))
        assert np.allclose(batch.weights.numpy(), shards.weight[rows] / shards.weight.mean())
    assert {float(weight) for batch in first(shards, small(), 4) for weight in batch.weights} == {1.0}


def test_a_position_of_another_dataset_is_refused(cleared):
    shards, config = shards_of(cleared), small()
    cursor = first(shards, config, 3)[-1].cursor
    with pytest.raises(BadInput, match="start a new training"):
        Batches(replace(shards, content="ef" * 32), config, cursor=cursor)
    with pytest.raises(BadInput, match="start a new training"):
        Batches(shards, small(buckets={"resolution": 64}), cursor=cursor)
    with pytest.raises(BadInput, match="start a new training"):
        Batches(shards, small(seed=1), cursor=cursor)
    with pytest.raises(BadInput, match="number of processes"):
        Batches(shards, config, world=9)
