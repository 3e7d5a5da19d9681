"""Measure few-step students and control networks: `python -m benchmarks.few_steps`; one JSON line a figure.

Teacher and student sample the same prompts with the same seeds: captions of the dataset that both were trained on.
The Fréchet distance is of the features of the dataset's own encoder, against the dataset's pictures at the model's
size; it is no FID, and with few pictures it is biased, so `floor` says what as many real pictures come to. Similarity
is the encoder's cosine of picture and prompt. Seconds are CPU time of one thread, loading and decoding left out.

A control network gets the edges of the dataset's pictures; the agreement of the output's edges with them is an F1
measure with one pixel of reach (training/methods/edges.py), with and without control.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from filters.encoders.base import Encoder
from filters.encoders.uri import load_encoder
from pipelines.run.directory import Run, open_run
from training.config import parse_config
from training.contents import CONFIG
from training.data.loader import Batches
from training.data.samples import ShardSet
from training.evaluation.frechet import frechet_distance, split_baseline
from training.methods.edges import agreement, condition, edges
from training.models.control import Control
from training.sampling.control import load_control
from training.sampling.model import Model, Running, load_model, newest
from training.sampling.sample import Request, Sampler, Settings
from training.sampling.schedulers import KINDS, checked_kind, default_guidance, default_kind

#: Samplers tried for the teacher at few steps.
_QUICK = ("ddim", "dpm++", "unipc", "flow-euler")

_BATCH = 16


@dataclass(frozen=True)
class Real:
    """The dataset's pictures as the model saw them, uint8 (n, h, w, 3), their captions and features (n, d)."""

    pictures: np.ndarray
    captions: list[str]
    features: np.ndarray


@dataclass(frozen=True)
class Bench:
    """What every figure is measured with; `count` pictures each, the places of whose captions are `chosen`."""

    encoder: Encoder
    real: Real
    chosen: np.ndarray
    guidance: float

    def prompts(self) -> list[str]:
        """Return the prompts."""
        return [self.real.captions[at] for at in self.chosen]

    def figure(self, what: str, model: Model, scheduler: str, steps: int, guidance: float) -> dict[str, Any]:
        """Sample and measure."""
        sampler = Sampler(model, Settings(scheduler, steps, guidance, model.side, model.side))
        pictures, seconds = sampled(sampler, self.prompts())
        found = features(self.encoder, pictures)
        texts = self.encoder.encode_texts(self.prompts())
        return {
            "figure": what,
            "sampler": scheduler,
            "steps": steps,
            "guidance": guidance,
            "frechet": round(frechet_distance(found, self.real.features), 4),
            "similarity": round(float((found * texts).sum(axis=1).mean()), 4),
            "cpu_seconds_a_picture": round(seconds, 4),
            "pictures": len(pictures),
        }


def sampled(sampler: Sampler, prompts: list[str]) -> tuple[np.ndarray, float]:
    """Return the pictures, one a prompt with its place as seed, and the CPU seconds that one took."""
    found, started = [], time.process_time()
    for start in range(0, len(prompts), _BATCH):
        some = prompts[start : start + _BATCH]
        seeds = list(range(start, start + len(some)))
        found.append(sampler.sample(Request(some, [""] * len(some), seeds)))
    return np.concatenate(found), (time.process_time() - started) / len(prompts)


def features(encoder: Encoder, pictures: np.ndarray) -> np.ndarray:
    """Return the encoder's vectors of uint8 (n, h, w, 3)."""
    rows = [
        encoder.encode_images([Image.fromarray(picture) for picture in pictures[start : start + 64]])
        for start in range(0, len(pictures), 64)
    ]
    return np.concatenate(rows)


def real_pictures(run: Run, model: Model, encoder: Encoder, count: int) -> Real:
    """Return the first `count` pictures of the checkpoint's own order, cropped as it was trained."""
    path = model.path / CONFIG
    data = parse_config(path.read_text(encoding="utf-8"), str(path), []).data
    fixed = {"batch": 32, "weighting": "loss", "crop": "centre", "flip": 0.0, "caption_dropout": 0.0, "workers": 0}
    images, captions = [], []
    with Batches(ShardSet.open(run), data.model_copy(update=fixed)) as batches:
        for batch in islice(batches, -(-count // 32)):
            images.append(batch.images.permute(0, 2, 3, 1).numpy())
            captions += batch.captions
    pictures = np.ascontiguousarray(np.concatenate(images)[:count])
    return Real(pictures, captions[:count], features(encoder, pictures))


def few_steps(bench: Bench, teacher: Model, student: Model | None, steps: list[int]) -> Iterator[dict[str, Any]]:
    """Yield the figures of teacher and student."""
    chosen = len(bench.chosen)
    floor = split_baseline(bench.real.features, chosen, seed=0)
    texts = bench.encoder.encode_texts(bench.prompts())
    own = float((bench.real.features[bench.chosen] * texts).sum(axis=1).mean())
    yield {
        "figure": "real pictures",
        "floor": None if floor is None else round(floor.mean, 4),
        "similarity": round(own, 4),
        "pictures": chosen,
    }
    scheduler, guidance = default_kind(teacher.scheduler), bench.guidance
    yield bench.figure("teacher", teacher, scheduler, 50, guidance)
    flow = KINDS[scheduler].flow
    for name in [name for name in _QUICK if KINDS[name].flow == flow]:
        checked_kind(name, teacher.scheduler)
        yield bench.figure("teacher", teacher, name, max(steps), guidance)
    for few in steps[1:]:
        yield bench.figure("teacher", teacher, scheduler, few, guidance)
    if student is not None:
        known = student.scheduler
        for few in steps:
            yield bench.figure("student", student, default_kind(known), few, default_guidance(student.facts))


def steering(bench: Bench, model: Model, network: torch.nn.Module, steps: int) -> Iterator[dict[str, Any]]:
    """Yield the agreement of edges with and without control, for the same prompts and seeds."""
    settings = Settings(default_kind(model.scheduler), steps, bench.guidance, model.side, model.side)
    for name, scale in (("without control", 0.0), ("with control", 1.0)):
        scores, made = [], []
        for number, at in enumerate(bench.chosen):
            picture = bench.real.pictures[at]
            given = condition(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]).to(model.device)
            control = Control(network, given, scale) if scale else None
            sampler = Sampler(model, settings, None, control)
            found = sampler.sample(Request([bench.real.captions[at]], [""], [number]))[0]
            made.append(found)
            scores.append(agreement(edges(found), edges(picture)))
        pictures = np.stack(made)
        yield {
            "figure": name,
            "scale": scale,
            "steps": steps,
            "edge_f1": round(float(np.mean(scores)), 4),
            "standard_error": round(float(np.std(scores) / len(scores) ** 0.5), 4),
            "frechet": round(frechet_distance(features(bench.encoder, pictures), bench.real.features), 4),
            "pictures": len(pictures),
        }


def main() -> None:
    """Measure what is named and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="run that the teacher was trained on")
    parser.add_argument("--teacher", type=Path, required=True, help="checkpoint or training's folder")
    parser.add_argument("--student", type=Path, help="distilled from it")
    parser.add_argument("--control", type=Path, help="control network trained on it")
    parser.add_argument("--pictures", type=int, default=256, help="of each kind")
    parser.add_argument("--real", type=int, default=1024, help="real pictures to compare with")
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 2, 1])
    parser.add_argument("--control-steps", type=int, default=30)
    parser.add_argument("--guidance", type=float, default=3.0, help="the teacher's")
    given = parser.parse_args()
    torch.set_num_threads(1)
    running = Running(device="cpu")
    run, teacher = open_run(given.data), load_model(newest(given.teacher), running)
    encoder = load_encoder(run.recipe.similarity.model, threads=1)
    real = real_pictures(run, teacher, encoder, given.real)
    chosen = np.linspace(0, len(real.captions) - 1, min(given.pictures, len(real.captions))).astype(int)
    bench = Bench(encoder, real, chosen, given.guidance)
    figures: list[Iterator[dict[str, Any]]] = []
    if given.student is not None or given.control is None:
        student = None if given.student is None else load_model(newest(given.student), running)
        figures.append(few_steps(bench, teacher, student, given.steps))
    if given.control is not None:
        network, _ = load_control(newest(given.control), teacher)
        figures.append(steering(bench, teacher, network, given.control_steps))
    for some in figures:
        for figure in some:
            print(json.dumps(figure), flush=True)


if __name__ == "__main__":
    main()
