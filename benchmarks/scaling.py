"""Cost of a sample as a run grows: `python -m benchmarks.scaling`; one JSON line a figure, and a plot.

A cheap recipe (ingest, size, caption, SHA-256, pHash, duplicates, decide, shards, manifest, report) runs from its
first stage to its last over 1,000, 10,000 and (`--full`) 100,000 made pictures, with 1 and 2 worker processes, all in
one process that has loaded everything before. What a run over nothing would take is estimated from runs over one part
and ten small ones (with 2 workers that of their processes, too) and taken away; the rest is the cost of the samples,
their parts included. Flat: `worst_over_best` at most 1.10. `further` is what each sample more costs from one size to
the next, which no estimate of the start can change. With 1 worker the cost is processor time; with more it is time on
the wall, for not all of their processor time can be counted, and the plot leaves them out.

Pictures are 128 x 128 JPEGs, each the mean of a drawing of openclipart and a coloured cloud of its own, without which
the few drawings would be near-duplicates of each other; every twentieth is the one before it with one pixel changed.
`--keep FOLDER` keeps them; `--plot FILE.svg` draws.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import statistics
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.metered import ROOT, metered
from benchmarks.score_inputs import default_images, records

SIDE = 128
#: The runs that tell what starting up takes: pictures of a part, and parts of the larger one.
START, PARTS = 16, 10
#: Drawings that are blended, samples a shard of the input, and points of a cloud along a side.
DRAWINGS, SHARD, CLOUD = 400, 500, 6
#: One in so many is a near-duplicate of the one before it.
EVERY = 20
FLAT = 1.10


def drawings(images: Path) -> np.ndarray:
    """Return drawings on white, uint8 (n, SIDE, SIDE, 3), n at most `DRAWINGS`."""
    found = []
    for record in records(images, DRAWINGS):
        with Image.open(io.BytesIO(record.data)) as image:
            small = image.convert("RGBA").resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
        ground = Image.new("RGBA", small.size, "white")
        ground.alpha_composite(small)
        found.append(np.asarray(ground.convert("RGB")))
    return np.stack(found)


def made(base: np.ndarray) -> Iterator[np.ndarray]:
    """Yield pictures without end, in an order of a fixed seed: (SIDE, SIDE, 3), uint8."""
    draw, picture = np.random.default_rng(10), base[0]
    for number in itertools.count():
        if number % EVERY == EVERY - 1:
            picture = picture.copy()
            picture[SIDE // 2, SIDE // 2] ^= 255
        else:
            cloud = Image.fromarray(draw.integers(0, 256, (CLOUD, CLOUD, 3), dtype=np.uint8))
            # the mean without overflow: halves are dropped
            picture = base[number % len(base)] // 2 + np.asarray(cloud.resize((SIDE, SIDE))) // 2
        yield picture


def write_input(images: Path, folder: Path, count: int, each: int = SHARD) -> Path:
    """Write `count` pictures with captions in shards of `each`, unless they are there; return their folder."""
    place = folder / f"in-{count}-{each}"
    done = place / "done"
    if done.is_file():
        return place
    place.mkdir(parents=True, exist_ok=True)
    source = enumerate(itertools.islice(made(drawings(images)), count))
    for shard in range(-(-count // each)):
        with tarfile.open(place / f"{shard:05d}.tar", "w") as tar:
            for number, pixels in itertools.islice(source, each):
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
                for suffix, data in (("jpg", buffer.getvalue()), ("txt", b"drawing number %d" % number)):
                    member = tarfile.TarInfo(f"{number:07d}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    done.touch()
    return place


def runs(sources: list[Path], folder: Path, workers: int) -> list[dict[str, float]]:
    """Run the recipe over each folder of shards, in one process; return what each took."""
    folder.mkdir()
    command = [sys.executable, "-m", "benchmarks.scaling_child", str(folder), str(workers), *map(str, sources)]
    usage = metered(command, folder / "said", {"PYTHONPATH": str(ROOT)}, limit=4 * 3600)
    found: list[dict[str, float]] = [json.loads(line) for line in usage.output.splitlines()]
    if len(found) < len(sources):
        raise SystemExit(f"assay run failed (exit {usage.status}): {usage.errors.strip()[-500:]}")
    return found


def measured(sizes: list[int], workers: int, inputs: dict[int, Path], work: Path, command: str) -> dict[str, object]:
    """Run every size with so many workers; print a line a size, return the line of the growth."""
    order = [START, *[START, PARTS * START] * 3, *(size for size in sizes for _ in range(repeats(size)))]
    _, *rest = runs([inputs[size] for size in order], work / f"runs-{workers}", workers)
    start = {name: started(rest, name) for name in ("cpu_seconds", "seconds")}
    points, who = [], f"{workers} worker{'s' * (workers > 1)}"
    for size in sizes:
        same = [row for row in rest if row["samples"] == size]
        if {row["kept"] for row in same} != {same[0]["kept"]}:
            raise SystemExit(f"the same {size} samples gave different decisions: {same}")
        taken = {name: statistics.median(row[name] for row in same) for name in ("cpu_seconds", "seconds")}
        point = {
            "samples": size,
            "kept": same[0]["kept"],
            **{name: round(value, 2) for name, value in taken.items()},
            "start_cpu_seconds": round(start["cpu_seconds"], 2),
            "start_seconds": round(start["seconds"], 2),
            "cpu_ms_a_sample": round(1e3 * (taken["cpu_seconds"] - start["cpu_seconds"]) / size, 3),
            "ms_a_sample": round(1e3 * (taken["seconds"] - start["seconds"]) / size, 3),
            "peak_mb": same[-1]["peak_mb"],
            "runs": len(same),
        }
        if workers > 1:  # processes that outlive a run are not counted in its processor time
            point |= dict.fromkeys(("cpu_seconds", "start_cpu_seconds", "cpu_ms_a_sample"))
        points.append(point)
        line = {"figure": f"a run of {size} samples, {who}", "workers": workers}
        print(json.dumps({**line, **point, "command": command}), flush=True)
    name = "cpu_ms_a_sample" if workers == 1 else "ms_a_sample"
    costs = [point[name] for point in points]
    ratio = round(max(costs) / min(costs), 3) if min(costs) > 0 else None
    growth = {"figure": f"cost of a sample, {who}", "workers": workers, "samples": sizes, name: costs}
    growth |= {"worst_over_best": ratio, "last_over_first": round(costs[-1] / costs[0], 3) if costs[0] > 0 else None}
    whole = [point[name.replace("ms_a_sample", "seconds")] for point in points]
    growth["further"] = [
        round(1e3 * (more - less) / (size - before), 3)
        for (less, more), (before, size) in zip(itertools.pairwise(whole), itertools.pairwise(sizes), strict=True)
    ]
    print(json.dumps({**growth, "target": FLAT, "command": command}), flush=True)
    return growth


def started(rows: list[dict[str, float]], name: str) -> float:
    """Return what a run over nothing would take, by the runs over one part and over `PARTS` parts of `START` each."""
    one, many = (
        statistics.median(row[name] for row in rows if row["samples"] == size) for size in (START, PARTS * START)
    )
    return one - (many - one) / (PARTS - 1)


def repeats(size: int) -> int:
    """Return how often a size is run: small ones are over before a busy machine evens out."""
    return 3 if size <= 2000 else 1


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of shards or pictures; default: the openclipart corpus")
    parser.add_argument("--sizes", type=int, nargs="+", help="samples of each run; default: 1000 and 10000")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--full", action="store_true", help="100,000 samples too")
    parser.add_argument("--keep", type=Path, help="folder of the made pictures; kept, and used again")
    parser.add_argument("--plot", type=Path, help="SVG to draw")
    options = parser.parse_args()
    sizes = sorted(set(options.sizes or [1000, 10_000, *([100_000] if options.full else [])]))
    if sizes[0] <= PARTS * START or min(options.workers) < 1:
        parser.error(f"--sizes are above {PARTS * START}, --workers 1 or more")
    if options.plot and 1 not in options.workers:
        parser.error("--plot draws processor time, which is counted with 1 worker alone: add 1 to --workers")
    command = " ".join(["python -m benchmarks.scaling", *sys.argv[1:]])
    with tempfile.TemporaryDirectory(prefix="assay-scaling-") as scratch:
        work = Path(scratch)
        images = options.images or default_images()
        place = options.keep or work
        inputs = {size: write_input(images, place, size, START) for size in (START, PARTS * START)}
        inputs |= {size: write_input(images, place, size) for size in sizes}
        lines = [measured(sizes, workers, inputs, work, command) for workers in options.workers]
    if options.plot:
        from benchmarks.scaling_plot import draw

        options.plot.parent.mkdir(parents=True, exist_ok=True)
        options.plot.write_text(draw([line for line in lines if "cpu_ms_a_sample" in line]), encoding="utf-8")


if __name__ == "__main__":
    main()
