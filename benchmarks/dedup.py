"""Deduplication: exactness, quality, speed and growth: `python -m benchmarks.dedup`; one JSON line a figure.

`--only exact|codes|embeddings|growth|quality|rival|rival-search` runs one part. Sizes are small without `--full`.
Each timed search runs in a process of its own, so that the memory that is reported is its own. The `rival` parts need
the Python of an environment with imagededup: `--imagededup-python`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.dedup_data import clustered_codes, embeddings, random_codes
from benchmarks.score_inputs import default_images

_GIB = 1 << 30
_PARTS = ("exact", "codes", "embeddings", "growth", "quality", "rival", "rival-search")


def say(figure: str, **values: Any) -> None:
    """Print one figure."""
    print(json.dumps({"figure": figure, **values, "command": "python -m benchmarks.dedup " + " ".join(sys.argv[1:])}))
    sys.stdout.flush()


def alone(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Run `work` in a process of its own; add its wall and CPU seconds and its peak memory in GiB."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_timed, (work, arguments))


def _timed(work: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]) -> dict[str, Any]:
    found = work(*arguments)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {**found, "peak_gib": round(used.ru_maxrss * 1024 / _GIB, 2)}


def _clocked(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    wall, cpu = time.perf_counter(), time.process_time()
    found = call()
    took = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    return found, {name: round(value, 2) for name, value in took.items()}


def exact(count: int) -> None:
    """The search finds what comparing everything finds."""
    from filters.duplicates_hamming import Band, bands, within

    for words, radius in ((1, 4), (4, 31)):
        for kind, make in (("random", random_codes), ("clustered", clustered_codes)):
            codes = np.unique(make(count, words), axis=0)
            units = bands(codes, radius)
            found, took = _clocked(lambda c=codes, r=radius, u=units: [within(c, r, band) for band in u])
            every, brute = _clocked(lambda c=codes, r=radius: within(c, r, Band(0, 0, 0)))
            pairs = {key for part in found for key in _keys(part)}
            say(
                f"exact {64 * words} bits r={radius} {kind}",
                codes=len(codes),
                bands=units[0].count,
                pairs=len(every),
                equal=pairs == set(_keys(every)) and len(pairs) == sum(map(len, found)),
                times_faster_than_all=round(brute["cpu_seconds"] / max(took["cpu_seconds"], 1e-3), 1),
            )


def _keys(pairs: Any) -> list[int]:
    low, high = np.minimum(pairs.a, pairs.b), np.maximum(pairs.a, pairs.b)
    keys: list[int] = (low << np.int64(32) | high).tolist()
    return keys


def code_search(count: int, words: int, radius: int) -> dict[str, Any]:
    """Search clustered codes; return times and the number of edges."""
    from filters.duplicates import cluster, hamming_edges

    codes = clustered_codes(count, words)
    valid = np.ones(count, dtype=bool)
    edges, took = _clocked(lambda: hamming_edges(codes, valid, radius))
    _, more = _clocked(lambda: cluster(count, [edges]))
    return {"edges": len(edges), **took, "union_find_seconds": more["seconds"]}


def embedding_search(count: int, dimension: int, queries: int) -> dict[str, Any]:
    """Search embeddings for pairs over 0.95; return times, and recall of `queries` samples' pairs."""
    import faiss  # noqa: F401 -- before the clock starts, or the smallest size would be its import

    from filters.semantic import semantic_edges, unit

    vectors = embeddings(count, dimension)
    edges, took = _clocked(lambda: semantic_edges(vectors, 0.95))
    picked = np.sort(np.random.default_rng(9).choice(count, min(queries, count), replace=False))
    asked, found = unit(vectors[picked]), set((edges.a * count + edges.b).tolist())
    true = hits = 0
    for start in range(0, count, 8192):
        a, b = np.nonzero(asked @ unit(vectors[start : start + 8192]).T >= np.float32(0.95))
        one, other = picked[a], b + start
        low, high = np.minimum(one, other), np.maximum(one, other)
        keys = (low * count + high)[low != high].tolist()
        true += len(keys)
        hits += sum(key in found for key in keys)
    return {"edges": len(edges), **took, "true": true, "recall": round(hits / max(true, 1), 5)}


def growth(counts: list[int], dimension: int) -> None:
    """How the cost grows: the exponent between the smallest and the largest size, by CPU seconds."""
    for name, work, rest in (("codes", code_search, (1, 4)), ("embeddings", embedding_search, (dimension, 5000))):
        rows = []
        for count in counts:
            rows.append(alone(work, count, *rest))
            say(f"growth {name} {count}", **rows[-1])
        times = [row["cpu_seconds"] for row in rows]
        exponent = float(np.log(times[-1] / times[0]) / np.log(counts[-1] / counts[0]))
        say(f"growth {name}", counts=counts, cpu_seconds=times, exponent=round(exponent, 3))


def quality_set(pictures: int, folder: Path, corpus: Path, shared: Path) -> Path:
    """Make the pictures with known duplicates, unless they are there; return where the truth stands."""
    from benchmarks.dedup_pictures import distinct, openclipart, photos, write_set

    truth = folder / "truth.csv"
    if truth.exists():
        return truth
    drawings = distinct(openclipart(corpus), pictures)
    return write_set(folder, [*drawings, *distinct(photos(shared / "flickr8k_sample"), pictures)])


def quality(folder: Path, truth: Path) -> None:
    """Recall and precision by transformation and method, for single methods and the default."""
    from benchmarks.dedup_quality import quality_figures

    for name, values in quality_figures(folder, truth).items():
        say(name, **values)


def rival(python: str, folder: Path) -> None:
    """Hash a folder by imagededup and by the same steps of ours, in turns; in one process, then in two."""
    for workers in (0, 2):
        figure = f"hashing beside imagededup, {workers or 1} process{'es' if workers else ''}"
        if not Path(python).is_file():
            say(figure, skipped=f"not installed: no {python} with the package imagededup")
            continue
        theirs, ours = [], []
        for _ in range(3):
            theirs.append(_child(python, "hash", str(folder), str(workers)))
            ours.append(alone(own_hashing, str(folder), workers))
        best = [min(row["cpu_seconds"] for row in rows) for rows in (theirs, ours)]
        say(
            figure,
            times_as_fast=round(best[0] / best[1], 2),
            times_as_fast_by_clock=round(
                min(row["seconds"] for row in theirs) / min(row["seconds"] for row in ours), 2
            ),
            theirs=theirs,
            ours=ours,
        )


def own_hashing(folder: str, workers: int) -> dict[str, Any]:
    """Hash the pictures of a folder as imagededup does: pHash alone, in this process or in `workers`."""
    # Before the clock starts, as imagededup is imported before its own does.
    importlib.import_module("filters.decoding")
    importlib.import_module("filters.scorers.hashes")
    paths = sorted(path for path in Path(folder).iterdir() if path.suffix in (".png", ".jpg"))
    batches = [paths[start : start + 32] for start in range(0, len(paths), 32)]

    def hashed() -> int:
        if not workers:
            return sum(map(_hashed, batches))
        with multiprocessing.get_context("fork").Pool(workers) as pool:
            return sum(pool.imap_unordered(_hashed, batches))

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    pictures, took = _clocked(hashed)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took["cpu_seconds"] += round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2)
    return {"pictures": pictures, **took}


def _hashed(paths: list[Path]) -> int:
    from filters.decoding import decode
    from filters.scorers.hashes import phashes

    return len(phashes([decode(path.read_bytes()) for path in paths]))


def rival_search(python: str, count: int) -> None:
    """Search codes by imagededup and by ours; both are held against comparing everything."""
    from filters.duplicates import firsts, hamming_edges
    from filters.duplicates_hamming import Band, within

    figure = f"search of {count} codes beside imagededup"
    if not Path(python).is_file():
        say(figure, skipped=f"not installed: no {python} with the package imagededup")
        return
    codes = clustered_codes(count, 1)
    with tempfile.TemporaryDirectory() as scratch:
        path, pairs = Path(scratch) / "codes.npy", Path(scratch) / "pairs.npy"
        np.save(path, codes)
        theirs = _child(python, "search", str(path), "4", str(pairs))
        found = np.load(pairs)
        ours = alone(code_search, count, 1, 4)
    valid = np.ones(count, dtype=bool)
    edges, first = hamming_edges(codes, valid, 4), firsts(codes, valid)
    true = within(codes, 4, Band(0, 0, 0))
    # equal codes are a star and stand for each other in ours
    a, b = first[true.a], first[true.b]
    ours["recall"] = round(float(((a == b) | _among(a, b, edges.a, edges.b, count)).mean()), 5)
    theirs["recall"] = round(float(_among(true.a, true.b, found[:, 0], found[:, 1], count).mean()), 5)
    say(
        figure,
        times_as_fast=round(theirs["cpu_seconds"] / max(ours["cpu_seconds"], 0.01), 1),
        true_pairs=len(true),
        theirs=theirs,
        ours=ours,
    )


def _among(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray, count: int) -> np.ndarray:
    """Return which of the pairs a, b are among the pairs c, d, in whichever direction."""
    pairs, others = (np.minimum(x, y) * count + np.maximum(x, y) for x, y in ((a, b), (c, d)))
    return np.isin(pairs, others)


def _child(python: str, *arguments: str) -> dict[str, Any]:
    child = Path(__file__).with_name("imagededup_child.py")
    done = subprocess.run([python, str(child), *arguments], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Run the parts that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=_PARTS)
    parser.add_argument("--full", action="store_true", help="the sizes of the table in README.md")
    parser.add_argument("--pictures", type=int, help="drawings, and photos, of the quality set")
    parser.add_argument("--folder", type=Path, help="where the quality set stands, or is made")
    parser.add_argument(
        "--corpus", type=Path, help="default: the openclipart corpus, where the demo or a test keeps it"
    )
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument("--imagededup-python")
    arguments = parser.parse_args()
    full, only = arguments.full, arguments.only
    if only in (None, "exact"):
        exact(100_000 if full else 10_000)
    if only in (None, "codes"):
        count = 1_000_000 if full else 100_000
        for words, radius in ((1, 4), (4, 31)):
            say(
                f"all pairs of {count} codes of {64 * words} bits, r={radius}",
                **alone(code_search, count, words, radius),
            )
    if only in (None, "embeddings"):
        count = 1_000_000 if full else 20_000
        say(f"pairs over 0.95 of {count} embeddings of 512", **alone(embedding_search, count, 512, 5000))
    if only in (None, "growth"):
        growth([10_000, 100_000, 1_000_000] if full else [5_000, 20_000], 512 if full else 128)
    folder = arguments.folder or Path(tempfile.gettempdir()) / "assay-dedup-quality"
    if only in (None, "quality", "rival"):
        corpus = arguments.corpus or default_images()
        truth = quality_set(arguments.pictures or (500 if full else 50), folder, corpus, arguments.shared)
    if only in (None, "quality"):
        quality(folder, truth)
    if only in (None, "rival") and arguments.imagededup_python:
        rival(arguments.imagededup_python, folder)
    if only in (None, "rival-search") and arguments.imagededup_python:
        rival_search(arguments.imagededup_python, 100_000 if full else 20_000)


if __name__ == "__main__":
    main()
