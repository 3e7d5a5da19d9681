"""The dashboard over a synthetic ledger: milliseconds of each page and filter at the server, and resident memory.

    python -m benchmarks.dashboard [--samples 1000000] [--part 10000] [--keep FOLDER]

The run is written with the real schemas; captions, domains and scores are drawn from a fixed seed. The real command
(`assay serve`) is started, asked over HTTP on 127.0.0.1, and its memory read from /proc. Each page is asked once
cold, then `--times` times; `ms` is the median, `worst` the largest, `cpu_ms` processor time of all threads a request.
Thumbnails are not part of it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow as pa

from filters.reasons import PRECEDENCE, Reason
from filters.rules import primary_codes, reason_lists
from pipelines.run.directory import Run, create_run
from pipelines.run.parts import PartWriter, part_name
from pipelines.run.recipe import parse_recipe
from pipelines.run.schema import LEDGER, SAMPLES, groups_schema, scores_schema

RECIPE = "name: synthetic\ninput: {kind: webdataset, path: nowhere}\nrules: {nsfw: {high: 0.9}}\n"

SCORES = [
    pa.field(name, pa.float32(), metadata={"doc": "synthetic", "scorer": "synthetic"})
    for name in ("similarity", "aesthetic", "nsfw", "watermark", "technical_quality", "contrast", "sharpness")
] + [pa.field(name, pa.int32()) for name in ("min_side", "caption_words", "caption_characters")]

GROUPS = [("region", "synthetic"), ("gender_terms", "synthetic")]

#: Reasons of the synthetic ledger and the share of samples to which each applies.
DROPS = (
    (Reason.OPTED_OUT, 0.03),
    (Reason.LICENCE_MISSING, 0.05),
    (Reason.NETWORK_ERROR, 0.08),
    (Reason.IMAGE_TOO_SMALL, 0.1),
    (Reason.LOW_SIMILARITY, 0.2),
    (Reason.NSFW, 0.02),
    (Reason.NEAR_DUPLICATE, 0.12),
)

TEXT = (
    "a red old small large painting photo of the dog cat house tree river city market woman man child boat "
    "mountain sky night morning street window garden table blue green yellow with and under over near flower bird "
    "bridge church horse train road summer winter snow light shadow portrait landscape vintage poster"
)
WORDS = TEXT.split()


def make(folder: Path, samples: int, part_rows: int) -> Run:
    """Write a run of `samples` rows with samples, scores, groups and ledger parts."""
    run = create_run(str(folder), parse_recipe(RECIPE, "recipe", []))
    random = np.random.default_rng(0)
    for index, start in enumerate(range(0, samples, part_rows)):
        write_part(run, index, min(part_rows, samples - start), random)
    return run


def write_part(run: Run, index: int, rows: int, random: np.random.Generator) -> None:
    """Write one part of each artefact."""
    raw = random.bytes(16 * rows).hex()
    uids = pa.array([raw[32 * i : 32 * i + 32] for i in range(rows)])
    masks = np.zeros(rows, np.uint64)
    for reason, share in DROPS:
        masks |= np.where(random.random(rows) < share, np.uint64(1) << np.uint64(PRECEDENCE[reason]), np.uint64(0))
    kept = masks == 0
    words = random.integers(0, len(WORDS), (rows, 9))
    captions = [
        " ".join(WORDS[w] for w in line) + f" {number}" for line, number in zip(words, raw[:rows], strict=True)
    ]
    values = {
        "uid": uids,
        "key": pa.array([f"{index:05d}{i:06d}" for i in range(rows)]),
        "shard": pa.array([f"in-{index:05d}.tar"] * rows),
        "caption": pa.array(captions),
        "domain": pa.array([f"host{i}.example" for i in random.zipf(1.3, rows) % 50_000]),
        "creator": pa.array([f"artist {i}" for i in random.zipf(1.2, rows) % 200_000]),
        "licence": pa.array([f"CC-{i}" for i in random.integers(0, 5, rows)]),
    }
    _write(run, "samples", index, SAMPLES, values, rows, {"shard": f"in-{index}", "failures": {}})
    scores = {"uid": uids}
    for field in SCORES:
        whole = pa.types.is_integer(field.type)
        drawn = random.integers(1, 4000, rows) if whole else random.beta(2, 3, rows)
        scores[field.name] = pa.array(drawn).cast(field.type)
    _write(run, "scores", index, scores_schema(SCORES), scores, rows, {"failures": {}, "models": {}})
    groups = {"uid": uids}
    for name, _ in GROUPS:
        picked = random.integers(0, 60, rows)
        groups[name] = pa.array([[f"value {p}"] if p < 6 else [] for p in picked], pa.list_(pa.string()))
    _write(run, "groups", index, groups_schema(GROUPS), groups, rows, {})
    ledger = {
        "uid": uids,
        "decision": pa.array(np.where(kept, "kept", "dropped"))
        .dictionary_encode()
        .cast(LEDGER.field("decision").type),
        "primary_reason": primary_codes(masks),
        "reasons": reason_lists(masks),
        "weight": pa.array(np.ones(rows, np.float32), mask=~kept),
    }
    rule = {"name": "nsfw", "column": "nsfw", "reason": "NSFW", "high": 0.9}
    facts = {"kept": int(kept.sum()), "rules": [rule]}
    _write(run, "ledger", index, LEDGER, ledger, rows, facts)


def _write(
    run: Run,
    name: str,
    index: int,
    schema: pa.Schema,
    values: dict[str, pa.Array],
    rows: int,
    facts: dict[str, object],
) -> None:
    columns = [values.get(f.name, pa.nulls(rows, f.type)) for f in schema]
    columns = [c if c.type == f.type else c.cast(f.type) for c, f in zip(columns, schema, strict=True)]
    writer = PartWriter(run.store, part_name(name, index, ""), "synthetic")
    writer.add_table(part_name(name, index), pa.Table.from_arrays(columns, schema=schema))
    writer.commit(rows, facts)


def addresses(uid: str) -> dict[str, str]:
    """Return every page and filter that is measured, by name."""
    base = "/runs/synthetic"
    samples = f"{base}/samples"
    return {
        "runs": "/",
        "funnel": f"{base}/funnel",
        "health": f"{base}/health",
        "samples": samples,
        "sample": f"{samples}/{uid}",
        "filter reason": f"{samples}?reason=LOW_SIMILARITY",
        "filter any_reason": f"{samples}?any_reason=NEAR_DUPLICATE",
        "filter score range": f"{samples}?low.similarity=0.2&high.similarity=0.25&low.aesthetic=0.5",
        "filter caption, common word": f"{samples}?q=painting",
        "filter caption, no hit": f"{samples}?q=zeppelin",
        "filter domain": f"{samples}?domain=host7.example",
        "filter creator, rare": f"{samples}?creator=artist+77777",
        "filter group": f"{samples}?group.region=value+3",
        "sort": f"{samples}?sort=aesthetic&order=desc",
        "sort and filter": f"{samples}?sort=similarity&reason=NSFW&q=dog&low.nsfw=0.3",
        "thresholds": f"{base}/thresholds?rule=similarity&group=region",
        "thresholds, a bound moved": f"{base}/thresholds?rule=nsfw&high.nsfw=0.5&group=region",
        "duplicates": f"{base}/duplicates",
        "rights": f"{base}/rights",
        "search creator": f"{base}/search?creator=artist+77777",
        "search address": f"{base}/search?url=https%3A%2F%2Fhost7.example%2F1.png",
        "api samples": "/api/runs/synthetic/samples?sort=nsfw&order=desc&decision=kept",
    }


def ask(base: str, path: str) -> tuple[int, float, bytes]:
    """Return status, milliseconds and body of one request. Raises `HTTPError` for a page that is not shown."""
    start = time.perf_counter()
    with urllib.request.urlopen(base + path, timeout=300) as answer:
        body = answer.read()
    return answer.status, 1000 * (time.perf_counter() - start), body


def memory(pid: int) -> dict[str, float]:
    """Return the process's resident memory and its peak, MB."""
    found = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("VmRSS", "VmHWM"):
            found[name] = int(value.split()[0]) / 1024
    return found


def cpu(pid: int) -> float:
    """Return the seconds of processor time that the process has used; what counts where others work too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def say(**figures: object) -> None:
    """Print one JSON line."""
    print(json.dumps(figures), flush=True)


def measure(root: Path, samples: int, times: int) -> None:
    """Start the real server over `root`, make the index, and measure every page."""
    cache = root.parent / "cache"
    start_it = "from pipelines.commands.main import main; main()"
    command = [sys.executable, "-c", start_it, "serve", str(root), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "XDG_CACHE_HOME": str(cache)}) as server:
        try:
            assert server.stdout is not None
            base = server.stdout.readline().decode().strip().rstrip("/")
            start = time.perf_counter()
            while ask(base, "/runs/synthetic/funnel")[0] != 200:
                time.sleep(0.5)
            size = sum(path.stat().st_size for path in cache.rglob("*.duckdb"))
            say(
                samples=samples,
                index_s=round(time.perf_counter() - start, 1),
                index_mb=round(size / 1e6, 1),
                **{name: round(value, 1) for name, value in memory(server.pid).items()},
            )
            uid = json.loads(ask(base, "/api/runs/synthetic/samples?size=1&sort=nsfw")[2])["samples"][0]["uid"]
            for name, path in addresses(uid).items():
                cold, used = ask(base, path)[1], cpu(server.pid)
                warm = [ask(base, path)[1] for _ in range(times)]
                figures = {"ms": statistics.median(warm), "worst": max(warm), "cold": cold}
                figures["cpu_ms"] = 1000 * (cpu(server.pid) - used) / times
                say(samples=samples, page=name, **{key: round(value, 1) for key, value in figures.items()})
            say(samples=samples, **{name: round(value, 1) for name, value in memory(server.pid).items()})
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(20)


def main() -> None:
    """Make the run where it is not there yet, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--part", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="folder for the run and its index; kept, and used again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = (given.keep or Path(temporary)) / "runs"
        whole = -(-given.samples // given.part)
        if not (root / "synthetic" / part_name("ledger", whole - 1, ".done.json")).exists():
            start = time.perf_counter()
            make(root / "synthetic", given.samples, given.part)
            say(samples=given.samples, written_s=round(time.perf_counter() - start, 1))
        measure(root, given.samples, given.times)
    say(load=os.getloadavg(), cores=os.cpu_count(), own_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
