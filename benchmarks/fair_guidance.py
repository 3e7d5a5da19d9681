"""Measure diversification and fair guidance: `python -m benchmarks.fair_guidance RUN CHECKPOINT`; JSON lines.

Diversification: occupations as prompts, many seeds each; which words of gender, age and place the prompts have before
and after, and where the text encoder puts them on its gender direction. With `--pictures` also where the pictures lie.

Guidance: pictures by the same prompts and seeds at several scales; each is measured again from its decoded pixels,
by the direction itself and not by the probe that guided. `high` is the share above the training pictures' mean,
`right` the share on the side that was drawn, `wasserstein` the distance of the pictures' measures (in standard
deviations of the training pictures) from two equal peaks at the drawn values; `similarity` is the encoder's cosine of
picture and prompt, the cost.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from audit.groups.lexicon import load
from audit.groups.matcher import Matcher
from audit.groups.places import gazetteer
from filters.encoders.base import Encoder
from filters.encoders.uri import load_encoder
from filters.errors import BadInput
from pipelines.run.directory import open_run
from training.sampling.diversify import Diversifier, diversifier_of
from training.sampling.fair import Fair
from training.sampling.fair_direction import encoder_direction, load_direction, measure_of
from training.sampling.fair_fitting import LEAST_R2, probe_of
from training.sampling.model import Model, Running, load_model, newest
from training.sampling.plan import Slot
from training.sampling.sample import Request, Sampler, Settings
from training.sampling.schedulers import default_kind

#: Prompts for the guidance, of things that the demo's corpus shows.
THINGS = ("a house", "a tree", "a flower", "a cat", "a car", "a flag", "a computer", "a person")

_BATCH = 8


def say(figure: str, **facts: object) -> None:
    """Print one figure."""
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in facts.items()}
    print(json.dumps({"figure": figure, **rounded}), flush=True)


def occupations(count: int) -> list[str]:
    """Return prompts of the lexicon's first occupations."""
    return [f"a {value}" for value in list(load("occupations").values)[:count]]


def words_of(prompts: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the share of prompts with each value of gender, age and place."""
    found: dict[str, dict[str, float]] = {}
    for name, lexicon in (("gender", load("gender_terms")), ("age", load("age_terms")), ("place", gazetteer())):
        matcher = Matcher([(name, lexicon)])
        seen = Counter(matcher.labels[number][1] for prompt in prompts for number in matcher.match(prompt))
        found[name] = {value: round(times / len(prompts), 3) for value, times in seen.most_common(8)}
    return found


def diversification(encoder: Encoder, diversifier: Diversifier, prompts: Sequence[str], seeds: int) -> None:
    """Print the words and the text encoder's direction before and after."""
    slots = [Slot(at, prompt, seed) for at, prompt in enumerate(prompts) for seed in range(seeds)]
    after = [diversifier.slot(slot).text for slot in slots]
    vector = encoder_direction(encoder, load_direction("gender"))
    for name, texts in (("before", [slot.text for slot in slots]), ("after", after)):
        unique = list(dict.fromkeys(texts))
        placed = dict(zip(unique, encoder.encode_texts(unique) @ vector, strict=True))
        values = np.array([placed[text] for text in texts])
        say(
            f"prompts {name}",
            prompts=len(texts),
            words=words_of(texts),
            gender_direction_mean=float(values.mean()),
            gender_direction_std=float(values.std()),
            masculine_side=float((values > 0).mean()),
        )


def sampled(sampler: Sampler, prompts: Sequence[str], seeds: Sequence[int], values: Sequence[str]) -> np.ndarray:
    """Return pictures uint8 (n, h, w, 3)."""
    found = []
    for at in range(0, len(prompts), _BATCH):
        part = slice(at, at + _BATCH)
        some = list(prompts[part])
        found.append(sampler.sample(Request(some, [""] * len(some), list(seeds[part]), None, list(values[part]))))
    return np.concatenate(found)


def similarity(encoder: Encoder, pictures: np.ndarray, prompts: Sequence[str]) -> float:
    """Return the mean cosine of pictures and their prompts."""
    images = encoder.encode_images([Image.fromarray(one) for one in pictures])
    unique = list(dict.fromkeys(prompts))
    texts = dict(zip(unique, encoder.encode_texts(unique), strict=True))
    return float((images * np.stack([texts[prompt] for prompt in prompts])).sum(axis=1).mean())


def pictures_of_prompts(
    model: Model, settings: Settings, encoder: Encoder, diversifier: Diversifier, prompts: Sequence[str], seeds: int
) -> None:
    """Print where the pictures of plain and of diversified prompts lie on the encoder's gender direction."""
    slots = [Slot(at, prompt, seed) for at, prompt in enumerate(prompts) for seed in range(seeds)]
    measure = measure_of(load_direction("gender"), lambda: encoder)
    changed = [diversifier.slot(slot) for slot in slots]
    genders = np.array([dict(slot.drawn).get("gender", "") for slot in changed])
    numbers = [slot.seed + 1000 * slot.prompt for slot in slots]
    for name, texts in (("before", [slot.text for slot in slots]), ("after", [slot.text for slot in changed])):
        placed = measure(sampled(Sampler(model, settings), texts, numbers, [""] * len(texts)))
        told = {value: float(placed[genders == value].mean()) for value in ("feminine", "masculine")}
        say(
            f"pictures {name}",
            pictures=len(texts),
            gender_direction_mean=float(placed.mean()),
            gender_direction_std=float(placed.std()),
            mean_where_masculine_minus_feminine_was_drawn=told["masculine"] - told["feminine"],
            standard_error=float(
                placed.std() * (1 / (genders == "feminine").sum() + 1 / (genders == "masculine").sum()) ** 0.5
            ),
        )


def guidance(
    fair: Callable[[float], Fair],
    model: Model,
    settings: Settings,
    encoder: Encoder,
    scales: Sequence[float],
    seeds: int,
) -> None:
    """Print the distribution and the cost at each scale; 0 is no guidance."""
    prompts = [prompt for prompt in THINGS for _ in range(seeds)]
    numbers = [seed + 1000 * at for at in range(len(THINGS)) for seed in range(seeds)]
    one = fair(1.0)
    measure, probe = measure_of(one.direction, lambda: encoder), one.probe
    values = [one.value(prompt, seed) for prompt, seed in zip(prompts, numbers, strict=True)]
    places = one.targets(values).numpy()
    kept = ~np.isnan(places)
    for scale in scales:
        sampler = Sampler(model, settings, fair=fair(scale) if scale else None)
        began, clock = time.process_time(), time.perf_counter()
        pictures = sampled(sampler, prompts, numbers, values)
        cpu, wall = time.process_time() - began, time.perf_counter() - clock
        found = (measure(pictures)[kept] - probe.mean) / probe.std
        say(
            f"guidance {one.direction.name}",
            scale=scale,
            pictures=len(found),
            probe_r2=probe.r2,
            mean=float(found.mean()),
            std=float(found.std()),
            high=float((found > 0).mean()),
            right=float((np.sign(found) == np.sign(places[kept])).mean()),
            wasserstein=float(np.abs(np.sort(found) - np.sort(places[kept])).mean()),
            similarity=similarity(encoder, pictures, prompts),
            cpu_seconds_a_picture=cpu / len(prompts),
            seconds_a_picture=wall / len(prompts),
        )


def main() -> None:
    """Print one JSON line a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("run")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--axes", nargs="+", default=["brightness", "warmth", "gender"])
    parser.add_argument("--scales", nargs="+", type=float, default=[0.0, 0.5, 1.0, 2.0])
    parser.add_argument("--seeds", type=int, default=8, help="pictures a prompt")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--pictures", type=int, default=0, help="pictures by plain and by diversified prompts")
    given = parser.parse_args()
    torch.set_num_threads(1)
    model, run = load_model(newest(given.checkpoint), Running(device="cpu")), open_run(given.run)
    encoder = load_encoder(model.text.uri, threads=1)
    settings = Settings(default_kind(model.scheduler), given.steps, given.guidance, model.side, model.side)
    diversifier = diversifier_of("people")
    diversification(encoder, diversifier, occupations(40), 50)
    if given.pictures:
        prompts = occupations(40)
        pictures_of_prompts(model, settings, encoder, diversifier, prompts, -(-given.pictures // len(prompts)))
    with tempfile.TemporaryDirectory() as folder:
        for name in given.axes:
            direction, began = load_direction(name), time.process_time()
            try:
                probe = probe_of(direction, model, run, Path(folder), lambda text: None)
            except BadInput as error:
                say(f"probe {name}", refused=str(error))
                continue
            cost = time.process_time() - began
            facts: dict[str, Any] = {"r2": probe.r2, "pictures": probe.count, "mean": probe.mean, "std": probe.std}
            say(f"probe {name}", **facts, cpu_seconds=cost, refused=probe.r2 < LEAST_R2)
            guidance(
                lambda scale, d=direction, p=probe: Fair(d, p, scale),
                model,
                settings,
                encoder,
                given.scales,
                given.seeds,
            )  # type: ignore[misc]


if __name__ == "__main__":
    main()
