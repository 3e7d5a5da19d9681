"""Measure the mark in the noise: `python -m benchmarks.hallmark_noise CHECKPOINT`; one JSON line a figure.

Each part keeps what single pictures gave in `--keep`, so that a killed run goes on where it stopped. The removal
attacks are made with the checkpoint itself: its autoencoder there and back, and image-to-image from the picture with
an empty prompt.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.hallmark import CHANGES, RATES, made_up_facts, made_up_sealer, photo_paths, photos, say
from benchmarks.hallmark_unmarked import pixels, places
from filters.encoders.uri import load_encoder
from training.config import parse_config
from training.hallmark.gaussian_shading import GaussianShading, new_nonce
from training.hallmark.marking import Hallmark, SamplingMark, new_identity
from training.hallmark.noise_mark import noises_of
from training.hallmark.posthoc import RivaGan
from training.hallmark.registry import open_register
from training.hallmark.watermark import WatermarkKey
from training.models.denoiser import new_denoiser
from training.sampling.model import Model, Running, load_model
from training.sampling.noise import Shading
from training.sampling.sample import Request, Sampler, Settings, Start
from training.sampling.schedulers import default_kind

PROMPTS = ("a red balloon", "a tree", "computer icon", "a house", "flower", "a bird on a branch", "a boat", "heart")
KEY = WatermarkKey(bytes(range(32)))

#: Pictures that one is looked for among: those of a small service.
REGISTERED = 1000


def settings_of(model: Model, side: int, strength: float = 0.8) -> Settings:
    """Return the settings that are measured: 20 steps, guidance 3."""
    return Settings(default_kind(model.scheduler), 20, 3.0, side, side, strength)


def sampled(model: Model, seed: int, marked: bool) -> tuple[np.ndarray, SamplingMark | None]:
    """Return a picture, uint8 (h, w, 3), and its mark."""
    sampler = Sampler(model, settings_of(model, model.side))
    noise, marks = Shading(KEY).noise([seed], sampler.shape) if marked else (None, [None])
    made = sampler.sample(Request([PROMPTS[seed % len(PROMPTS)]], [""], [seed], noise))
    return made[0], marks[0]


def attacks(model: Model, side: int) -> dict[str, Callable[[Image.Image], Image.Image]]:
    """Return the removal attacks at one size."""

    def through(strength: float) -> Callable[[Image.Image], Image.Image]:
        def attack(image: Image.Image) -> Image.Image:
            shown = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
            # Without a prompt guidance changes nothing, and costs as much again.
            settings = replace(settings_of(model, side, strength), guidance=1.0)
            made = Sampler(model, settings, Start(shown)).sample(Request([""], [""], [12345]))
            return Image.fromarray(made[0])

        return attack

    return {
        "autoencoder there and back": through(0.0),
        "generated anew, strength 0.3": through(0.3),
        "generated anew, strength 0.6": through(0.6),
    }


def kept_rows(kept: Path, count: int, one: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    """Return `count` rows, those in the file first; each new one is appended to it."""
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    for number in range(len(rows), count):
        rows.append(one(number))
        with kept.open("a") as stream:
            stream.write(json.dumps(rows[-1]) + "\n")
    return rows


def robustness(model: Model, count: int, kept: Path) -> None:
    """Print, for each change, how often the mark is found among 1,000 registered pictures, and right signs."""
    others = [(new_identity(), new_nonce()) for _ in range(REGISTERED - 1)]
    changes = {**CHANGES, **attacks(model, model.side)}

    def one(number: int) -> dict[str, Any]:
        shown, mark = sampled(model, number, marked=True)
        assert mark is not None
        detector = GaussianShading(KEY, lambda: [*others, (mark.identity, mark.nonce)], noises_of(model))
        row = {}
        for name, change in changes.items():
            found = detector.detect(np.asarray(change(Image.fromarray(shown))), min(RATES))
            right = found.value == mark.identity
            row[name] = [found.fpr if right else 1.0, found.matches / found.bits if right else None]
        return row

    rows = kept_rows(kept, count, one)
    for name in changes:
        chances = np.array([row[name][0] for row in rows])
        signs = [row[name][1] for row in rows if row[name][1] is not None]
        rates = {f"tpr@{rate:.0e}": float((chances <= rate).mean()) for rate in RATES}
        say(f"noise {name}", pictures=len(rows), **rates, signs=statistics.fmean(signs) if signs else None)


def false_positives(model: Model, count: int, corpus: Path, kept: Path) -> None:
    """Print how often unmarked pictures are taken for one of 1,000 registered ones."""
    registered = [(new_identity(), new_nonce()) for _ in range(REGISTERED)]
    detector = GaussianShading(KEY, lambda: registered, noises_of(model))
    chosen = places(photo_paths(), corpus, 2 * count)

    def one(number: int) -> dict[str, Any]:
        shown = pixels(chosen[number])
        if shown is None:
            return {"fpr": None}
        # At the training's size: a picture's own would be looked at too, and cost a hundred times as much.
        small = Image.fromarray(shown).resize((model.side, model.side), Image.Resampling.LANCZOS)
        return {"fpr": detector.detect(np.asarray(small)).fpr}

    rows = [row["fpr"] for row in kept_rows(kept, count, one) if row["fpr"] is not None]
    found = {f"found@{rate:.0e}": sum(fpr <= rate for fpr in rows) for rate in (*RATES, 0.1)}
    say("noise false positives", pictures=len(rows), registered=REGISTERED, **found, least=min(rows))


def quality(model: Model, size: int, kept: Path) -> None:
    """Print Fréchet distances and similarity scores of four plain and four marked sets, of `size` pictures each."""
    encoder = load_encoder("builtin:mini", threads=1)

    def one(number: int) -> dict[str, Any]:
        marked = number // len(PROMPTS) % 2 == 1
        shown, _ = sampled(model, number, marked)
        vector = encoder.encode_images([Image.fromarray(shown)])[0]
        text = encoder.encode_texts([PROMPTS[number % len(PROMPTS)]])[0]
        row = {"marked": marked, "prompt": number % len(PROMPTS)}
        return {**row, "vector": [float(one) for one in vector], "similarity": float(vector @ text)}

    rows = kept_rows(kept, 8 * size, one)
    plain, marked = (sets_of([row for row in rows if row["marked"] is kind], size) for kind in (False, True))
    pairs = [(a, b) for at, a in enumerate(plain) for b in plain[at + 1 :]]
    without = [frechet(*pair) for pair in pairs]
    with_mark = [frechet(a, b) for a in plain for b in marked]
    for name, values in (("between plain sets", without), ("between plain and marked sets", with_mark)):
        say(f"noise Fréchet distance {name}", pictures=size, pairs=len(values), **spread(values))
    for name, group in (("plain", plain), ("marked", marked)):
        means = [statistics.fmean(row["similarity"] for row in one) for one in group]
        say(f"noise similarity, {name} sets", pictures=size, sets=len(means), **spread(means))


def sets_of(rows: list[dict[str, Any]], size: int) -> list[list[dict[str, Any]]]:
    """Return up to four sets of `size` rows, each with as many pictures of every prompt."""
    each = size // len(PROMPTS)
    by_prompt = [[row for row in rows if row["prompt"] == prompt] for prompt in range(len(PROMPTS))]
    count = min(4, *(len(some) // each for some in by_prompt))
    return [[row for some in by_prompt for row in some[at * each : (at + 1) * each]] for at in range(count)]


def spread(values: list[float]) -> dict[str, float]:
    """Return mean, standard deviation, least and most."""
    return {
        "mean": statistics.fmean(values),
        "sd": statistics.stdev(values),
        "least": min(values),
        "most": max(values),
    }


def frechet(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> float:
    """Return the Fréchet distance of two normal fits (arXiv:1706.08500) of the encoder's vectors, times 1,000."""
    a, b = (np.array([row["vector"] for row in rows]) for rows in (one, other))
    first, second = a - a.mean(axis=0), b - b.mean(axis=0)
    # The trace of the root of the product of covariances is the sum of singular values of this small matrix.
    shared = np.linalg.svd(first @ second.T, compute_uv=False).sum() / ((len(a) - 1) * (len(b) - 1)) ** 0.5
    spreads = (first**2).sum() / (len(a) - 1) + (second**2).sum() / (len(b) - 1)
    return float(1000 * (((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum() + spreads - 2 * shared))


def removal(model: Model, count: int, side: int, kept: Path) -> None:
    """Print what the removal attacks leave of the mark in the pixels, on photos of `side` pixels."""
    mark, images = RivaGan(KEY, threads=1), photos(count, side)

    def one(number: int) -> dict[str, Any]:
        word = mark.new_value()
        shown = Image.fromarray(mark.embed(np.asarray(images[number]), word))
        row = {}
        for name, attack in attacks(model, side).items():
            found = mark.detect(np.asarray(attack(shown)), min(RATES))
            row[name] = found.fpr if found.value == word else 1.0
        return row

    rows = kept_rows(kept, count, one)
    for name in rows[0]:
        chances = np.array([row[name] for row in rows])
        say(
            f"posthoc {name}, {side} px",
            pictures=len(rows),
            **{f"tpr@{rate:.0e}": float((chances <= rate).mean()) for rate in RATES},
        )


def times(model: Model, side: int, rounds: int) -> tuple[float, float]:
    """Print the marking's share of the processor time that sampling takes at 20 steps.

    Returns the seconds of marking: in the noise alone, and in the pixels too.
    """
    facts = made_up_facts()
    sampler = Sampler(model, settings_of(model, side))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sealer, _ = made_up_sealer(folder, "es256")
        with open_register(str(folder / "register"), create=True) as register:
            noise_only = Hallmark(sealer, register)
            both = Hallmark(sealer, register, posthoc=RivaGan(KEY, threads=1))
            sampling, shading, marking, more = [], [], [], []
            for seed in range(rounds):
                noise, (mark,) = timed(lambda seed=seed: Shading(KEY).noise([seed], sampler.shape), shading)
                request = Request([PROMPTS[0]], [""], [seed], noise)
                shown = timed(lambda request=request: sampler.sample(request)[0], sampling)
                timed(lambda shown=shown, mark=mark: noise_only.mark(shown, facts, mark), marking)
                photo = np.asarray(photos(1, side)[0])  # a picture that bears the mark in its pixels
                again = SamplingMark(new_identity(), new_nonce())
                timed(lambda photo=photo, again=again: both.mark(photo, facts, again), more)
    base, shade, one, two = (statistics.median(values) for values in (sampling, shading, marking, more))
    say(
        f"share of sampling time at {side} px",
        pictures=rounds,
        sampling_cpu_seconds=base,
        noise_cpu_ms=1000 * shade,
        sign_and_register_cpu_ms=1000 * one,
        share_with_mark_in_the_noise=(shade + one) / base,
        both_marks_cpu_ms=1000 * (shade + two),
        share_with_both_marks=(shade + two) / base,
    )
    return shade + one, shade + two


def at_scale(config: Path, side: int, marking: tuple[float, float]) -> None:
    """Print the same share for the denoiser of a training's configuration, whose weights are random here.

    Sampling is taken as 20 steps with guidance, thus 40 calls of one that is timed, on latents of an eighth of `side`.
    The autoencoder and the text encoder are left out, so the share is an upper bound.
    """
    denoiser = parse_config(config.read_text(), str(config), []).denoiser
    network = new_denoiser(denoiser, 4, side // 8, 768).eval()
    given = (torch.randn(1, 4, side // 8, side // 8), torch.tensor([500]), torch.randn(1, 77, 768))
    taken: list[float] = []
    with torch.inference_mode():
        for _ in range(2):
            timed(lambda: network(*given), taken)
    base = 2 * 20 * min(taken)
    say(
        f"share of sampling time at {side} px, denoiser of {config.name}",
        parameters=sum(one.numel() for one in network.parameters()),
        sampling_cpu_seconds=base,
        share_with_mark_in_the_noise=marking[0] / base,
        share_with_both_marks=marking[1] / base,
    )


def timed(call: Callable[[], Any], into: list[float]) -> Any:
    """Call, and note the processor's seconds."""
    start = time.process_time()
    found = call()
    into.append(time.process_time() - start)
    return found


def main() -> None:
    """Run the parts that are asked for."""
    parts = ("robustness", "false-positives", "quality", "removal", "times")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--keep", type=Path, required=True, help="folder for the pictures' results, to go on from")
    parser.add_argument("--pictures", type=int, default=100, help="marked pictures")
    parser.add_argument("--unmarked", type=int, default=5000)
    parser.add_argument("--set", type=int, default=96, help="pictures of one set, a multiple of 8")
    parser.add_argument("--photos", type=int, default=50, help="photos for the removal of the mark in the pixels")
    parser.add_argument("--side", type=int, default=512, help="pixels of those photos")
    parser.add_argument("--corpus", type=Path, default=Path(".cache/openclipart"))
    parser.add_argument("--scale", type=Path, help="training configuration whose denoiser's size is measured too")
    parser.add_argument("--only", choices=parts)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.keep.mkdir(parents=True, exist_ok=True)
    model = load_model(options.checkpoint, Running(device="cpu"))
    wanted = parts if options.only is None else (options.only,)
    if "times" in wanted:
        times(model, model.side, 8)
        marking = times(model, 512, 2)
        if options.scale:
            at_scale(options.scale, 512, marking)
    if "robustness" in wanted:
        robustness(model, options.pictures, options.keep / "robustness.jsonl")
    if "quality" in wanted:
        quality(model, options.set, options.keep / "quality.jsonl")
    if "false-positives" in wanted:
        false_positives(model, options.unmarked, options.corpus, options.keep / "unmarked.jsonl")
    if "removal" in wanted:
        removal(model, options.photos, options.side, options.keep / f"removal-{options.side}.jsonl")


if __name__ == "__main__":
    main()
