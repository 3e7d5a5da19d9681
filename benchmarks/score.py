"""Measure the score stage: `python -m benchmarks.score`; one JSON line a figure.

What is compared runs in turns (A B A B ...) in one process, so that a busy machine hurts both sides alike; a ratio is
the median over the turns. Weights are random with a fixed seed: their speed is that of real ones, their scores mean
nothing. The model is ViT-B-32 by default. Sizes are small (about five minutes on two busy cores); `--full` takes more.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks import score_inputs as inputs
from filters.decoding import decode
from filters.encoders.openclip import OpenClipEncoder, normalised, shrink
from filters.encoders.openclip_load import from_file
from filters.encoders.towers import Towers
from filters.encoders.uri import load_encoder
from filters.registry import DEFAULT
from filters.scorers.hashes import HashScorer
from filters.scorers.technical import TechnicalScorer
from filters.scoring import Batch
from pipelines.engine import PLAIN, Engine, run_parts
from pipelines.jobs import ingest
from pipelines.jobs.score import BATCH, score_work
from pipelines.run.directory import Run, create_run
from pipelines.run.recipe import load_recipe

CHEAP = ("size", "hashes", "caption", "language", "technical")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Settings:
    """What to measure on, and how long."""

    images: Path
    arch: str
    work: Path
    weights: Path
    rounds: int
    batches: int
    memory: tuple[int, int]
    full: bool
    command: str

    def uri(self, precision: str) -> str:
        """Return the made model's URI."""
        return f"file:{self.weights}?arch={self.arch}&precision={precision}"


def emit(settings: Settings, name: str, value: object, unit: str, **more: object) -> None:
    """Print one figure."""
    rounded = round(value, 4) if isinstance(value, float) else value
    print(json.dumps({"name": name, "value": rounded, "unit": unit, **more, "command": settings.command}), flush=True)


def timed(action: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds that `action` takes."""
    start = clock()
    action()
    return clock() - start


def in_turns(rounds: int, sides: dict[str, Callable[[int], object]]) -> dict[str, list[float]]:
    """Return the seconds of each side in each round; the sides run one after the other within a round."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds):
        for name, side in sides.items():
            seconds[name].append(timed(lambda side=side, turn=turn: side(turn)))
    return seconds


def ratios(over: list[float], under: list[float]) -> dict[str, object]:
    """Return the median and the range of `over / under`, round by round."""
    found = [a / b for a, b in zip(over, under, strict=True)]
    return {"value": statistics.median(found), "lowest": round(min(found), 3), "highest": round(max(found), 3)}


def make_run(settings: Settings, name: str, scorers: tuple[str, ...], precision: str, shards: Path) -> Run:
    """Return an ingested run over `shards`."""
    recipe = settings.work / f"{name}.yaml"
    model = settings.uri(precision) if precision else "builtin:mini"
    content = {"version": 1, "name": name, "input": {"kind": "webdataset", "path": str(shards)}}
    content |= {"scorers": list(scorers), "similarity": {"model": model}, "rules": {"min_side": {"low": 1}}}
    content["scorers"] = list(dict.fromkeys(("size", *scorers)))
    recipe.write_text(json.dumps(content))
    run = create_run(str(settings.work / name), load_recipe(recipe))
    ingest.ingest(run, Engine(PLAIN))
    return run


class Bare:
    """A model alone: pixels and tokens in memory, one batch a thread, as many threads as the score stage takes."""

    def __init__(self, pixels: Tensor, tokens: Tensor) -> None:
        self._pixels, self._tokens = pixels.split(BATCH), tokens.split(BATCH)
        self._pool = ThreadPoolExecutor(CORES, initializer=torch.set_num_threads, initargs=(1,))

    def run(self, images: Callable[[Tensor], object] | None, texts: Callable[[Tensor], object] | None) -> None:
        """Encode everything once."""

        def one(batch: int) -> None:
            with torch.inference_mode():
                if images:
                    images(self._pixels[batch])
                if texts:
                    texts(self._tokens[batch])

        list(self._pool.map(one, range(len(self._pixels))))


def towers_of(encoder: object) -> Towers:
    """Return the towers that an encoder runs."""
    assert isinstance(encoder, OpenClipEncoder)
    return encoder._towers


def stage(settings: Settings, found: list[inputs.Record]) -> None:
    """(a) the score stage over the bare model, and (b) the precisions over float32."""
    surface = from_file(settings.weights, settings.arch)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    own = surface.model.eval().requires_grad_(False).to(device)
    size = settings.batches * BATCH
    pictures = [decode(record.data).image for record in found[:size]]
    captions = [record.caption for record in found[:size]]
    pixels = torch.stack([surface.preprocess(shrink(image, surface.side, surface.crops)) for image in pictures])
    tokens = surface.tokenizer(captions)
    bare = Bare(pixels, tokens)
    towers = {precision: towers_of(load_encoder(settings.uri(precision))) for precision in ("fp32", "bf16", "int8")}
    shards = settings.work / "stage"
    inputs.write_shards(found[:size], shards, size * (settings.rounds + 1), size)
    whole = {"fp32": lambda rows: own.encode_text(rows.to(device)).cpu(), "int8": _every_place(towers["int8"])}
    bare_images = {"fp32": lambda rows: own.encode_image(rows.to(device)).cpu(), "int8": towers["int8"].images}
    for precision in ("fp32", "int8"):
        for scorers in [("similarity",), DEFAULT] if settings.full else [("similarity",)]:
            run = make_run(settings, f"{precision}-{len(scorers)}", scorers, precision, shards)
            work = score_work(run, Engine(PLAIN))
            run_parts(Engine(PLAIN), "score", work, [0])  # loads the model
            cut, images = towers[precision], bare_images[precision]
            seconds = in_turns(
                settings.rounds,
                {
                    "stage": lambda turn, work=work: run_parts(Engine(PLAIN), "score", work, [turn + 1]),
                    "whole": lambda turn, images=images, p=precision: bare.run(images, whole[p]),
                    "cut": lambda turn, cut=cut: bare.run(cut.images, cut.texts),
                },
            )
            name = f"score_stage_over_bare_{precision}" + ("" if len(scorers) == 1 else "_all_scorers")
            rate = round(size / statistics.median(seconds["stage"]), 1)
            more = {"rate": rate, "samples": size, "scorers": list(scorers), "threads": CORES}
            to = "the bare model on all 77 text places"
            more["target"] = 0.90
            emit(settings, name, unit="ratio", to=to, **ratios(seconds["whole"], seconds["stage"]), **more)
            to = "the bare model on texts cut at their end, as the stage runs it"
            more["target"] = None
            emit(settings, f"{name}_cut", unit="ratio", to=to, **ratios(seconds["cut"], seconds["stage"]), **more)
    _precisions(settings, bare, towers, pixels, tokens)


def _every_place(towers: Towers) -> Callable[[Tensor], object]:
    """Return int8's text tower without the cut at the end mark."""
    from filters.encoders.int8 import Int8Towers

    assert isinstance(towers, Int8Towers)
    return lambda rows: [towers._run(towers._text, row[None]) for row in rows]


def _precisions(settings: Settings, bare: Bare, towers: dict[str, Towers], pixels: Tensor, tokens: Tensor) -> None:
    """(b) pairs of a picture and a text, cut at its end on both sides, and each alone."""
    sides: dict[str, Callable[[int], object]] = {}
    for precision, tower in towers.items():
        sides[f"{precision} pictures"] = lambda turn, tower=tower: bare.run(tower.images, None)
        sides[f"{precision} texts"] = lambda turn, tower=tower: bare.run(None, tower.texts)
    seconds = in_turns(settings.rounds, sides)
    for name in towers:
        both = zip(seconds[f"{name} pictures"], seconds[f"{name} texts"], strict=True)
        seconds[f"{name} pairs"] = [pictures + texts for pictures, texts in both]
    vectors = {
        name: {"pictures": normalised(tower.images(pixels)), "texts": normalised(tower.texts(tokens))}
        for name, tower in towers.items()
    }
    for name in ("int8", "bf16"):
        cosines = {kind: (rows * vectors["fp32"][kind]).sum(axis=1) for kind, rows in vectors[name].items()}
        cosines["pairs"] = np.concatenate(list(cosines.values()))
        for kind, found in cosines.items():
            emit(
                settings,
                f"{name}_over_fp32_{kind}",
                unit="ratio",
                to="torch fp32",
                target=2.0 if kind == "pairs" else None,
                **ratios(seconds[f"fp32 {kind}"], seconds[f"{name} {kind}"]),
                min_cosine=round(float(found.min()), 5),
                mean_cosine=round(float(found.mean()), 5),
            )


def cheap(settings: Settings, found: list[inputs.Record], kind: str) -> None:
    """(c) SHA-256, pHash and the technical scores over decoding alone, on one thread."""
    scorers = (HashScorer(), TechnicalScorer())
    for scorer in scorers:
        scorer.load()
    chunks = [found[i : i + BATCH] for i in range(0, len(found), BATCH)]
    alone, more = [], []
    for turn in range(settings.rounds * len(chunks)):
        chunk = chunks[turn % len(chunks)]
        pictures = []
        alone.append(timed(lambda chunk=chunk, p=pictures: p.extend(decode(r.data) for r in chunk), time.process_time))
        batch = Batch(["0" * 32] * len(chunk), [r.caption for r in chunk], [r.data for r in chunk], pictures)

        def score(batch: Batch = batch) -> None:
            for data in batch.data:
                hashlib.sha256(data).hexdigest()
            for scorer in scorers:
                scorer.score(batch)

        more.append(timed(score, time.process_time))
    pixels = round(statistics.median(p.width * p.height for p in (decode(r.data) for r in found)))
    emit(
        settings,
        f"cheap_scores_over_decode_{kind}",
        sum(more) / sum(alone),
        "ratio",
        to="decoding alone, CPU seconds",
        target=0.20,
        pictures=len(found),
        median_pixels=pixels,
        decode_ms=round(1e3 * sum(alone) / settings.rounds / len(found), 2),
    )


def memory(settings: Settings, found: list[inputs.Record]) -> None:
    """(d) peak memory of the score stage on few and on ten times as many samples."""
    small, large = settings.memory
    peaks = {}
    for count in settings.memory:
        shards = settings.work / f"memory-{count}"
        inputs.write_shards(found[:small], shards, count, 500)
        run = make_run(settings, f"memory-run-{count}", CHEAP, "", shards)
        start = "import sys; from pipelines.commands.main import main; sys.exit(main())"
        arguments = [sys.executable, "-c", start, "score", str(run.store.url), "--runner", PLAIN]
        child = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=inputs.ROOT)
        assert child.stderr is not None
        errors = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        if status:
            raise SystemExit(f"assay score failed: {errors.decode()[-2000:]}")
        peaks[count] = usage.ru_maxrss / 1024
    emit(
        settings,
        "score_peak_memory",
        peaks[large] / peaks[small],
        "ratio",
        to=f"{small} samples",
        target="0.90 to 1.10",
        samples=large,
        megabytes={str(count): round(peak) for count, peak in peaks.items()},
    )


def rival(settings: Settings, found: list[inputs.Record], python: Path | None) -> None:
    """(e) clip-retrieval's inference on the same shards with the same weights, float32, pictures and captions."""
    name = "score_stage_over_clip_retrieval"
    if python is None or not python.is_file():
        emit(settings, name, None, "ratio", skipped="no --clip-retrieval-python with the package clip-retrieval")
        return
    suffix = found[0].suffix
    same = [record for record in found if record.suffix == suffix][: 2 * settings.batches * BATCH]
    half, size = len(same) // 2, len(same) // 2 * 2
    shards = settings.work / "rival"
    inputs.write_shards(same, shards, size * (settings.rounds + 1), half)
    run = make_run(settings, "rival-run", ("similarity",), "fp32", shards)
    work = score_work(run, Engine(PLAIN))
    run_parts(Engine(PLAIN), "score", work, [0, 1])
    ours, theirs = [], []
    for turn in range(1, settings.rounds + 1):
        parts = [2 * turn, 2 * turn + 1]
        ours.append(timed(lambda parts=parts: run_parts(Engine(PLAIN), "score", work, parts)))
        pair = f"{shards}/{{{parts[0]:05d}..{parts[1]:05d}}}.tar"
        script = Path(__file__).with_name("clip_retrieval_child.py")
        arguments = [str(python), str(script), pair, suffix[1:], str(settings.weights), settings.arch, str(half)]
        done = subprocess.run(arguments, capture_output=True, text=True)
        if done.returncode:
            emit(settings, name, None, "ratio", skipped=f"clip-retrieval failed: {done.stderr.strip()[-300:]}")
            return
        theirs.append(json.loads(done.stdout.strip().splitlines()[-1])["seconds"])
    rate = round(size / statistics.median(ours), 1)
    to = "clip-retrieval's clip_inference, batch 32, 2 workers, float32"
    emit(settings, name, unit="ratio", to=to, **ratios(theirs, ours), rate=rate, samples=size)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="folder of shards or pictures; default: the openclipart corpus")
    parser.add_argument("--arch", default="ViT-B-32", help="architecture of open_clip")
    parser.add_argument("--only", choices=("stage", "cheap", "memory", "rival"), action="append")
    parser.add_argument("--clip-retrieval-python", type=Path, help="interpreter that has the package clip-retrieval")
    parser.add_argument("--full", action="store_true", help="more rounds, all scorers, 2,000 and 20,000 samples")
    options = parser.parse_args()
    only = options.only or ("stage", "cheap", "memory", "rival")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="assay-score-") as folder:
        work = Path(folder)
        settings = Settings(
            images=options.images or inputs.default_images(),
            arch=options.arch,
            work=work,
            weights=work / "weights.safetensors",
            rounds=7 if options.full else 3,
            batches=4 if options.full else 2,
            memory=(2000, 20_000) if options.full else (500, 2000),
            full=options.full,
            command=" ".join(["python -m benchmarks.score", *sys.argv[1:]]),
        )
        os.environ.setdefault("ASSAY_CACHE", folder)  # the made weights' int8 towers are of no use to anyone later
        found = inputs.records(settings.images, settings.memory[0])
        if "stage" in only or "rival" in only:
            inputs.made_weights(settings.arch, settings.weights)
        if "stage" in only:
            stage(settings, found)
        if "cheap" in only:
            cheap(settings, found[:256], found[0].suffix[1:])
            if inputs.photos() and settings.images != inputs.photos():
                cheap(settings, inputs.records(inputs.photos(), 256), "jpeg_photos")
        if "memory" in only:
            memory(settings, found)
        if "rival" in only:
            rival(settings, found, options.clip_retrieval_python)


if __name__ == "__main__":
    main()
