"""Look-up rate and memory of a large opt-out registry: `python -m benchmarks.registry`; one JSON line a figure.

Builds a registry of made-up entries by the same calls as `assay optout import`, then matches samples in a process of
its own, so that the memory that is reported is the matcher's. Every hundredth sample fits an entry, by each kind in
turn. `--folder` keeps the registry for the next time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from filters.optout.entries import Draft, Kind
from pipelines.registry import Registry, create_registry, open_registry
from pipelines.registry.index import open_index
from pipelines.registry.matcher import Matcher

#: Entries of a hundred, by kind.
SHARES = {Kind.URL: 45, Kind.SHA256: 30, Kind.CREATOR: 10, Kind.DOMAIN: 8, Kind.URL_PREFIX: 7}
_KINDS = [kind for kind, share in SHARES.items() for _ in range(share)]
_FIRST = ("Ana", "Jane", "Joao", "Li", "Maria", "Noor", "Otto", "Priya", "Sven", "Yuki")
_LAST = ("Almeida", "Brandt", "Castro", "Dimitrov", "Eriksen", "Fontaine", "Garcia", "Horvath", "Ito", "Jansen")


def value(kind: Kind, number: int) -> str:
    """Return the value of the made-up entry of that number."""
    if kind is Kind.SHA256:
        return hashlib.sha256(number.to_bytes(8, "big")).hexdigest()
    if kind is Kind.CREATOR:
        return f"{_FIRST[number % 10]} {_LAST[number // 10 % 10]} {_word(number // 100)}"
    if kind is Kind.DOMAIN:
        return f"{_word(number)}.example"
    if kind is Kind.URL_PREFIX:
        return f"https://host{number % 9973}.example.org/gallery/{number}/"
    return f"https://img{number % 9973}.example.net/works/{number % 977}/{number}.jpg"


def _word(number: int) -> str:
    letters = []
    while True:
        number, rest = divmod(number, 26)
        letters.append(chr(97 + rest))
        if not number:
            return "x" + "".join(letters)


def drafts(count: int) -> Iterator[Draft]:
    """Yield `count` made-up entries."""
    for number in range(count):
        kind = _KINDS[number % 100]
        yield Draft(kind, value(kind, number), (), "benchmark", "made up")


def pictures(count: int) -> Iterator[Draft]:
    """Yield `count` made-up PDQ entries."""
    codes = np.random.default_rng(1).integers(0, 256, (count, 32), dtype=np.uint8)
    for code in codes:
        yield Draft(Kind.PDQ, code.tobytes().hex())


def samples(count: int, entries: int) -> pa.Table:
    """Return made-up samples; one of a hundred fits an entry."""
    rows = []
    for at in range(count):
        url = f"https://cdn{at % 500}.photos.example.com/u/{at % 7919}/albums/{at % 31}/{at}.jpeg?w=1024&h=768"
        caption = f"A photo of a harbour in the evening, boats number {at}"
        if at % 3 == 0:
            caption += f" by {_FIRST[at % 10]} Nobody, oil on canvas"
        creator = "" if at % 4 else f"{_FIRST[at % 10]} Someone"
        digest = hashlib.sha256(b"sample" + at.to_bytes(8, "big")).hexdigest()
        if at % 100 == 0:
            number = (at * 7919 + at // 100) % entries
            kind = _KINDS[number % 100]
            text = value(kind, number)
            if kind is Kind.SHA256:
                digest = text
            elif kind is Kind.CREATOR:
                caption = f"Boats in the style of {text}"
            else:
                url = {Kind.DOMAIN: f"http://www.{text}/{at}.png", Kind.URL_PREFIX: f"{text}{at}.png"}.get(kind, text)
        rows.append((f"{at:032x}", url, None, url.split("/")[2], creator, caption, digest))
    names = ("uid", "url", "page_url", "domain", "creator", "caption", "sha256")
    return pa.table(
        {name: pa.array(column, pa.string()) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    )


def build(path: Path, entries: int) -> None:
    """Make the registry and its index; print how long it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    with create_registry(str(path)) as registry:
        registry.append(drafts(entries))
        say("build", wall, cpu, entries=entries, megabytes=path.stat().st_size >> 20)
        index(registry)
    with open_registry(str(path)) as registry:
        wall, cpu = time.perf_counter(), time.process_time()
        problems = registry.verify()
        say("verify", wall, cpu, entries=entries, problems=len(problems))


def index(registry: Registry) -> None:
    """Build the index; print how long it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = open_index(registry, registry.snapshot())
    say("index", wall, cpu, keys=sum(len(part.hashes) for part in found))


def match(path: str, entries: int, count: int, with_pictures: bool) -> None:
    """Match samples; print the rate, and the memory of this process."""
    with open_registry(path) as registry:
        before = _memory()
        wall, cpu = time.perf_counter(), time.process_time()
        matcher = Matcher(registry, registry.snapshot())
        say("open", wall, cpu)
        table = samples(count, entries)
        codes = np.random.default_rng(2).integers(0, 256, (count, 32), dtype=np.uint8)
        quality = pa.array(np.full(count, 100, dtype=np.int16))
        pdq = pa.table({"pdq": pa.array([code.tobytes() for code in codes], pa.binary(32)), "pdq_quality": quality})
        for turn in ("cold", "warm"):
            wall, cpu = time.perf_counter(), time.process_time()
            found = matcher.match(table, pdq if with_pictures else None)
            per_wall, per_cpu = count / (time.perf_counter() - wall), count / (time.process_time() - cpu)
            line = {
                "figure": f"match, {turn}" + (", with PDQ" if with_pictures else ""),
                "samples": count,
                "entries": matcher.snapshot.seq,
                "samples_per_second": round(per_wall),
                "samples_per_cpu_second": round(per_cpu),
                "rows": found.num_rows,
                "own_memory_mb": _memory() - before,
                "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
            }
            print(json.dumps(line), flush=True)


def _memory() -> int:
    """Return this process's own memory in MB: mapped files, which the system takes back at will, not counted."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) >> 10


def say(figure: str, wall: float, cpu: float, **more: float) -> None:
    """Print one figure with the time since `wall` and `cpu`."""
    seconds = {"seconds": round(time.perf_counter() - wall, 1), "cpu_seconds": round(time.process_time() - cpu, 1)}
    memory = {"peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10}
    print(json.dumps({"figure": figure, **more, **seconds, **memory}), flush=True)


def main() -> None:
    """Build, then match in a fresh process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=10_000_000)
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--pictures", type=int, default=10_000, help="PDQ entries of the second figure")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="assay-registry-") as scratch:
        path = (options.folder or Path(scratch)) / f"registry-{options.entries}.sqlite"
        if not path.exists():
            build(path, options.entries)
        for with_pictures in (False, True):
            if with_pictures:
                with open_registry(str(path)) as registry:
                    registry.append(pictures(options.pictures))
            process = context.Process(target=match, args=(str(path), options.entries, options.samples, with_pictures))
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit("the matching process failed")


if __name__ == "__main__":
    main()
