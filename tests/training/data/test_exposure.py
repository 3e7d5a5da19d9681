"""The exposure log is a recount of the batches, survives checkpoints and resumes, and adds up over processes."""

from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from training_runs import first, shards_of, small

from filters.errors import BadInput
from training.data.exposure import FILE, Exposure, exposures, load_exposure
from training.data.loader import Batches


def recount(batches) -> dict[str, int]:
    return dict(Counter(uid for batch in batches for uid in batch.uids))


def seen(shards, config, count: int, exposure: Exposure, **position: object) -> list:
    with Batches(shards, config, **position) as batches:
        found = []
        for batch in islice(batches, count):
            exposure.add(batch, batches.view)
            found.append(batch)
        return found


def test_the_log_of_a_checkpoint_is_a_recount_of_its_batches(cleared, tmp_path):
    shards, config, exposure = shards_of(cleared), small(), Exposure()
    batches = seen(shards, config, 25, exposure)
    exposure.save(tmp_path)
    assert exposures(tmp_path) == recount(batches)
    assert sum(exposures(tmp_path).values()) == 200
    uid = batches[0].uids[0]
    assert load_exposure(tmp_path).of(uid) == recount(batches)[uid]
    assert load_exposure(tmp_path).of("00" * 16) == 0
    assert exposure.dump() == load_exposure(tmp_path).dump()


def test_a_resumed_training_has_the_log_of_one_that_was_never_stopped(cleared, tmp_path):
    shards, config = shards_of(cleared), small()
    whole, before = Exposure(), Exposure()
    seen(shards, config, 20, whole)
    half = seen(shards, config, 11, before)
    before.save(tmp_path / "checkpoint")
    after = load_exposure(tmp_path / "checkpoint")
    seen(shards, config, 9, after, cursor=half[-1].cursor)
    assert after.counts() == whole.counts()
    assert after.dump() == whole.dump()


def test_intervals_begin_anew_at_each_checkpoint_and_the_total_goes_on(cleared, tmp_path):
    shards, config, exposure = shards_of(cleared), small(), Exposure()
    with Batches(shards, config) as batches:
        iterator = iter(batches)
        found = []
        for checkpoint in range(3):
            some = [next(iterator) for _ in range(5)]
            for batch in some:
                exposure.add(batch, batches.view)
            found += some
            exposure.save(tmp_path / str(checkpoint))
            log = load_exposure(tmp_path / str(checkpoint))
            assert log.counts() == recount(found)
            assert Exposure(log.views, log.since, {}).counts() == recount(some)
            exposure.checkpointed()


def test_the_counts_of_processes_add_up_to_those_of_one(cleared):
    shards, config = shards_of(cleared), small()
    alone, main, other = Exposure(), Exposure(), Exposure()
    seen(shards, config, 12, alone)
    seen(shards, config, 12, main, rank=0, world=2)
    seen(shards, config, 12, other, rank=1, world=2)
    main.merge([other.interval()])
    assert main.counts() == alone.counts()
    assert main.dump() == alone.dump()


def test_the_log_is_small_and_its_view_is_linked_from_the_training(cleared, tmp_path):
    shards, config, exposure = shards_of(cleared), small(weighting="loss"), Exposure()
    with Batches(shards, config, folder=tmp_path) as batches:
        for batch in islice(batches, 8):
            exposure.add(batch, batches.view)
    exposure.save(tmp_path / "a", tmp_path)
    (view,) = (tmp_path / "a" / "views").iterdir()
    assert view.samefile(tmp_path / "views" / view.name)
    # a whole epoch over a million samples of one shard
    view = next(iter(exposure.views.values()))
    wide = replace(
        view, shards=view.shards[:1], shard=np.zeros(10**6, np.int32), words=np.zeros((10**6, 2), np.uint64)
    )
    counts = np.ones(10**6, np.uint32)
    assert len(Exposure({"v": wide}, {"v": counts}, {"v": counts}).dump()) < 10_000


def test_the_versions_stand_in_the_order_in_which_they_were_begun(cleared, tmp_path):
    (batch,), exposure = first(shards_of(cleared), small(), 1), Exposure()
    with Batches(shards_of(cleared), small()) as batches:
        view = batches.view
    begun = ["f" * 64, "0" * 64]  # a later stage counts its epochs from 0 too
    for content in begun:
        other = replace(view, content=content)
        exposure.add(replace(batch, view=other.name), other)
    exposure.save(tmp_path)
    assert exposure.contents == load_exposure(tmp_path).contents == begun


def test_what_is_no_log_is_refused(cleared, tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        load_exposure(tmp_path)
    exposure = Exposure()
    seen(shards_of(cleared), small(), 2, exposure)
    exposure.save(tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    for broken in (b"", whole[:-40], whole.replace(b"views", b"viewz")):
        (tmp_path / FILE).write_bytes(broken)
        with pytest.raises(BadInput, match="not an exposure log"):
            load_exposure(tmp_path)
    (tmp_path / FILE).write_bytes(whole)
    (view,) = (tmp_path / "views").iterdir()
    view.write_bytes(view.read_bytes()[:-30])
    with pytest.raises(BadInput, match="view"):
        load_exposure(tmp_path)
    batch = first(shards_of(cleared), small(), 1)[0]
    other = replace(next(iter(exposure.views.values())), start=1)
    with pytest.raises(ValueError, match="not 000001"):
        Exposure().add(batch, other)
