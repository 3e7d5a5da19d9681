"""Makes tiny trainings: networks of some thousand values, pictures of 16 x 16 pixels."""

from functools import cache
from itertools import count

import numpy as np
import torch

from filters.encoders.torchvision_fix import ensure_torchvision
from training.card import Origin, facts_of
from training.config import Config, parse_config
from training.contents import AutoencoderContents, DenoiserContents
from training.data.batch import Batch
from training.data.order import Cursor
from training.data.view import View
from training.keeper import Rules, StageKeeper
from training.loop import Parts, Trainer
from training.models.autoencoder import Codec, freeze, new_autoencoder
from training.models.denoiser import new_denoiser
from training.models.text import TextEncoder
from training.recorder import Recorder
from training.signals import Interrupts
from training.stages import AutoencoderStage, DenoiserStage

YAML = """
name: tiny
data: {batch: 8, workers: 0, buckets: {resolution: 16, max_aspect: 1}}
autoencoder: {widths: [8, 16], groups: 4, steps: 4, losses: {perceptual: 0}}
text: {tokens: 6}
denoiser: {widths: [16, 32], groups: 8, attention_levels: 1, head_width: 16, layers: 1, dropout: 0.1}
optimiser: {rate: 0.001, warmup: 2}
loop: {steps: 6, device: cpu, threads: 1}
logs: {every: 1, histograms: 3, tensorboard: false}
checkpoints: {every: 2}
"""

CAPTIONS = ["a cat", "", "a dog", "a red car", "two trees", "", "a boat", "the moon"]


def tiny(*overrides: str) -> Config:
    """A configuration, with overrides as of `--set`."""
    return parse_config(YAML, "tiny.yaml", list(overrides))


def uids(batch: int, size: int) -> list[str]:
    """Uids that differ from batch to batch."""
    return [f"{batch:016x}{place:016x}" for place in range(size)]


class EndlessFeed:
    """Random pictures, eight a batch; `spoil` makes the pictures of some batches no numbers, once opened so often."""

    def __init__(self, spoil: dict[int, int] | None = None) -> None:
        self.spoil, self.opened = spoil or {}, 0
        words = np.arange(16, dtype=np.uint64).reshape(8, 2)
        zeros = np.zeros(8, np.int32)
        weight = np.ones(8, np.float32)
        self._view = View(
            url="memory",
            content="d" * 64,
            order="0",
            start=0,
            shards=("shards/shard-00000",),
            sizes=((16, 16),),
            words=words,
            shard=zeros,
            weight=weight,
            bucket=zeros.astype(np.int16),
            carried=np.empty(0, np.int64),
        )

    def open(self, cursor):
        self.opened += 1
        for number in count(cursor["position"] if cursor else 0):
            yield self.batch(number)

    def batch(self, number):
        source = torch.Generator().manual_seed(number)
        images = torch.randint(0, 256, (8, 3, 16, 16), generator=source).to(torch.uint8)
        bad = self.spoil.get(number, 0) >= self.opened
        return Batch(
            epoch=0,
            number=number,
            last=False,
            cursor=Cursor(0, number + 1, self._view.name),
            view=self._view.name,
            rows=np.arange(8),
            uids=uids(number, 8),
            images=images,
            captions=CAPTIONS,
            dropped=torch.tensor([not text for text in CAPTIONS]),
            weights=torch.full((8,), float("nan") if bad else 1.0),
            sizes=torch.full((8, 2), 16),
            crops=torch.zeros(8, 2),
            flipped=torch.zeros(8, dtype=torch.bool),
            planned=8,
        )

    def cursor(self, batch):
        return batch.cursor.state()

    def view(self):
        return self._view

    def recheck(self, step):
        return 0


@cache
def text_encoder(tokens):
    """The frozen encoder, loaded once for all trainings of a test process."""
    return TextEncoder("builtin:mini", tokens, 10, torch.device("cpu"))


def accelerator(precision="no"):
    """Accelerate's view of this one process."""
    ensure_torchvision()
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(True)
    return Accelerator(cpu=True, mixed_precision=precision)


def trainer(config, folder, feed=None, stage="denoiser", records=None, acc=None):
    """A trainer of one stage, its checkpoints and metrics in `folder`; the lines it says are in `.said`."""
    acc = acc or accelerator({"fp32": "no"}.get(config.loop.precision, config.loop.precision))
    torch.manual_seed(1)
    vae = new_autoencoder(config.autoencoder)
    if stage == "autoencoder":
        made, contents = AutoencoderStage(config, vae, acc.device), AutoencoderContents(config, vae)
    else:
        text = text_encoder(config.text.tokens)
        codec = Codec(freeze(vae))
        torch.manual_seed(2)
        network = new_denoiser(config.denoiser, codec.channels, 16 // codec.factor, text.width)
        made = DenoiserStage(config, network, codec, text, acc.device)
        contents = DenoiserContents(config, network, vae, text.id, "builtin:mini")
    origin = Origin("d" * 64, "tiny data", 9, 8, {"REGISTRY_OPT_OUT": 1}, [], None)

    def facts(progress, datasets, metrics):
        training = {"stage": stage, "step": progress.step, "steps": made.steps, "samples": progress.samples}
        training |= {"parameters": contents.values(), "datasets": datasets, "processes": 1, "device": "CPU"}
        training |= {"precision": "fp32", "seconds": 1.0, "rollbacks": progress.rollbacks}
        training["energy"] = {"kwh": 0.0, "co2_grams": 0.0, "method": "none"}
        return facts_of(config, origin, training, metrics)

    seen = records if records is not None else []
    rules = Rules(config.checkpoints.keep, facts, lambda path, body, exposure: seen.append((path, body)))
    keeper = StageKeeper(folder, folder, contents, rules, acc)
    said: list[str] = []
    recorder = Recorder(folder, stage, config.logs, config.name)
    found = Trainer(made, Parts(config, acc, feed or EndlessFeed(), keeper, recorder, lambda: 0.0, said.append))
    found.said = said
    return found


def run(*given, **named):
    """Make a trainer and train to the end; returns the last metrics."""
    return trainer(*given, **named).run(Interrupts())


def curve(folder, metric="denoiser/loss"):
    """Step and value of one metric, as written."""
    rows = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()[1:]]
    return [(int(row[1]), row[3]) for row in rows if row[2] == metric]
