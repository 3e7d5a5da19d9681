"""What five billion pairs would take: `python -m benchmarks.scale_plan --run RUN [--pairs N]`; JSON.

Sizes are measured on a finished run. Rates are those of `benchmarks/README.md` (ours, CPU) or published (GPUs), each
with its source. Dedup and retraction are simulated at the size asked for, by the cost model that the search itself
plans with, which is checked here against counted candidates. Nothing of this was run on a cluster.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import comb

import numpy as np
import pyarrow.dataset as dataset

from pipelines.run.directory import Run, open_run

#: Artefacts whose size grows with the samples, and with the kept ones alone.
ALL = ("samples", "signals", "scores", "embeddings", "groups", "ledger", "thumbnails")
KEPT = ("shards", "latents")
#: Nanoseconds of a candidate and of a probe (`filters/duplicates_hamming.py`).
CANDIDATE_NS, PROBE_NS = 10.0, 12.0
SHARD = 10_000
#: Seconds to rewrite one shard of 100 samples (benchmarks.retraction); a larger one costs its bytes.
REWRITE = 0.14
#: Bytes a second of one worker that reads an object, writes it again and hashes both. Assumed; nothing was measured.
COPY = 100e6


@dataclass(frozen=True)
class Rate:
    """Samples a second of one core or one card."""

    stage: str
    unit: str
    rate: float
    source: str


RATES = (
    Rate("download", "core", 100, "img2dataset, published (its README: https://github.com/rom1504/img2dataset)"),
    Rate("ingest, hashes, technical scores", "core", 250, "2,000 drawings of the corpus: 1.1 and 5.7 to 7.5 CPU s"),
    Rate("write shards, sign, a kept one", "core", 1_000, "1,795 drawings of the corpus: 1.8 CPU s"),
    Rate("similarity, builtin:mini", "core", 40, "22.1 ms a picture, 2.7 a caption (benchmarks/README.md)"),
    Rate("similarity, ViT-B/32 int8", "core", 30, "32.5 ms a picture, before the project began; not taken again"),
    Rate(
        "similarity, ViT-B/32",
        "GPU",
        1400,
        "clip-retrieval on a 3080, published (https://github.com/rom1504/clip-retrieval), lower end",
    ),
    Rate("similarity, ViT-L/14", "GPU", 312, "clip-retrieval on an A100, published (the same)"),
    Rate("match with a registry of 10 million", "core", 15_000, "benchmarks.registry"),
    Rate("the same with 10,000 registered pictures (PDQ)", "core", 6_700, "benchmarks.registry"),
    Rate("groups and audit", "core", 21_000, "1 million rows in 47.3 CPU s (benchmarks.audit_job)"),
    Rate("decide and balance, on the driver", "core", 9_700, "assay replay: 8,121 rows in 0.84 CPU s"),
)


@dataclass(frozen=True)
class Search:
    """All pairs within `radius` of n codes: cut into `bands` of `width` bits, each probed within `flips` bits."""

    bands: int
    width: int
    flips: int
    probes: float
    candidates: float

    @property
    def core_hours(self) -> float:
        """Hours of one core by the search's own cost model."""
        return (self.probes * PROBE_NS + self.candidates * CANDIDATE_NS) / 1e9 / 3600


def planned(count: float, bits: int, radius: int, max_width: int) -> Search:
    """Return the cheapest search among even codes, with bands of at most `max_width` bits."""
    plans = []
    for bands in range(1, radius + 2):
        width, flips = -(-bits // bands), radius // bands
        if width <= max_width:
            probes = count * bands * sum(comb(width, k) for k in range(flips + 1))
            plans.append(Search(bands, width, flips, probes, probes * count / 2 ** (width + 1)))
    return min(plans, key=lambda plan: plan.core_hours)


def counted(codes: np.ndarray, search: Search) -> float:
    """Return how many candidates the search would verify among codes uint64 (n,), by counting its buckets."""
    total = 0.0
    for band in range(search.bands):
        low = 64 * band // search.bands
        width = 64 * (band + 1) // search.bands - low
        keys = (codes >> np.uint64(low)) & np.uint64((1 << width) - 1)
        values, sizes = np.unique(keys, return_counts=True)
        table = np.zeros(1 << width, np.int64)
        table[values.astype(np.int64)] = sizes
        for flip in _flips(width, search.flips):
            total += float((sizes * table[values.astype(np.int64) ^ flip]).sum()) / 2
    return total


def _flips(width: int, most: int) -> Iterator[int]:
    yield 0
    if most >= 1:
        yield from (1 << i for i in range(width))
    if most >= 2:
        yield from ((1 << i) | (1 << j) for i in range(width) for j in range(i))


def skew(run: Run) -> dict[str, float]:
    """Return counted over planned candidates: made-up even codes, and the run's distinct pHashes."""
    hashes = np.unique(
        np.concatenate(
            [
                table.column("phash").drop_null().to_numpy().astype(np.uint64)
                for table in run.tables("scores", ["phash"])
            ]
        )
    )
    even = np.random.default_rng(0).integers(0, 2**64, 200_000, dtype=np.uint64)
    found = {}
    for name, codes in (("even codes", even), ("the run's pHashes", hashes)):
        search = planned(len(codes), 64, 4, 24)
        found[name] = counted(codes, search) / search.candidates
    return found


@dataclass(frozen=True)
class Retraction:
    """Opt-outs by creators: how many left, samples that go, shards that hold some, hours of one core."""

    creators: int
    samples: int
    shards: int
    share: float
    core_hours: float


def retraction(run: Run, pairs: float, creators: int, shard_bytes: float, seed: int = 0) -> Retraction:
    """Draw creators with as many kept samples as the run's have (some none), spread over the shards at random."""
    owned: Counter[str] = Counter()
    for rows, ledger in zip(run.tables("samples", ["creator"]), run.tables("ledger", ["decision"]), strict=True):
        decisions = ledger.column("decision").to_pylist()
        for name, decision in zip(rows.column("creator").to_pylist(), decisions, strict=True):
            if name is not None:
                owned[name] += decision == "kept"
    draw = np.random.default_rng(seed)
    samples = int(draw.choice(sorted(owned.values()), creators).sum())
    shards = int(pairs // SHARD)
    hit = len(np.unique(draw.integers(0, shards, samples)))
    seconds = hit * (REWRITE + shard_bytes / COPY)
    return Retraction(creators, samples, hit, hit / shards, seconds / 3600)


def bytes_a_sample(run: Run) -> dict[str, float]:
    """Return the bytes of each artefact, a sample (of the kept ones for shards and latents)."""
    rows = run.rows("samples")
    kept = sum(sum(d == "kept" for d in t.column("decision").to_pylist()) for t in run.tables("ledger", ["decision"]))
    found = {}
    for name in (*ALL, *KEPT):
        files = run.store.fs.find(run.store.path(name)) if run.store.fs.exists(run.store.path(name)) else []
        found[name] = sum(run.store.fs.size(file) for file in files) / (kept if name in KEPT else rows)
    return found


def plan(run: Run, pairs: float) -> dict[str, object]:
    """Return every figure of the plan."""
    sizes = bytes_a_sample(run)
    decisions = dataset.dataset(run.store.path("ledger"), filesystem=run.store.fs, exclude_invalid_files=True)
    kept = decisions.to_table(columns=["decision"]).column("decision").to_pylist().count("kept") / run.rows("ledger")
    shard_bytes = sizes["shards"] * SHARD
    return {
        "pairs": pairs,
        "kept_share": kept,
        "bytes_a_sample": sizes,
        "terabytes": {name: size * pairs * (kept if name in KEPT else 1) / 1e12 for name, size in sizes.items()},
        "stages": [{**asdict(rate), "hours": pairs / rate.rate / 3600} for rate in RATES],
        "search": {
            f"{name}, bands of at most {width} bits": {**asdict(found), "core_hours": found.core_hours}
            for name, bits, radius in (("pHash within 4 of 64", 64, 4), ("PDQ within 31 of 256", 256, 31))
            for width in (24, 32)
            for found in [planned(pairs, bits, radius, width)]
        },
        "candidates_counted_over_planned": skew(run),
        "memory_gigabytes": {
            "pHashes in each unit of the search": pairs * 8 / 1e9,
            "PDQ hashes in each unit": pairs * 32 / 1e9,
            "union-find on the driver": pairs * 8 / 1e9,
        },
        "shuffle_terabytes": {
            "part numbers of all stages": pairs / SHARD * 8 * 10 / 1e12,
            "stars, an edge for every fifth pair, 10 rounds": pairs / 5 * 16 * 2 * 10 / 1e12,
        },
        "retraction": [asdict(retraction(run, pairs * kept, count, shard_bytes)) for count in (1, 100, 10_000)],
    }


def main() -> None:
    """Print the plan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--run", required=True, help="a finished run, whose sizes count")
    parser.add_argument("--pairs", type=float, default=5e9)
    arguments = parser.parse_args()
    print(json.dumps(plan(open_run(arguments.run), arguments.pairs), indent=1))


if __name__ == "__main__":
    main()
