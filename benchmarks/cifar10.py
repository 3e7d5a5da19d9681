"""CIFAR-10 from end to end: `python -m benchmarks.cifar10 data|time|train|evaluate`; one JSON line a figure.

data       shards with captions from the binary version (--source), then `assay run` over them
time       some steps of `assay train` with examples/train/cifar10.yaml: pictures a second, share of the card's peak,
           share of the time that the loop waits for data (no more than that of the GPU's idle time is the loader's)
train      the whole training: 800,000 steps, days on one GPU; the same command goes on from the last checkpoint
evaluate   the Fréchet distance by Inception's features, beside the published one

All lie beside `--run`: RUN-shards, RUN-timing, RUN-model, RUN-evaluation. Every step works on a CPU too, with
`--set` to make it small; a share of the peak is stated for cards of the table alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cifar10_data import write_shards
from filters.errors import AssayError, BadInput
from pipelines.registry.store import create_registry

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "examples" / "train" / "cifar10.yaml"

RECIPE = """# CIFAR-10 as it is: nothing is dropped, as the published distances are to all training pictures.
version: 1
name: cifar10
input: {{kind: webdataset, path: {shards}}}
scorers: [size, hashes, caption]
rights: {{default: fail_open, registry: {registry}}}
shards: {{samples: 5000}}
"""


@dataclass(frozen=True)
class Card:
    """A graphics card by what torch calls it: every word of `words` is part of the name.

    `tera`: dense multiply-adds in bf16, 10^12 floating-point operations a second, by the maker's data sheet.
    """

    words: tuple[str, ...]
    tera: float
    source: str


#: Where a sheet states the figure with sparsity alone, half of it. The first that fits counts.
CARDS = (
    Card(("H200",), 989.5, "NVIDIA H200 data sheet: 1,979 with sparsity (SXM)"),
    Card(("H100", "PCIe"), 756.5, "NVIDIA H100 data sheet: 1,513 with sparsity (PCIe)"),
    Card(("H100", "HBM3"), 989.5, "NVIDIA H100 data sheet: 1,979 with sparsity (SXM)"),
    Card(("A100",), 312.0, "NVIDIA A100 data sheet: 312"),
    Card(("L40S",), 362.0, "NVIDIA L40S data sheet: 362"),
    Card(("NVIDIA L4",), 121.0, "NVIDIA L4 data sheet: 242 with sparsity"),
    Card(("RTX 4090",), 165.2, "NVIDIA Ada architecture whitepaper: 165.2, FP32 accumulate"),
)

#: Denoising Diffusion Probabilistic Models, arXiv:2006.11239, table 1: without captions, 50,000 pictures, 1,000 steps.
DDPM = {"published": 3.17, "published_pictures": 50_000, "published_source": "arXiv:2006.11239, table 1"}


def card_of(device: str, precision: str) -> Card | None:
    """Return the card that a device's name belongs to; None where it is unknown or the precision is not 16 bits'."""
    fitting = (card for card in CARDS if all(word in device for word in card.words))
    return next(fitting, None) if precision in ("bf16", "fp16") else None


def step_flops(config: Any, text_width: int) -> int:
    """Return the floating-point operations of one training step of the denoiser, forward and backward.

    Counted by torch on a network without values, for one picture, times the step's pictures: products and
    convolutions alone, as is usual. What the text encoder reads is cached, so it counts nothing.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from training.models.denoiser import denoise, new_denoiser

    side = config.data.buckets.resolution
    with torch.device("meta"):
        network = new_denoiser(config.denoiser, 3, side, text_width).train()
        noisy, level = torch.empty(1, 3, side, side), torch.zeros(1, dtype=torch.int64)
        text = torch.empty(1, config.text.tokens, text_width)
        mask = torch.ones(1, config.text.tokens, dtype=torch.bool)
    with FlopCounterMode(display=False) as counter:
        denoise(network, noisy, level, text, mask).sum().backward()
    return int(counter.get_total_flops()) * config.data.batch * config.loop.accumulate


@dataclass(frozen=True)
class Row:
    """One row of a training's log: mean seconds of its steps, seconds that they waited for data."""

    step: int
    seconds: float
    waiting: float


def rows_of(metrics: Path) -> list[Row]:
    """Return the denoiser's rows of a metrics.csv, in order."""
    found: dict[int, dict[str, float]] = {}
    with metrics.open(newline="") as stream:
        for stage, step, name, value in list(csv.reader(stream))[1:]:
            if stage == "denoiser" and name in ("seconds_per_step", "waiting"):
                found.setdefault(int(step), {})[name] = float(value)
    return [Row(step, one["seconds_per_step"], one["waiting"]) for step, one in sorted(found.items())]


def figures(rows: Sequence[Row], every: int, batch: int, flops: int, card: Card | None) -> dict[str, Any]:
    """Return what the rows come to, without the first: it starts decoders and compiles. Raises `BadInput`."""
    if len(rows) < 2:
        raise BadInput("--steps: two rows of --every steps at least; the first starts decoders and is left out")
    warm = rows[1:]
    second = statistics.median(row.seconds for row in warm)
    waiting = sum(row.waiting for row in warm) / sum(row.seconds * every for row in warm)
    reached = flops / second / 1e12
    return {
        "seconds_per_step": round(second, 5),
        "pictures_a_second": round(batch / second, 2),
        "tera_flops_a_step": round(flops / 1e12, 6),
        "tera_flops_a_second": round(reached, 4),
        "share_of_peak": round(reached / card.tera, 4) if card else None,
        "peak": card.source if card else "unknown device or precision: no share",
        "waiting_for_data": round(waiting, 4),
        "waiting_at_most": 0.05,
    }


def assay(*arguments: object) -> str:
    """Run the command line; return its output. Raises `BadInput` where it does not end well."""
    code = "from pipelines.commands.main import main; main()"
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], env=env, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise BadInput(f"assay {arguments[0]} ended with {done.returncode}; see above")
    return done.stdout


def beside(run: Path, what: str) -> Path:
    """Return the place of `what`: beside the run, with its name."""
    return run.with_name(f"{run.name}-{what}")


def data(given: argparse.Namespace) -> dict[str, Any]:
    """Make shards and run the recipe."""
    if given.source is None:
        raise BadInput("data: --source names cifar-10-binary.tar.gz or its folder")
    shards = beside(given.run, "shards").resolve()
    count = write_shards(given.source, shards)
    recipe = beside(given.run, "recipe.yaml")
    registry = beside(given.run, "optouts.sqlite").resolve()
    if not registry.exists():
        create_registry(str(registry)).close()  # empty: the check asks for one, and for entries that come later
    recipe.write_text(RECIPE.format(shards=json.dumps(str(shards)), registry=json.dumps(str(registry))))
    assay("run", recipe, "--out", given.run)
    return {"figure": "data", "pictures": count, "run": str(given.run)}


def timed(given: argparse.Namespace) -> dict[str, Any]:
    """Train a few steps in a folder of their own."""
    import shutil

    import torch

    from pipelines.run.directory import open_run
    from training.checkpoints import checkpoints, read_facts
    from training.config import load_config
    from training.models.text import TextEncoder

    out = beside(given.run, "timing")
    if out.exists():
        shutil.rmtree(out)
    logs = [f"logs.every={given.every}", f"logs.histograms={given.steps + 1}", "logs.tensorboard=false"]
    settings = [f"loop.steps={given.steps}", f"checkpoints.every={given.steps}", *logs, *given.set]
    _train(given, out, settings)
    config = load_config(CONFIG, settings)
    facts = read_facts(checkpoints(out)[-1][1])
    encoder = config.text.model or open_run(str(given.run)).recipe.similarity.model
    width = TextEncoder(encoder, config.text.tokens, 0, torch.device("cpu")).width
    flops = step_flops(config, width)
    batch = config.data.batch * config.loop.accumulate
    card = card_of(facts["device"], facts["precision"])
    head = {"figure": "time", "device": facts["device"], "precision": facts["precision"], "batch": batch}
    head |= {"parameters": facts["parameters"], "processes": facts["processes"], "steps": given.steps}
    return {**head, **figures(rows_of(out / "metrics.csv"), given.every, batch, flops, card)}


def whole(given: argparse.Namespace) -> dict[str, Any]:
    """Train to the end, or go on."""
    out = beside(given.run, "model")
    found = json.loads(_train(given, out, given.set))
    return {"figure": "train", **found}


def _train(given: argparse.Namespace, out: Path, settings: Sequence[str]) -> str:
    chosen = [part for setting in settings for part in ("--set", setting)]
    return assay("train", CONFIG, "--data", given.run, "--out", out, *chosen, "--json")


def evaluated(given: argparse.Namespace) -> dict[str, Any]:
    """Measure the newest checkpoint of the whole training."""
    amounts = ["--pictures", given.pictures, "--compared", given.compared, "--seeds", 0, "--batch", given.batch]
    sampling = ["--scheduler", given.scheduler, "--steps", given.sampling_steps, "--guidance", given.guidance]
    out = ["--out", beside(given.run, "evaluation"), "--features", given.features, "--json"]
    text = assay("evaluate", "generation", beside(given.run, "model"), "--run", given.run, *amounts, *sampling, *out)
    return beside_published(json.loads(text))


def beside_published(found: dict[str, Any]) -> dict[str, Any]:
    """Return an evaluation's Fréchet distance beside the published one, and why the two may not be compared."""
    frechet, asked = found["frechet"], found["asked"]
    reasons = []
    if "value" not in frechet:
        reasons.append(frechet["why"])
    elif not asked["features"].startswith("Inception"):
        reasons.append(f"by features of {asked['features']}, not Inception's")
    fewest = min(frechet.get("generated", 0), frechet.get("real", 0))
    if fewest < DDPM["published_pictures"]:
        reasons.append(f"{fewest} pictures a side, not 50,000")
    if asked["scheduler"] != "ddpm" or asked["steps"] != 1000:
        reasons.append(f"{asked['steps']} steps of {asked['scheduler']}, not 1,000 of ddpm")
    return {
        "figure": "evaluate",
        "step": found["subject"]["step"],
        "frechet": frechet.get("value"),
        "pictures": fewest,
        "features": asked["features"],
        **DDPM,
        "not_comparable": [*reasons, "with captions (class names), and a network of its own"],
    }


def main() -> None:
    """Run one part and print its line; exit code 2 with one line for what cannot be."""
    parts = {"data": data, "time": timed, "train": whole, "evaluate": evaluated}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=parts)
    parser.add_argument("--run", type=Path, default=Path("runs/cifar10"))
    parser.add_argument("--source", type=Path, help="cifar-10-binary.tar.gz or its folder")
    parser.add_argument("--steps", type=int, default=400, help="steps that are timed, and those before")
    parser.add_argument("--every", type=int, default=50, help="steps a row; the first row is left out")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="as of assay train")
    parser.add_argument("--pictures", type=int, default=50_000)
    parser.add_argument("--compared", type=int, default=50_000)
    parser.add_argument("--batch", type=int, default=256, help="pictures sampled at once")
    parser.add_argument("--scheduler", default="ddpm")
    parser.add_argument("--sampling-steps", type=int, default=1000)
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--features", default="inception")
    given = parser.parse_args()
    try:
        print(json.dumps(parts[given.part](given)), flush=True)
    except AssayError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
