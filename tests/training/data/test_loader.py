"""What cannot be read is counted and costs itself alone; what is removed is in no batch from then on."""

import io
import os
import signal
import tarfile
import threading
import time
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from PIL import Image
from training_runs import drawing, first, shards_of, small

from filters.errors import BadInput, TooManyFailures
from training.data.decode import BYTES_CHANGED, DECODER_CRASHED, DECODER_TIMEOUT, Job, crop_box, run_job
from training.data.loader import Batches
from training.data.mixing import uid_words
from training.data.offsets import Reader
from training.data.pool import Pool


def broken(shards, *rows: int):
    """The same shards, with another picture's place in these rows."""
    offset, size = shards.offset.copy(), shards.size.copy()
    for row in rows:
        offset[row], size[row] = shards.offset[row - 1], shards.size[row - 1]
    return replace(shards, offset=offset, size=size)


def test_pixels_are_those_of_the_picture_in_the_shard(cleared):
    shards = shards_of(cleared)
    batch = first(shards, small(), 1)[0]
    for at, uid in enumerate(batch.uids):
        row = int(shards.find(uid_words([uid], "x"))[0])
        sample = shards.sample(row)
        with tarfile.open(cleared / "run" / f"{sample.shard}.tar") as archive:
            image = Image.open(io.BytesIO(archive.extractfile(f"{sample.key}.png").read()))
        assert batch.sizes[at].tolist() == [image.height, image.width] == [sample.height, sample.width]
        height, width = batch.images.shape[2:]
        box, top, left = crop_box(image.width, image.height, width, height, 0.5, 0.5)
        wanted = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS, box, reducing_gap=3.0))
        assert (batch.images[at].numpy() == wanted.transpose(2, 0, 1)).all()
        assert batch.crops[at].tolist() == [top, left]
    assert batch.pixels.min() >= -1
    assert batch.pixels.max() <= 1
    assert np.allclose((batch.pixels.numpy() + 1) * 127.5, batch.images.numpy(), atol=1e-4)


def test_a_crop_keeps_one_side_whole_and_the_target_s_shape():
    box, top, left = crop_box(200, 100, 64, 64, 0.25, 0.5)
    assert box == (25, 0, 125, 100)
    assert (top, left) == (0, 16)
    left_edge, upper, right, lower = crop_box(1, 5000, 64, 32, 1, 1)[0]
    assert (left_edge, right, lower) == (0, 1, 5000)
    assert lower - upper == 0.5


def test_an_unreadable_sample_is_counted_with_its_reason_and_is_in_no_batch(cleared):
    shards = broken(shards_of(cleared), 5, 30)
    config = small(max_unreadable=0.05, weighting="loss")
    lost = set(shards.uids(np.array([5, 30])))
    with Batches(shards, config) as batches:
        found = list(islice(batches, 14))
        assert {sample.reason for sample in batches.unreadable.values()} == {BYTES_CHANGED}
        assert set(batches.unreadable) == lost
    assert {sample.uid for batch in found for sample in batch.unreadable} == lost
    assert not lost & {uid for batch in found for uid in batch.uids}
    whole = first(shards_of(cleared), config, 14)
    for batch, other in zip(found, whole, strict=True):
        assert batch.uids == [uid for uid in other.uids if uid not in lost]
        assert len(batch.images) == len(batch.captions) == len(batch.weights) == len(batch.uids)


def test_more_unreadable_samples_than_allowed_end_the_training(cleared):
    shards = broken(shards_of(cleared), 3, 20, 40, 50)
    with pytest.raises(TooManyFailures, match=r"4 of 60 samples are unreadable.*BYTES_CHANGED") as error:
        first(shards, small(max_unreadable=0.05, weighting="loss"), 20)
    assert error.value.exit_code == 4


def test_what_is_removed_is_not_even_in_batches_that_were_decoded_ahead(cleared):
    shards = shards_of(cleared)
    config = small(prefetch=6, weighting="loss")
    whole = first(shards, config, 20)
    gone = {*whole[4].uids[:3], *whole[9].uids[:1]}
    with Batches(shards, config) as batches:
        found = list(islice(batches, 3))
        batches.remove(sorted(gone))
        found += list(islice(batches, 17))
    for at, (batch, other) in enumerate(zip(found, whole, strict=True)):
        assert batch.uids == (other.uids if at < 3 else [uid for uid in other.uids if uid not in gone])
        assert batch.planned == len(batch.uids)
    with Batches(shards, config) as batches:
        batches.remove(shards.uids(np.arange(len(shards))))
        with pytest.raises(BadInput, match="nothing left"):
            next(iter(batches))


def slow_jobs(tmp_path, count: int) -> list[Job]:
    """Jobs over a file of pictures that take about a quarter of a second each."""
    import hashlib

    noise = np.random.default_rng(0).integers(0, 255, (2000, 2000, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG", compress_level=1)
    data = buffer.getvalue()
    (tmp_path / "pictures").write_bytes(data)
    return [Job("pictures", 0, len(data), hashlib.sha256(data).digest())] * count


def at_picture(pool: Pool, place: int) -> None:
    """Wait until the pool's process has begun the picture in this place."""
    until = time.monotonic() + 60
    while pool.at_work[0] != (0, place):
        assert time.monotonic() < until
        time.sleep(0.001)


def test_a_decoder_that_dies_costs_the_picture_it_was_at(tmp_path):
    jobs = slow_jobs(tmp_path, 4)
    pool = Pool(str(tmp_path), 1, 2, 4 * 3 * 32 * 32, 10**8, 60)
    try:
        number = pool.submit(jobs, 32, 32)
        at_picture(pool, 1)
        os.kill(pool.processes[0], signal.SIGKILL)
        pixels, outcomes = pool.result(number)
        assert [outcome.reason for outcome in outcomes] == ["", DECODER_CRASHED, "", ""]
        assert (pixels[0] == pixels[3]).all()
        assert pixels[0].any()
    finally:
        pool.close()


def test_a_decoder_that_hangs_costs_the_picture_it_was_at(tmp_path):
    jobs = slow_jobs(tmp_path, 3)
    pool = Pool(str(tmp_path), 1, 2, 3 * 3 * 32 * 32, 10**8, 3)
    try:
        number = pool.submit(jobs, 32, 32)
        at_picture(pool, 2)
        os.kill(pool.processes[0], signal.SIGSTOP)
        _, outcomes = pool.result(number)
        assert [outcome.reason for outcome in outcomes] == ["", "", DECODER_TIMEOUT]
    finally:
        pool.close()


def test_decoders_end_with_the_process_that_started_them(cleared):
    shards, config = shards_of(cleared), small(workers=2)
    with Batches(shards, config) as batches:
        next(iter(batches))
        pids = batches.processes
        assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_files_are_read_by_place_and_a_gone_one_is_an_outcome(tmp_path):
    reader = Reader(str(tmp_path))
    pixels = np.zeros((3, 8, 8), np.uint8)
    assert run_job(reader, Job("none.tar", 0, 10, b""), pixels, 10**8).reason == "FILE_UNREADABLE"
    data = drawing(1)
    (tmp_path / "a.tar").write_bytes(b"x" * 7 + data)
    import hashlib

    digest = hashlib.sha256(data).digest()
    assert run_job(reader, Job("a.tar", 7, len(data), digest), pixels, 10**8).reason == ""
    assert pixels.any()
    assert run_job(reader, Job("a.tar", 7, len(data), digest), pixels, 100).reason == "DECOMPRESSION_BOMB"
    assert run_job(reader, Job("a.tar", 6, len(data), digest), pixels, 10**8).reason == BYTES_CHANGED
    reader.close()


def test_a_training_that_stands_still_does_not_make_decoders_fail(cleared):
    """Tasks that wait for their turn, and results that wait to be fetched, are no hanging decoders."""
    shards, before = shards_of(cleared), threading.active_count()
    with Batches(shards, small(workers=1, decode_seconds=0.5, prefetch=8)) as batches:
        iterator = iter(batches)
        next(iterator)
        time.sleep(1.5)
        for _ in range(10):
            next(iterator)
        assert batches.unreadable == {}
    assert threading.active_count() < before + 8
