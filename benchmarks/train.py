"""Measure a training step: `python -m benchmarks.train RUN`; one JSON line a figure.

The same denoiser, autoencoder, text encoder, batch and precision three times, in turns: a plain loop with the
structure of diffusers' `train_text_to_image` (its steps in its order: encode, noise, predict, error, clip, step, rate,
average; written anew) over torch's DataLoader with webdataset and Pillow; `assay train`'s loop with latents made on
the fly; the same with cached latents. What is compared is seconds a step, by the clock and by the CPU of this process
and its children; on a shared machine look at the ratios of the second.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import webdataset
from torch.utils.data import DataLoader

from benchmarks.loader import Decode
from filters.encoders.torchvision_fix import ensure_torchvision
from pipelines.run.directory import open_run
from training.config import Config, parse_config
from training.data.loader import Caches
from training.data.samples import ShardSet
from training.device import device_name, open_accelerator
from training.feed import ShardFeed
from training.gate import clear
from training.gradients import MovingAverage
from training.latents import latent_cache
from training.loop import Parts, Trainer
from training.models.autoencoder import Codec, fit_scale, freeze, new_autoencoder
from training.models.denoiser import denoise, new_denoiser
from training.models.text import TextEncoder
from training.progress import Progress
from training.signals import Interrupts
from training.stages import DenoiserStage

CONFIG = """
name: benchmark
data: {batch: 16, workers: 1, buckets: {resolution: 64, max_aspect: 1}}
autoencoder: {widths: [32, 64, 64], groups: 16}
text: {tokens: 24, cache_mb: 256}
denoiser: {widths: [64, 128], groups: 16, layers: 1, attention_levels: 1, head_width: 32}
objective: {prediction: epsilon}
loop: {ema: 0.999}
logs: {every: 1000000, histograms: 1000000, tensorboard: false}
checkpoints: {every: 1000000}
"""


class Bench:
    """What all three share: frozen networks, one run, one configuration."""

    def __init__(self, url: str, config: Config, folder: Path) -> None:
        ensure_torchvision()
        self.config, self.folder, self.url = config, folder, url
        self.accelerator: Any = open_accelerator(config.loop)
        self.device: torch.device = self.accelerator.device
        self.run = open_run(url)
        self.shards = ShardSet.open(self.run)
        self.gate = clear(self.run, folder)
        torch.manual_seed(0)
        self.vae = freeze(new_autoencoder(config.autoencoder)).to(self.device)
        self.plain_vae = copy.deepcopy(self.vae)
        self.codec = Codec(self.vae)  # which changes the order of its numbers in memory
        side = config.data.buckets.resolution
        fit_scale(self.vae, [torch.rand(4, 3, side, side, device=self.device) * 2 - 1])
        text = config.text
        self.text = TextEncoder("builtin:mini", text.tokens, text.cache_mb, self.device)

    def denoiser(self) -> torch.nn.Module:
        """Return the same new denoiser every time."""
        torch.manual_seed(1)
        side = self.config.data.buckets.resolution // self.codec.factor
        return new_denoiser(self.config.denoiser, self.codec.channels, side, self.text.width)


def plain(bench: Bench, steps: int) -> Callable[[], None]:
    """Return a function that makes `steps` steps of the plain loop."""
    from diffusers import DDPMScheduler
    from diffusers.optimization import get_scheduler

    config, device = bench.config, bench.device
    tars = [str(Path(bench.url) / f"{name}.tar") for name in bench.shards.shards]
    decode = Decode(config.data.buckets.resolution)
    data = webdataset.WebDataset(tars, shardshuffle=False, empty_check=False).map(decode).repeat()
    loader = DataLoader(data, batch_size=config.data.batch, num_workers=config.data.workers)
    network = bench.denoiser().to(device).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.optimiser.rate)
    rates = get_scheduler("cosine", optimiser, num_warmup_steps=100, num_training_steps=100_000)
    network, optimiser, loader, rates = bench.accelerator.prepare(network, optimiser, loader, rates)
    average = MovingAverage(list(network.parameters()), config.loop.ema)
    levels = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    batches = iter(loader)

    def run() -> None:
        for _ in range(steps):
            images, captions = next(batches)
            pixels = images.to(device).float() / 127.5 - 1
            with torch.no_grad():
                posterior = bench.plain_vae.encode(pixels).latent_dist  # type: ignore[operator]
                latents = posterior.sample() * bench.vae.config.scaling_factor  # type: ignore[union-attr]
                text = bench.text.encode([caption[:4096] for caption in captions])
            noise = torch.randn_like(latents)
            at = torch.randint(0, 1000, (len(latents),), device=device)
            noisy = levels.add_noise(latents, noise, at)
            loss = F.mse_loss(denoise(network, noisy, at, text.vectors, text.mask).float(), noise.float())
            bench.accelerator.backward(loss)
            bench.accelerator.clip_grad_norm_(network.parameters(), config.optimiser.clip)
            optimiser.step()
            rates.step()
            optimiser.zero_grad()
            average.update(list(network.parameters()))
            loss.detach().item()  # its progress bar shows the loss of every step

    return run


class NoKeeper:
    """Neither writes nor reads checkpoints: steps are measured."""

    def seen(self, batch: Any, view: Any) -> None:
        """Count nothing."""

    def save(self, progress: Progress, trainees: Any, metrics: dict[str, float]) -> None:
        """Write nothing."""

    def load(self, trainees: Any) -> Progress | None:
        """Return nothing."""
        return None


def ours(bench: Bench, steps: int, cached: bool) -> Callable[[], None]:
    """Return a function that makes `steps` steps of `assay train`."""
    config = bench.config
    caches = None
    if cached:
        caches = Caches(latents=latent_cache(config, bench.shards, bench.codec, bench.accelerator, lambda text: None))
    stage = DenoiserStage(config, bench.denoiser(), bench.codec, bench.text, bench.device)
    feed = ShardFeed(bench.shards, config.data, bench.gate, bench.accelerator, caches)
    kept = Kept(feed)
    trainer = Trainer(stage, Parts(config, bench.accelerator, kept, NoKeeper(), None, lambda: 0.0, lambda text: None))

    def run() -> None:
        stage.steps = trainer.progress.step + steps
        trainer.go_on(Interrupts())

    return run


class Kept:
    """A feed that stays open between rounds."""

    def __init__(self, feed: ShardFeed) -> None:
        self.feed = feed
        self._batches: Iterator[Any] | None = None

    def open(self, cursor: dict[str, Any] | None) -> Iterator[Any]:
        """Return the batches; closing what is returned leaves the feed open."""
        self._batches = self._batches or self.feed.open(cursor)
        return (batch for batch in self._batches)

    def cursor(self, batch: Any) -> dict[str, Any]:
        """Return the loader's state after this batch."""
        return self.feed.cursor(batch)

    def view(self) -> Any:
        """Return the view of the newest batch."""
        return self.feed.view()

    def recheck(self, step: int) -> int:
        """Ask nobody between rounds."""
        return 0


def spent() -> tuple[float, float]:
    """Return clock and CPU seconds: of this process and of its decoding processes, ended or not."""
    import psutil

    me = psutil.Process()
    cpu = sum(sum(one.cpu_times()[:2]) for one in (me, *me.children(recursive=True)))
    return time.monotonic(), cpu


def main() -> None:
    """Measure in turns and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--steps", type=int, default=10, help="steps a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE")
    given = parser.parse_args()
    config = parse_config(CONFIG, "benchmark", [*given.set, "autoencoder.cache=float16"])
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(given.run, config, Path(folder))
        loops = {
            "plain": plain(bench, given.steps),
            "on_the_fly": ours(bench, given.steps, False),
            "cached": ours(bench, given.steps, True),
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in loops}
        for _ in range(given.rounds + 1):
            for name, loop in loops.items():
                before = spent()
                loop()
                times[name].append(tuple(b - a for a, b in zip(before, spent(), strict=True)))  # type: ignore[arg-type]
    head = {
        "benchmark": "train",
        "device": device_name(bench.device),
        "batch": config.data.batch,
        "load": os.getloadavg()[0],
    }
    medians = {
        name: [statistics.median(one[kind] for one in found[1:]) / given.steps for kind in (0, 1)]
        for name, found in times.items()
    }
    for name, (clock, cpu) in medians.items():
        print(json.dumps({**head, "loop": name, "seconds_per_step": round(clock, 4), "cpu_per_step": round(cpu, 4)}))
    for name, bound in (("on_the_fly", 1.0), ("cached", 0.7)):
        clock, cpu = (medians[name][kind] / medians["plain"][kind] for kind in (0, 1))
        print(json.dumps({**head, "ratio": name, "clock": round(clock, 3), "cpu": round(cpu, 3), "at_most": bound}))


if __name__ == "__main__":
    main()
