"""Distil a teacher into few steps and measure both; one JSON line a figure. Also: what a control network steers.

    python -m benchmarks.few_steps --data RUN --teacher CHECKPOINT --out DIR

trains a student of `--method` and, with `--control`, a control network into DIR by the example configurations at the
teacher's size (again with the same DIR: goes on, or takes what is there). Then teacher and student sample the same
prompts with the same seeds: captions of RUN, which both were trained on.

`own_by_encoder`, `own_by_pixels`: share of pictures whose nearest picture of RUN, by the cosine of the encoder's
vectors or by squared error, is the one whose caption was the prompt: it tells something only of a teacher that knows
its pictures by heart. `nearest_rmse`: pixel values (0 to 255) that pictures differ by from their nearest picture of
RUN, the root of the mean square and its mean over pictures; `distinct`: how many pictures of RUN are somebody's
nearest. `to_teacher`: root mean square of the pixels' difference to the teacher's picture in 50 steps from the same
noise, which tells something of samplers that add none. With `--silent` every prompt is empty and guidance is 1, for
teacher and student: where a caption tells a teacher which picture to draw, few steps are enough for it; without one
it has to decide, and few steps mix. `frechet` is of the features of the dataset's own encoder, against RUN's pictures
at the model's size; it is no FID, and with few pictures it is biased: compare lines of one call alone. `floor` says
what as many real pictures come to, where there are twice as many; "autoencoder alone" is the bound of what this
teacher's latents can show. Seconds are CPU time of one thread, decoding included, loading left out.

A control network gets the edges of RUN's pictures; the agreement of the output's edges with them is an F1 measure with
one pixel of reach (training/methods/edges.py), with and without control, and with the edges of another picture, which
the output is then held against. `edge_f1_by_chance` holds the same output against the edges of the next picture.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from filters.encoders.base import Encoder
from filters.encoders.uri import load_encoder
from pipelines.run.directory import Run, open_run
from training.config import load_config, parse_config
from training.contents import CONFIG
from training.data.loader import Batches
from training.data.samples import ShardSet
from training.evaluation.frechet import frechet_distance, split_baseline
from training.methods.edges import agreement, condition, edges
from training.models.control import Control
from training.run import train
from training.sampling.control import load_control
from training.sampling.model import Model, Running, load_model, newest
from training.sampling.sample import Request, Sampler, Settings
from training.sampling.schedulers import KINDS, checked_kind, default_guidance, default_kind

#: Samplers tried for the teacher at few steps.
_QUICK = ("ddim", "dpm++", "unipc", "flow-euler")

_BATCH = 16

_EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "train"


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
    silent: bool = False

    def prompts(self) -> list[str]:
        """Return the prompts; all empty where the bench is silent."""
        return ["" if self.silent else self.real.captions[at] for at in self.chosen]

    def sample(self, model: Model, scheduler: str, steps: int, guidance: float) -> tuple[np.ndarray, float]:
        """Return the pictures, one a prompt, and the CPU seconds that one took."""
        sampler = Sampler(model, Settings(scheduler, steps, guidance, model.side, model.side))
        return sampled(sampler, self.prompts())

    def judged(self, pictures: np.ndarray) -> dict[str, Any]:
        """Return what the encoder and the pixels say of pictures uint8 (n, h, w, 3), one a prompt."""
        found = features(self.encoder, pictures)
        flat = pictures.reshape(len(pictures), -1).astype(np.float64)
        real = self.real.pictures.reshape(len(self.real.pictures), -1).astype(np.float64)
        apart = (flat**2).sum(axis=1)[:, None] + (real**2).sum(axis=1)[None] - 2 * flat @ real.T
        nearest = apart.argmin(axis=1)
        figures = {
            "frechet": round(frechet_distance(found, self.real.features), 4),
            "nearest_rmse": round(float(np.sqrt(apart.min(axis=1).clip(min=0) / flat.shape[1]).mean()), 2),
            "distinct": len(np.unique(nearest)),
            "pictures": len(pictures),
        }
        if self.silent:
            return figures
        by_encoder = (found @ self.real.features.T).argmax(axis=1)
        own = {"own_by_encoder": by_encoder == self.chosen, "own_by_pixels": nearest == self.chosen}
        own["similarity"] = (found * self.encoder.encode_texts(self.prompts())).sum(axis=1)
        return {**{name: round(float(values.mean()), 4) for name, values in own.items()}, **figures}


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
    """Return `count` pictures, each once and cropped as it was trained on; all where there are fewer."""
    path = model.path / CONFIG
    data = parse_config(path.read_text(encoding="utf-8"), str(path), []).data
    fixed = {"batch": 16, "weighting": "loss", "crop": "centre", "flip": 0.0, "caption_dropout": 0.0, "workers": 0}
    found: dict[str, tuple[np.ndarray, str]] = {}
    shards = ShardSet.open(run)
    with Batches(shards, data.model_copy(update=fixed)) as batches:
        for batch in batches:
            images = batch.images.permute(0, 2, 3, 1).numpy()
            found |= dict(zip(batch.uids, zip(images, batch.captions, strict=True), strict=True))
            if batch.epoch or len(found) >= min(count, len(shards)):
                break
    rows = list(found.values())[:count]
    pictures = np.ascontiguousarray(np.stack([image for image, _ in rows]))
    return Real(pictures, [caption for _, caption in rows], features(encoder, pictures))


def trained(kind: str, given: argparse.Namespace, teacher: Model) -> Path:
    """Train by the example configuration of `kind` at the teacher's size; return the newest checkpoint."""
    path = teacher.path / CONFIG
    theirs = parse_config(path.read_text(encoding="utf-8"), str(path), [])
    distilled = kind != "controlnet"
    settings = [
        f"method.base={teacher.path}",
        f"data.buckets={json.dumps(theirs.data.buckets.model_dump())}",
        f"data.batch={given.batch}",
        "data.workers=0",
        f"loop.steps={given.train_steps}",
        "loop.device=cpu",
        "loop.threads=1",
        "logs.tensorboard=false",
        *([f"method.guidance={given.guidance}"] if distilled else []),
        *(["data.caption_dropout=1"] if distilled and given.silent else []),
        *given.set,
    ]
    started = time.process_time()
    folder = given.out / kind
    train(load_config(_EXAMPLES / f"{kind}.yaml", settings), given.data, folder, None, lambda text: None)
    seconds = round(time.process_time() - started, 1)
    print(json.dumps({"figure": f"training {kind}", "steps": given.train_steps, "cpu_seconds": seconds}), flush=True)
    return newest(folder)


def again(model: Model, pictures: np.ndarray) -> np.ndarray:
    """Return the pictures as the autoencoder alone shows them again."""
    rows = []
    with torch.no_grad():
        for start in range(0, len(pictures), _BATCH):
            some = torch.from_numpy(pictures[start : start + _BATCH]).permute(0, 3, 1, 2).float() / 127.5 - 1.0
            decoded = model.codec.decode(model.codec.encode(some.to(model.device))).clamp(-1.0, 1.0)
            rows.append(((decoded + 1.0) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(rows)


def few_steps(bench: Bench, teacher: Model, student: Model | None, steps: list[int]) -> Iterator[dict[str, Any]]:
    """Yield the figures of teacher and student."""
    floor = split_baseline(bench.real.features, len(bench.chosen), seed=0)
    real = bench.real.pictures[bench.chosen]
    yield {"figure": "real pictures", "floor": None if floor is None else round(floor.mean, 4), **bench.judged(real)}
    yield {"figure": "autoencoder alone", **bench.judged(again(teacher, real))}
    scheduler, guidance = default_kind(teacher.scheduler), bench.guidance
    flow = KINDS[scheduler].flow
    asked = [("teacher", teacher, scheduler, 50, guidance)]
    for name in [name for name in _QUICK if KINDS[name].flow == flow]:
        checked_kind(name, teacher.scheduler)
        asked.append(("teacher", teacher, name, max(steps), guidance))
    asked += [("teacher", teacher, scheduler, few, guidance) for few in steps[1:]]
    if student is not None:
        own = default_kind(student.scheduler), default_guidance(student.facts)
        asked += [("student", student, own[0], few, own[1]) for few in steps]
    whole = None
    for what, model, kind, count, weight in asked:
        made, seconds = bench.sample(model, kind, count, weight)
        whole = made if whole is None else whole
        named = {"figure": what, "sampler": kind, "steps": count, "guidance": weight}
        yield {**named, **bench.judged(made), **apart(made, whole), "cpu_seconds_a_picture": round(seconds, 4)}


def apart(made: np.ndarray, whole: np.ndarray) -> dict[str, float]:
    """Return how far pictures are from the teacher's 50 steps from the same noise, and the standard error."""
    square = (made.astype(np.float64) - whole).reshape(len(made), -1) ** 2
    root = np.sqrt(square.mean(axis=1))
    return {
        "to_teacher": round(float(root.mean()), 2),
        "standard_error": round(float(root.std() / len(root) ** 0.5), 2),
    }


def steering(bench: Bench, model: Model, network: torch.nn.Module, steps: int) -> Iterator[dict[str, Any]]:
    """Yield the agreement of edges with and without control, for the same prompts and seeds."""
    settings = Settings(default_kind(model.scheduler), steps, bench.guidance, model.side, model.side)
    for name, scale, other in (
        ("without control", 0.0, 0),
        ("with control", 1.0, 0),
        ("with another picture's edges", 1.0, 1),
    ):
        scores, by_chance, made = [], [], []
        for number, prompt in enumerate(bench.prompts()):
            picture = bench.real.pictures[np.roll(bench.chosen, -other)[number]]
            stranger = bench.real.pictures[np.roll(bench.chosen, -other - 1)[number]]
            given = condition(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]).to(model.device)
            control = Control(network, given, scale) if scale else None
            sampler = Sampler(model, settings, None, control)
            found = sampler.sample(Request([prompt], [""], [number]))[0]
            made.append(found)
            scores.append(agreement(edges(found), edges(picture)))
            by_chance.append(agreement(edges(found), edges(stranger)))
        pictures = np.stack(made)
        yield {
            "figure": name,
            "scale": scale,
            "steps": steps,
            "edge_f1": round(float(np.mean(scores)), 4),
            "standard_error": round(float(np.std(scores) / len(scores) ** 0.5), 4),
            "edge_f1_by_chance": round(float(np.mean(by_chance)), 4),
            "frechet": round(frechet_distance(features(bench.encoder, pictures), bench.real.features), 4),
            "pictures": len(pictures),
        }


def main() -> None:
    """Measure what is named and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="run that the teacher was trained on")
    parser.add_argument("--teacher", type=Path, required=True, help="checkpoint or training's folder")
    parser.add_argument("--student", type=Path, help="distilled from it")
    parser.add_argument("--out", type=Path, help="train into this folder what is measured")
    parser.add_argument("--method", choices=["progressive", "consistency"], default="progressive")
    parser.add_argument("--train-steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--set", action="append", default=[], help="override of the training's configuration")
    parser.add_argument("--control", action="store_true", help="train and measure a control network instead")
    parser.add_argument("--control-network", type=Path, help="control network trained before")
    parser.add_argument("--pictures", type=int, default=256, help="of each kind")
    parser.add_argument("--real", type=int, default=1024, help="real pictures to compare with")
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 2, 1])
    parser.add_argument("--control-steps", type=int, default=30)
    parser.add_argument("--guidance", type=float, default=3.0, help="the teacher's")
    parser.add_argument("--silent", action="store_true", help="measure, and distil, without prompts and guidance")
    given = parser.parse_args()
    if given.silent:
        given.guidance = 1.0
    if given.control and given.out is None:
        parser.error("--control trains: it needs --out")
    torch.set_num_threads(1)
    running = Running(device="cpu")
    run, teacher = open_run(given.data), load_model(newest(given.teacher), running)
    encoder = load_encoder(run.recipe.similarity.model, threads=1)
    real = real_pictures(run, teacher, encoder, given.real)
    chosen = np.linspace(0, len(real.captions) - 1, min(given.pictures, len(real.captions))).astype(int)
    bench = Bench(encoder, real, chosen, given.guidance, given.silent)
    figures: list[Iterator[dict[str, Any]]] = []
    if given.control or given.control_network:
        path = given.control_network or trained("controlnet", given, teacher)
        network, _ = load_control(newest(path), teacher)
        figures.append(steering(bench, teacher, network, given.control_steps))
    else:
        path = given.student or (trained(given.method, given, teacher) if given.out else None)
        student = None if path is None else load_model(newest(path), running)
        figures.append(few_steps(bench, teacher, student, given.steps))
    for some in figures:
        for figure in some:
            print(json.dumps(figure), flush=True)


if __name__ == "__main__":
    main()
