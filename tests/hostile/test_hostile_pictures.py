"""Thousands of broken pictures: each is a picture or has a reason, in little time and memory, here and in the job."""

import collections
from itertools import islice

import pytest
from bounds import alone, bounded
from harm import command
from making import write_recipe, write_tar
from mutations import MEMORY, PICTURES, pictures
from PIL import features

from filters.decoding import Undecodable, decode, read_header
from filters.optout.base import Evidence
from filters.optout.image_rights import ImageRights
from filters.reasons import Reason
from filters.registry import DEFAULT
from pipelines.run.directory import open_run

MAX_PIXELS = 4_000_000


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


def check_each(count, seed):
    found = collections.Counter()
    for number, (suffix, data) in enumerate(pictures(count, seed)):
        with bounded(f"picture {number} of seed {seed}, {suffix}"):
            result = outcome(data)
        found[result] += 1
    return found


def test_some_broken_pictures():
    found = alone(check_each, 400, 1)
    assert found[Reason.DECODE_ERROR] > 50
    assert sum(count for result, count in found.items() if not isinstance(result, Reason)) > 50


@pytest.mark.hostile
@pytest.mark.timeout(1200)
def test_thousands_of_broken_pictures():
    found = alone(check_each, 2 * PICTURES, 2)
    assert sum(found.values()) == 2 * PICTURES
    assert {"png", "jpeg", "webp", "gif", "tiff", "bmp"} <= set(found)
    assert "avif" in found or not features.check("avif")
    assert {Reason.DECODE_ERROR, Reason.UNSUPPORTED_FORMAT, Reason.DECOMPRESSION_BOMB} <= set(found)


def whole_job(tmp_path, rows, scorers, **sections):
    """Run a recipe over pictures with a caption each; return the counts of primary reasons, and what it said."""
    for shard in range(5):
        write_tar(tmp_path / "in" / f"{shard}.tar", *rows[shard::5])
    recipe = write_recipe(
        tmp_path,
        tmp_path / "in",
        scorers=scorers,
        limits={"max_failures": 1.0, "max_pixels": MAX_PIXELS},
        duplicates={"phash_distance": 2, "exact": True},
        **sections,
    )
    out = tmp_path / "run"
    done = command(tmp_path / "say", "run", recipe, "--out", out, "--runner", "plain", "--json", watched=out)
    assert done.code == 0, done.err[-3000:]
    assert done.json["balanced"]
    assert done.json["samples"] == len(rows)
    assert done.outside == []
    assert done.peak < MEMORY
    ledger = [row for table in open_run(str(out)).tables("ledger", ["primary_reason"]) for row in table.to_pylist()]
    counts = collections.Counter(row["primary_reason"] for row in ledger)
    assert counts[None] == done.json["kept"]
    assert set(counts) <= {None, *(reason.value for reason in Reason)}
    return counts


def named(files):
    return [{f"{i:05d}.{suffix}": data, f"{i:05d}.txt": b"a caption %d" % i} for i, (suffix, data) in enumerate(files)]


@pytest.mark.hostile
@pytest.mark.timeout(1500)
def test_the_whole_job_over_thousands_of_broken_pictures(tmp_path):
    cheap = ["size", "hashes", "caption", "language", "technical"]
    counts = whole_job(tmp_path, named(pictures()), cheap)
    assert counts[None] > PICTURES // 20
    assert counts["DECODE_ERROR"] > PICTURES // 10


@pytest.mark.hostile
@pytest.mark.timeout(1500)
def test_every_scorer_over_hundreds_of_broken_pictures(tmp_path):
    """Those that a recipe has by default and the two that need no package of others beside them."""
    counts = whole_job(tmp_path, named(islice(pictures(seed=3), 300)), [*DEFAULT, "pixels", "watermark"])
    assert counts[None] > 15
    assert counts["DECODE_ERROR"] > 30
    scores = next(open_run(str(tmp_path / "run")).tables("scores")).column_names
    assert {"pdq", "similarity", "watermark", "sharpness"} <= set(scores)
