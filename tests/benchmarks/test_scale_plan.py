"""The scale plan: its searches are those of the filters, its counts are counts, its retraction adds up."""

from pathlib import Path

import numpy as np
import pytest
from making import sample, write_tar

from benchmarks import scale_plan
from filters.duplicates_hamming import Band, bands
from pipelines.commands.main import invoke
from pipelines.run.directory import open_run

CREATORS = 3


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    write_tar(folder / "in.tar", *(sample(seed) for seed in range(12)))
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"version: 1\nname: plan\ninput: {{kind: webdataset, path: {folder}/in.tar}}\n"
        "scorers: [size, hashes, caption]\nlicences: {allow: [CC0]}\n"
    )
    assert invoke(["run", str(recipe), "--out", str(folder / "run"), "--runner", "plain"]) == 0
    return open_run(str(folder / "run"))


@pytest.mark.parametrize(("bits", "radius"), [(64, 4), (64, 2), (256, 31)])
def test_the_plan_is_the_one_that_the_search_itself_makes(bits, radius):
    codes = np.random.default_rng(bits + radius).integers(0, 2**64, (120_000, bits // 64), dtype=np.uint64)
    plan = scale_plan.planned(len(codes), bits, radius, 24)
    assert bands(codes, radius) == [Band(index, plan.bands, plan.flips) for index in range(plan.bands)]


def test_candidates_are_those_of_all_pairs_that_share_a_band():
    codes = np.random.default_rng(1).integers(0, 2**64, 300, dtype=np.uint64)
    codes[100:200] = codes[:100] ^ np.uint64(1 << 40)
    search = scale_plan.Search(bands=4, width=16, flips=1, probes=0.0, candidates=0.0)
    expected = 0
    for band in range(4):
        keys = ((codes >> np.uint64(16 * band)) & np.uint64(0xFFFF)).tolist()
        pairs = [(a ^ b).bit_count() for at, a in enumerate(keys) for b in keys[:at]]
        # a code is probed for itself too: half a candidate each
        expected += sum(apart <= 1 for apart in pairs) + len(keys) / 2
    assert scale_plan.counted(codes, search) == pytest.approx(expected)


def test_sizes_are_those_of_the_files(run):
    found = scale_plan.bytes_a_sample(run)
    kept = sum(t.column("decision").to_pylist().count("kept") for t in run.tables("ledger", ["decision"]))
    assert 0 < kept <= 12
    shards = sum(run.store.fs.size(path) for path in run.store.fs.find(run.store.path("shards")))
    assert found["shards"] * kept == pytest.approx(shards)
    assert found["samples"] > 0
    assert found["latents"] == 0


def test_more_creators_hit_more_shards_and_no_more_than_there_are(run):
    pairs = 1000 * scale_plan.SHARD
    one, many = (scale_plan.retraction(run, pairs, count, 1e6) for count in (1, 100_000))
    assert (one.creators, one.samples, one.shards) == (1, 12 // CREATORS, one.samples)
    assert many.samples == 100_000 * 12 // CREATORS
    assert (many.shards, many.share) == (1000, 1.0)
    assert one == scale_plan.retraction(run, pairs, 1, 1e6)
    assert many.core_hours == pytest.approx(1000 * (scale_plan.REWRITE + 1e6 / scale_plan.COPY) / 3600)


def test_the_page_gives_the_rates_that_the_plan_counts_with():
    page = (Path(__file__).parents[2] / "docs" / "scale.md").read_text()
    for rate in scale_plan.RATES:
        row = next(line for line in page.splitlines() if line.startswith(f"| {rate.stage} |"))
        assert f"{rate.rate:,.0f} a second" in row, row
