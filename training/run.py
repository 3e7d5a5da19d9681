"""A whole training: gate, data, autoencoder, denoiser; each stage goes on from its newest checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from filters.errors import BadInput, TooManyFailures
from pipelines.run.directory import Run, open_run
from pipelines.run.lock import locked
from pipelines.run.storage import Store
from training.card import Origin, facts_of, origin_of
from training.checkpoints import checkpoints, read_facts, require_room, sweep
from training.config import Config, parse_config
from training.config_method import Full
from training.contents import CONFIG, AutoencoderContents, Contents, DenoiserContents
from training.data.exposure import Exposure, load_exposure
from training.data.loader import Caches
from training.data.samples import ShardSet, patient
from training.device import device_name, open_accelerator
from training.energy import Meter
from training.feed import ShardFeed
from training.gate import Gate, clear, record_checkpoint, removed
from training.keeper import Rules, StageKeeper, verify_state
from training.latents import fill_cache, latent_cache
from training.loaded import loaded_facts, resumed_facts
from training.loop import Parts, Trainer
from training.memory import memory_errors
from training.methods.base import Given, base_facts, load_base, on_base, require_same_base
from training.methods.choosing import method_of
from training.models.autoencoder import Codec, fit_scale, freeze, load_autoencoder, new_autoencoder
from training.models.denoiser import new_denoiser
from training.models.text import TextEncoder
from training.noise import seed_of
from training.progress import Progress
from training.recorder import Recorder, require_writers
from training.signals import Interrupts
from training.stages import AutoencoderStage, DenoiserStage, Stage
from training.together import leaving_together, on_first
from training.weights import read_weights

AUTOENCODER = "autoencoder"

#: Copies of the trained values in one checkpoint: shipped, raw, two of AdamW, moving average.
_COPIES = 5

#: Pictures that the scale of latents is measured on.
_SCALE_PICTURES = 1024


@dataclass(frozen=True)
class Result:
    """What a training came to: its last checkpoint, that one's identity, the last row of metrics."""

    checkpoint: Path
    identity: str
    steps: int
    metrics: dict[str, float]


class Training:
    """One training in one folder, on one dataset."""

    def __init__(self, config: Config, run: Run, out: Path, gate: Gate, say: Callable[[str], None]) -> None:
        self._config, self._run, self._out, self._gate, self._say = config, run, out, gate, say
        self._accelerator: Any = open_accelerator(config.loop)
        self._device: torch.device = self._accelerator.device
        self._main = bool(self._accelerator.is_main_process)
        self._shards = ShardSet.open(run)
        self._origin: Origin = origin_of(run)
        self._method_facts: dict[str, Any] = {}
        self._meter = Meter(self._device.index if self._device.type == "cuda" else None, config.logs.cpu_watts)

    def train(self) -> Result:
        """Train to the end. Raises `AssayError` in one line, `KeyboardInterrupt` after a checkpoint."""
        with leaving_together(self._accelerator):
            return self._train()

    def _train(self) -> Result:
        self._require_models()
        with locked(Store(str(self._out))) if self._main else nullcontext(), Interrupts() as interrupts:
            on_first(self._accelerator, self._claim)
            if isinstance(self._config.method, Full):
                metrics = self._denoiser(self._autoencoder(interrupts), interrupts)
            else:
                metrics = self._method(interrupts)
        step, path = checkpoints(self._out)[-1]
        facts = read_facts(path)
        last = facts.get("metrics")
        return Result(path, facts["checkpoint"], step, metrics or (last if isinstance(last, dict) else {}))

    def _require_models(self) -> None:
        """Open what the configuration names, and let go of it: not hours later, nor in a folder claimed in vain."""
        config = self._config
        if checkpoints(self._out) or not isinstance(config.method, Full):
            return  # all that is named is opened at once there
        try:
            TextEncoder(self._text_model(), config.text.tokens, 0, torch.device("cpu"))
        except BadInput as error:
            raise BadInput(f"{'text.model' if config.text.model else 'the recipe'}: {error}") from None
        if config.autoencoder.kind == "load":
            load_autoencoder(config.autoencoder.path)

    def _text_model(self) -> str:
        return self._config.text.model or self._run.recipe.similarity.model

    def _claim(self) -> None:
        """Write the configuration, or check that the folder is of the same one."""
        path = self._out / CONFIG
        if path.exists():
            old = parse_config(path.read_text(encoding="utf-8"), str(path), [])
            if old.fingerprint() != self._config.fingerprint():
                raise BadInput(f"{self._out}: holds a training by another configuration; use another --out")
        Store(str(self._out)).write(CONFIG, self._config.dump().encode())
        for folder in (self._out, self._out / AUTOENCODER):
            sweep(folder)

    def _autoencoder(self, interrupts: Interrupts) -> Any:
        """Return the frozen autoencoder: of the newest checkpoint, loaded, or trained now; None for pixels."""
        config = self._config.autoencoder
        if config.kind == "pixels":
            return None
        if found := checkpoints(self._out):
            verify_state(found[-1][1])
            network = load_autoencoder(str(found[-1][1]))
            self._method_facts = resumed_facts(found[-1][1], network) if config.kind == "load" else {}
            return network.to(self._device)
        if config.kind == "load":
            network = load_autoencoder(config.path)
            self._method_facts = loaded_facts(config.path, network)
            return network.to(self._device)
        torch.manual_seed(seed_of(self._config.seed, "autoencoder"))
        with memory_errors(AUTOENCODER, "while it was made", self._config):
            network = new_autoencoder(config)
        folder = self._out / AUTOENCODER
        if ready := _finished(folder, config.steps):
            verify_state(ready)
            done = ready
            on_first(self._accelerator, lambda: self._record(done, read_facts(done), load_exposure(done)))
        else:
            stage = AutoencoderStage(self._config, network, self._device)
            self._run_stage(stage, AutoencoderContents(self._config, network), folder, None, interrupts)
            ready = _finished(folder, config.steps)
        assert ready is not None
        network = new_autoencoder(config)  # after FSDP the trained one's values lie spread
        network.load_state_dict(read_weights(ready / "vae" / "diffusion_pytorch_model.safetensors"))
        freeze(network).to(self._device)
        self._accelerator.free_memory()
        with memory_errors(AUTOENCODER, "while its latents were scaled", self._config):
            factor = fit_scale(network, self._some_pictures())
        self._say(f"latents are multiplied by {factor:g}")
        return network

    def _some_pictures(self) -> list[torch.Tensor]:
        """Return the first pictures of the order, the same on all processes."""
        from training.data.batch import scaled
        from training.data.loader import Batches

        count, batch = len(self._shards), self._config.data.batch
        with Batches(self._shards, self._config.data) as batches:
            batches.remove(removed(self._out))
            readable = (one for one in islice(batches, 2 * (count // batch + 1)) if len(one))
            some = list(islice(readable, max(1, min(count, _SCALE_PICTURES) // batch)))
        if not some:
            raise TooManyFailures(f"{self._shards.url}: no picture can be read to measure the scale of latents on")
        return [scaled(one.images.to(self._device)) for one in some]

    def _denoiser(self, network: Any, interrupts: Interrupts) -> dict[str, float]:
        config = self._config
        codec = Codec(network)
        text_model = self._text_model()
        text = TextEncoder(text_model, config.text.tokens, config.text.cache_mb, self._device)
        torch.manual_seed(seed_of(config.seed, "denoiser"))
        side = config.data.buckets.resolution // codec.factor
        with memory_errors("denoiser", "while it was made", config):
            denoiser = new_denoiser(config.denoiser, codec.channels, side, text.width)
        stage = DenoiserStage(config, denoiser, codec, text, self._device)
        contents = DenoiserContents(config, denoiser, network, text.id, text_model)
        return self._run_stage(stage, contents, self._out, self._caches(codec), interrupts)

    def _method(self, interrupts: Interrupts) -> dict[str, float]:
        """Train what the configuration's method trains, on its base."""
        base = load_base(self._config, self._config.loop.device)
        base.network.to(self._device)
        require_same_base(self._out, base)
        wait = self._accelerator.wait_for_everyone
        given = Given(self._config, base, self._out, self._main, wait, self._say)
        method = method_of(given)
        self._method_facts = {"base": base_facts(base.facts), "method": method.facts()}
        return self._run_stage(method, method, self._out, self._caches(base.codec), interrupts)

    def _caches(self, codec: Codec) -> Caches | None:
        if self._config.autoencoder.cache == "none":
            return None
        cache = latent_cache(self._config, self._shards, codec, self._accelerator, self._say)

        def fill(shards: ShardSet) -> None:
            fill_cache(cache, self._config, shards, codec, self._accelerator, self._say)

        return Caches(cache, fill)

    def _run_stage(
        self, stage: Stage, contents: Contents, folder: Path, caches: Caches | None, interrupts: Interrupts
    ) -> dict[str, float]:
        config = self._config
        needed = 4 * contents.values() * _COPIES * (config.checkpoints.keep + 1)
        if self._main and not checkpoints(folder):
            require_room(folder, needed)

        def facts(progress: Progress, datasets: list[str], metrics: Mapping[str, float]) -> dict[str, Any]:
            origin = self._origin_now(feed.shards.content)
            return facts_of(config, origin, self._training_facts(stage, contents, progress, datasets), metrics)

        before = checkpoints(self._out / AUTOENCODER) if stage.name != AUTOENCODER else []
        rules = Rules(config.checkpoints.keep, facts, self._record, before[-1][1] if before else None)
        keeper = StageKeeper(folder, self._out, contents, rules, self._accelerator)
        feed = ShardFeed(self._shards, config.data, self._gate, self._accelerator, caches)
        recorder = Recorder(self._out, stage.name, config.logs, config.name) if self._main else None
        parts = Parts(config, self._accelerator, feed, keeper, recorder, self._meter.used, self._say)
        try:
            return Trainer(stage, parts).run(interrupts)
        finally:
            self._shards = feed.shards
            if recorder is not None:
                recorder.close()

    def _origin_now(self, content: str) -> Origin:
        """Return the card's part of the dataset: of the version `content` that is trained on now.

        Of the one before where that version has been replaced already; the next checkpoint tells of the newest.
        """
        if content != self._origin.dataset:
            found = patient(self._run.store.url, origin_of)
            self._origin = found if found.dataset == content else self._origin
        return self._origin

    def _training_facts(
        self, stage: Stage, contents: Contents, progress: Progress, datasets: list[str]
    ) -> dict[str, Any]:
        logs = self._config.logs
        return {
            "stage": stage.name,
            "step": progress.step,
            "steps": stage.steps,
            "samples": progress.samples,
            "parameters": contents.values(),
            "datasets": datasets,
            "processes": self._accelerator.num_processes,
            "device": device_name(self._device),
            "precision": self._config.loop.precision,
            "seconds": progress.seconds,
            "energy": self._meter.named(progress.joules, logs.grams_per_kwh),
            "rollbacks": progress.rollbacks,
            **self._method_facts,
        }

    def _record(self, path: Path, body: Mapping[str, Any], exposure: Exposure) -> None:
        record_checkpoint(self._run, str(body["checkpoint"]), path, exposure)


def train(
    config: Config,
    url: str,
    out: Path,
    registry: str | None,
    say: Callable[[str], None],
    signer: Ed25519PublicKey | None = None,
) -> Result:
    """Train on the dataset at `url` into the folder `out`, which lies outside it.

    Raises `BadInput` for a folder in the dataset's, `GateRefused`, both before anything else is done.

    `registry`: its URL, else the recipe's; `signer`: the key that must have signed the dataset's manifest.
    """
    run = open_run(url)
    _require_apart(run, out)
    gate = clear(run, out, registry, signer)
    require_writers(config.logs)
    return Training(on_base(config), run, out, gate, say).train()


def _require_apart(run: Run, out: Path) -> None:
    """Refuse a training's folder in the dataset's: its lock and checkpoints would be those of a job on the dataset."""
    own, place = Path(run.store.root).resolve(), out.resolve()
    if run.store.local and (place == own or own in place.parents):
        raise BadInput(f"--out {out}: lies in the dataset's own folder ({run.store.url}); name a folder outside it")


def _finished(folder: Path, steps: int) -> Path | None:
    """Return the checkpoint of the last step, None where there is none yet."""
    found = checkpoints(folder)
    return found[-1][1] if found and found[-1][0] >= steps else None
