"""The dashboard over a synthetic ledger: milliseconds of each page and filter at the server, and resident memory.

    python -m benchmarks.dashboard [--samples 1000000] [--part 10000] [--keep FOLDER]

The run (`dashboard_run.py`) has the real schemas; captions, domains, scores, clusters and signals are drawn from a
fixed seed. The real command (`assay serve`) is started, asked over HTTP on 127.0.0.1, and its memory read from /proc.
Each page is asked once cold, then `--times` times; `ms` is the median, `worst` the largest, `cpu_ms` processor time of
all threads a request.
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

from benchmarks.dashboard_run import make
from pipelines.run.parts import part_name


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
        "a page of duplicates, by size": f"{base}/duplicates?sort=size",
        "one cluster": f"{base}/duplicates/77",
        "rights": f"{base}/rights",
        "signals that deny": f"{base}/rights/signals?channel=robots.txt&verdict=deny",
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
            start, used = time.perf_counter(), cpu(server.pid)
            while ask(base, "/runs/synthetic/funnel")[0] != 200:
                time.sleep(0.5)
            size = sum(path.stat().st_size for path in cache.rglob("*.duckdb"))
            say(
                samples=samples,
                index_s=round(time.perf_counter() - start, 1),
                index_cpu_s=round(cpu(server.pid) - used, 1),
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
