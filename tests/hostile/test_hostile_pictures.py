"""Thousands of broken pictures: each is a picture or has a reason, in little time and memory, here and in the job."""

import collections
import json
import resource
import time
from itertools import islice

import pytest
from harm import command
from making import write_recipe, write_tar
from mutations import MEMORY, PICTURES, pictures
from PIL import features

from filters.decoding import Undecodable, decode, read_header
from filters.optout.base import Evidence
from filters.optout.image_rights import ImageRights
from filters.reasons import Reason
from pipelines.run.directory import open_run

MAX_PIXELS = 4_000_000

#: Seconds of CPU time for one file.
TIME = 10.0


def outcome(data):
    """Read a file as the job does: header, rights, pixels. Return its format or its reason."""
    ImageRights().read(Evidence(image=data))
    try:
        header = read_header(data, MAX_PIXELS)
        picture = decode(data, MAX_PIXELS)
    except Undecodable as error:
        return error.reason
    assert 0 < picture.width * picture.height <= MAX_PIXELS
    return header.format


def check_each(files):
    found = collections.Counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for suffix, data in files:
        start = time.process_time()
        result = outcome(data)
        assert time.process_time() - start < TIME, suffix
        found[result] += 1
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEMORY / 2
    return found


def test_some_broken_pictures():
    found = check_each(islice(pictures(seed=1), 400))
    assert found[Reason.DECODE_ERROR] > 50
    assert sum(count for result, count in found.items() if not isinstance(result, Reason)) > 50


@pytest.mark.hostile
@pytest.mark.timeout(1200)
def test_thousands_of_broken_pictures():
    found = check_each(pictures(2 * PICTURES, seed=2))
    assert sum(found.values()) == 2 * PICTURES
    assert {"png", "jpeg", "webp", "gif", "tiff", "bmp"} <= set(found)
    assert "avif" in found or not features.check("avif")
    assert {Reason.DECODE_ERROR, Reason.UNSUPPORTED_FORMAT, Reason.DECOMPRESSION_BOMB} <= set(found)


@pytest.mark.hostile
@pytest.mark.timeout(1500)
def test_the_whole_job_over_thousands_of_broken_pictures(tmp_path):
    rows = [
        {f"{i:05d}.{suffix}": data, f"{i:05d}.txt": b"a caption %d" % i} for i, (suffix, data) in enumerate(pictures())
    ]
    for shard in range(5):
        write_tar(tmp_path / "in" / f"{shard}.tar", *rows[shard::5])
    everything = ["size", "hashes", "caption", "language", "technical"]
    recipe = write_recipe(
        tmp_path,
        tmp_path / "in",
        scorers=everything,
        limits={"max_failures": 1.0, "max_pixels": MAX_PIXELS},
        duplicates={"phash_distance": 2, "exact": True},
    )
    out = tmp_path / "run"
    done = command(tmp_path / "say", "run", recipe, "--out", out, "--runner", "plain", "--json", watched=out)
    assert done.code == 0, done.err[-3000:]
    assert done.json["balanced"]
    assert done.json["samples"] == PICTURES
    assert done.outside == []
    assert done.peak < MEMORY
    run = open_run(str(out))
    ledger = [row for table in run.tables("ledger", ["primary_reason"]) for row in table.to_pylist()]
    counts = collections.Counter(row["primary_reason"] for row in ledger)
    assert counts[None] == done.json["kept"] > PICTURES // 20
    assert counts["DECODE_ERROR"] > PICTURES // 10
    assert set(counts) <= {None, *(reason.value for reason in Reason)}
    json.dumps(done.json)
