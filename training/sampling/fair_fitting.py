"""Learning a direction's probe from a checkpoint's own dataset, once a folder of pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np

from audit.groups.lexicon import languages_of, load_all
from audit.groups.matcher import Matcher
from filters.encoders.uri import load_encoder
from filters.errors import BadInput
from filters.json_text import read_json
from pipelines.run.directory import Run
from pipelines.run.storage import Store
from training.config import parse_config
from training.contents import CONFIG
from training.data.batch import scaled
from training.data.loader import Batches
from training.data.mixing import mix, uid_words
from training.data.samples import ShardSet
from training.sampling.diversify import diversifier_of
from training.sampling.fair import Fair
from training.sampling.fair_direction import Direction, load_direction, measure_of
from training.sampling.fair_probe import MOST, Probe, fit_probe, read_probe
from training.sampling.model import Model

#: Where probes lie in a folder of pictures.
CACHE = "fair.json"

#: Fewer pictures than this say nothing about latents of hundreds of numbers (ours).
FEWEST = 200

#: Share of a measure's variance that latents must tell of pictures that the probe has not seen (ours): below, the
#: guidance would push along noise.
LEAST_R2 = 0.1

_BATCH = 64

#: Largest guidance that is taken: more only breaks pictures.
_MOST_SCALE = 100.0


def fair_name(named: str, scale: float) -> str:
    """Return what stands for the guidance in a folder's record: the direction, its digest and the scale."""
    direction = load_direction(named)
    return f"{direction.name}@{direction.digest} x {scale:g}"


def require_scale(scale: float) -> None:
    """Raise `BadInput` for an impossible scale of the guidance."""
    if not 0 < scale <= _MOST_SCALE:
        raise BadInput(f"--fair-scale {scale:g}: above 0, at most {_MOST_SCALE:g}")


def fair_of(named: str, scale: float, model: Model, run: Run | None, folder: Path, say: Callable[[str], None]) -> Fair:
    """Return the guidance along a direction, its probe read from `folder` or learned now.

    Raises `BadInput` for an impossible scale, an unknown direction, no dataset, too few pictures, and where the
    latents do not tell the attribute.
    """
    require_scale(scale)
    direction = load_direction(named)
    stated = diversifier_of(direction.stated_by.axes) if direction.stated_by is not None else None
    if stated is not None and direction.stated_by is not None and direction.stated_by.axis not in stated.axes.axes:
        raise BadInput(
            f"--fair-axis {direction.name}: {direction.stated_by.axes} has no axis {direction.stated_by.axis}"
        )
    if run is None:
        raise BadInput("--fair-axis: what the latents say of it is learned from the dataset; name it with --run")
    probe = probe_of(direction, model, run, folder, say)
    if probe.r2 < LEAST_R2:
        raise BadInput(
            f"--fair-axis {direction.name}: this model's latents tell {max(probe.r2, 0):.2f} of it (R2 on held-out "
            f"pictures), at least {LEAST_R2:g} is asked for; guiding by them would push along noise"
        )
    return Fair(direction, probe, scale, stated)


def probe_of(direction: Direction, model: Model, run: Run, folder: Path, say: Callable[[str], None]) -> Probe:
    """Return a direction's probe for a checkpoint and a dataset. Raises `BadInput`."""
    shards = ShardSet.open(run)
    text = f"1 {shards.content} {model.identity} {direction.digest} {model.text.id}"
    key, store = hashlib.sha256(text.encode()).hexdigest(), Store(str(folder))
    kept = _read(store, key)
    if kept is not None:
        return kept
    say(f"learning {direction.name} from up to {min(MOST, len(shards))} training pictures")
    probe = learn(direction, model, shards)
    say(f"latents tell {max(probe.r2, 0):.2f} of {direction.name} (R2, held-out pictures), by {probe.count} pictures")
    store.write(CACHE, json.dumps({"key": key, "probe": probe.body()}, sort_keys=True).encode())
    return probe


def learn(direction: Direction, model: Model, shards: ShardSet) -> Probe:
    """Measure and encode training pictures as the model sees them; fit. Raises `BadInput` where there are too few."""
    measure = measure_of(direction, lambda: load_encoder(model.text.uri, threads=1))
    people = _people() if direction.people_only else None
    latents: list[np.ndarray] = []
    measured: list[float] = []
    order: list[int] = []
    config = parse_config((model.path / CONFIG).read_text(encoding="utf-8"), str(model.path / CONFIG), []).data
    size = max(1, min(_BATCH, len(shards)))
    fixed = {"batch": size, "weighting": "loss", "crop": "centre", "flip": 0.0, "caption_dropout": 0.0}
    data = config.model_copy(update=fixed)
    side = model.side // model.codec.factor
    with Batches(shards, data) as batches:
        for batch in islice(batches, len(shards) // size):  # whole batches of one epoch: each picture once
            rows = [at for at, caption in enumerate(batch.captions) if people is None or people.match(caption)]
            if not rows or len(latents) >= MOST:
                continue
            pixels = batch.images[rows]
            found = model.codec.encode(scaled(pixels).to(model.device)).cpu()
            if found.shape[2:] != (side, side):  # buckets of other shapes have other latents
                continue
            latents += list(found.numpy())
            measured += measure(pixels.permute(0, 2, 3, 1).numpy()).tolist()
            order += mix(uid_words([batch.uids[at] for at in rows], "uid")[:, 0]).tolist()
    if len(latents) < FEWEST:
        what = "square pictures whose captions name people" if people is not None else "square pictures"
        raise BadInput(
            f"--fair-axis {direction.name}: the dataset has {len(latents)} {what}; at least {FEWEST} are needed"
        )
    try:
        return fit_probe(np.stack(latents[:MOST]), np.array(measured[:MOST]), np.array(order[:MOST], dtype=np.uint64))
    except ValueError as error:
        raise BadInput(f"--fair-axis {direction.name}: cannot be learned: {error}") from None


def _people() -> Matcher:
    """Return what finds captions that name people: by occupation, gender or age."""
    names = ("occupations", "gender_terms", "age_terms")
    return Matcher([(name, lexicon) for name in names for lexicon in load_all(name, languages_of(name))])


def _read(store: Store, key: str) -> Probe | None:
    if not store.exists(CACHE):
        return None
    try:
        body = read_json(store.read(CACHE))
        return read_probe(body["probe"]) if body["key"] == key else None
    except (ValueError, KeyError, TypeError, RuntimeError):
        return None
