"""From names on the command line to the parts of a generator: keys, data to compare with, starting pictures."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from filters.decoding import Undecodable, decode
from filters.encoders.base import Encoder
from filters.encoders.uri import load_encoder
from filters.environment import SIGNING_CHAIN, SIGNING_KEY, WATERMARK_KEY
from filters.errors import BadInput
from filters.scorers.nsfw import NsfwScorer
from pipelines.jobs.match import encoder_of, make_matcher
from pipelines.registry.matcher import incomparable
from pipelines.registry.store import open_registry
from pipelines.retraction.versions import version_records
from pipelines.run.directory import Run, open_run
from pipelines.run.manifest import read_manifest
from pipelines.run.recipe_rights import Rights
from training.hallmark.credentials import Sealer, TimeAuthority
from training.hallmark.keys import SigningKey, key_from_environment, key_from_files
from training.hallmark.watermark import WatermarkKey, read_key_file
from training.sampling.adapter import Adapter
from training.sampling.guards import Bounds, Guards
from training.sampling.model import Model
from training.sampling.parts import bases_within
from training.sampling.sample import Start
from training.sampling.seen import seen_by
from training.sampling.training_looks import training_looks

_NO_KEYS = "pictures are always marked and signed; make keys with assay keys init DIR and name them with --keys DIR"

_MAX_FILE = 1 << 30

#: Looks of an adapter's training pictures in a folder of pictures, beside `seen.json`; and of each further base's.
ADAPTER_CACHE, BASE_CACHE = "seen-adapter.json", "seen-base-{}.json"


@dataclass(frozen=True)
class KeyNames:
    """Where the keys are: in a folder of `assay keys init`, or each by itself; else in the environment."""

    folder: Path | None = None
    key: Path | None = None
    chain: Path | None = None
    watermark: Path | None = None


def sealer_of(names: KeyNames, authority: str | None) -> Sealer:
    """Return what signs. Raises `BadInput` where there is no key."""
    stamps = TimeAuthority(authority) if authority else None
    return Sealer(_signing_key(names), stamps)


def _signing_key(names: KeyNames) -> SigningKey:
    key = names.key or (names.folder / "key.pem" if names.folder else None)
    chain = names.chain or (names.folder / "chain.pem" if names.folder else None)
    if (key is None) != (chain is None):
        raise BadInput("--key and --chain belong together")
    if key is not None and chain is not None:
        if not key.exists() or not chain.exists():
            raise BadInput(f"{key if not key.exists() else chain}: no such file; {_NO_KEYS}")
        return key_from_files(key, chain)
    if not os.environ.get(SIGNING_KEY) or not os.environ.get(SIGNING_CHAIN):
        raise BadInput(f"no signing key: {_NO_KEYS}")
    return key_from_environment()


def watermark_key(names: KeyNames) -> WatermarkKey:
    """Return the secret of the marks. Raises `BadInput` where there is none."""
    named = names.watermark or (names.folder / "watermark.key" if names.folder else None)
    if named is None and os.environ.get(WATERMARK_KEY):
        named = Path(os.environ[WATERMARK_KEY])
    if named is None:
        raise BadInput(f"no watermark key: {_NO_KEYS}")
    return read_key_file(named)


@dataclass(frozen=True)
class GuardNames:
    """What the guards are held against, and how strict they are. `fewer`: go on without what is not named.

    `adapter_run`: the dataset of the adapter, where there is one and its dataset is another; `base_runs`: those of the
    checkpoint's bases, such as a student's teacher.
    """

    run: str | None = None
    registry: str | None = None
    fewer: bool = False
    creators: bool = True
    nsfw: float = 0.8
    adapter_run: str | None = None
    base_runs: tuple[str, ...] = ()


def guards_of(
    names: GuardNames,
    model: Model,
    folder: Path,
    stack: ExitStack,
    say: Callable[[str], None],
    adapter: Adapter | None = None,
) -> tuple[Guards, Run | None]:
    """Return the guards, loaded, and the dataset. Raises `BadInput` where something is missing.

    `folder`: where the pictures go, and the datasets' looks are kept; `stack` closes the registry.
    """
    if not 0 < names.nsfw <= 1:
        raise BadInput(f"--nsfw {names.nsfw:g}: above 0, at most 1")
    run = _dataset(names, model.facts)
    rights = run.recipe.rights if run is not None else Rights()
    looks = None
    other = _adapter_dataset(names, run, adapter)
    bases = _base_datasets(names, run, model.facts)
    if run is not None:
        # what a base was shown is known by its dataset alone: it is looked at in the sizes of what was made from it
        more = [(one, seen_by(model, one, folder, say, BASE_CACHE.format(at + 1))) for at, one in enumerate(bases)]
        if other is not None and adapter is not None:
            more.append((other, seen_by(replace(model, path=adapter.path), other, folder, say, ADAPTER_CACHE)))
        looks = training_looks(run, seen_by(model, run, folder, say), more)
    encoder: Encoder | None = None
    url = names.registry or rights.registry
    matcher = None
    if url is not None:
        registry = stack.enter_context(open_registry(url))
        named = encoder_of(run) if run is not None else None
        matcher = make_matcher(registry, registry.snapshot(), rights, named)
        if matcher.needs_embeddings and run is not None:
            encoder = load_encoder(run.recipe.similarity.model, threads=1)
            if encoder.model_id() != named:
                raise BadInput(f"{run.store.url}: embeddings by {named}, but this encoder is {encoder.model_id()}")
        if others := incomparable(registry, registry.snapshot(), named):
            say(f"{url}: {len(others)} registered pictures are embeddings of another encoder: not compared")
    elif not names.fewer:
        raise BadInput("no opt-out registry: name it with --registry, or go on without that guard: --fewer-guards")
    nsfw = NsfwScorer(threads=1)
    nsfw.load()
    bounds = Bounds(names.nsfw, rights.look_alike)
    return Guards(bounds, nsfw, looks, matcher, encoder, rights, names.creators), run


def _dataset(names: GuardNames, facts: dict[str, Any]) -> Run | None:
    """Return the dataset that the checkpoint was trained on, in whatever version it is now."""
    if names.run is None:
        if names.fewer:
            return None
        raise BadInput(
            "name the dataset that the checkpoint was trained on with --run, so that look-alikes of its pictures are "
            "refused, or go on without that guard: --fewer-guards"
        )
    run = open_run(names.run)
    if not _trained_on(run, facts):
        raise BadInput(f"{names.run}: the checkpoint was not trained on this dataset")
    return run


def _adapter_dataset(names: GuardNames, run: Run | None, adapter: Adapter | None) -> Run | None:
    """Return the dataset that the adapter was trained on; None where it is the model's own, or where none is asked."""
    if adapter is None:
        if names.adapter_run is not None:
            raise BadInput("--adapter-run needs an adapter: --adapter")
        return None
    if names.adapter_run is not None:
        if run is None:
            raise BadInput("--adapter-run goes with --run: name the dataset of the checkpoint, too")
        other = open_run(names.adapter_run)
        if not _trained_on(other, adapter.facts):
            raise BadInput(f"{names.adapter_run}: the adapter was not trained on this dataset")
        return other
    if names.fewer or adapter_compared(names, run, adapter):
        return None
    raise BadInput(
        "name the dataset that the adapter was trained on with --adapter-run, so that look-alikes of its pictures are "
        "refused, or go on without that guard: --fewer-guards"
    )


def _base_datasets(names: GuardNames, run: Run | None, facts: dict[str, Any]) -> list[Run]:
    """Return the datasets that the checkpoint's bases were trained on, but for its own.

    A student repeats what its teacher was shown.
    """
    others = [base for base in bases_within(facts) if run is None or not _trained_on(run, base)]
    if names.base_runs and run is None:
        raise BadInput("--base-run goes with --run: name the dataset of the checkpoint, too")
    found = [open_run(url) for url in names.base_runs]
    for one in found:
        if not any(_trained_on(one, base) for base in others):
            raise BadInput(f"{one.store.url}: no dataset that a base of the checkpoint was trained on, beside --run")
    for base in others:
        if not names.fewer and not any(_trained_on(one, base) for one in found):
            raise BadInput(
                f"the checkpoint was made from {base['name']} (step {base['step']}): name the dataset {base['data']}, "
                "which that was trained on, with --base-run, so that look-alikes of its pictures are refused, or go "
                "on without that guard: --fewer-guards"
            )
    return found


def bases_compared(names: GuardNames, run: Run | None, facts: dict[str, Any]) -> dict[str, str]:
    """Return what a credential says of the looks of the bases' training pictures; nothing where there is no base."""
    bases = bases_within(facts)
    known = [] if run is None else [run, *(open_run(url) for url in names.base_runs)]
    compared = all(any(_trained_on(one, base) for one in known) for base in bases)
    return {"base_looks": "compared" if compared else "not compared"} if bases else {}


def adapter_compared(names: GuardNames, run: Run | None, adapter: Adapter) -> bool:
    """Tell whether the guards know the looks of the adapter's own training pictures: what a credential says of it."""
    return names.adapter_run is not None or (run is not None and _trained_on(run, adapter.facts))


def _trained_on(run: Run, facts: dict[str, Any]) -> bool:
    """Tell whether a checkpoint was trained on a dataset, in whatever version it is now."""
    records = version_records(run.store)
    versions = {str(read_manifest(run)["content_hash"]), *(str(record["before"]) for record in records)}
    return bool(versions & {str(one) for one in facts.get("datasets", [])})


def start_of(picture: Path | None, mask: Path | None, size: tuple[int, int]) -> tuple[Start | None, str]:
    """Return the starting picture, brought to (width, height), and the SHA-256 over its file and the mask's.

    The picture is cut to the shape around its middle; the mask (white: may change) goes with it. Raises `BadInput`.
    """
    if picture is None:
        if mask is not None:
            raise BadInput("--mask needs a picture: --image")
        return None, ""
    data = _read(picture)
    image = _decoded(data, picture)
    digest = hashlib.sha256(hashlib.sha256(data).digest())
    pixels = np.asarray(_fitted(image, size, Image.Resampling.LANCZOS))
    where = None
    if mask is not None:
        raw = _read(mask)
        digest.update(hashlib.sha256(raw).digest())
        drawn = _decoded(raw, mask)
        if drawn.size != image.size:
            raise BadInput(f"{mask}: {drawn.width}x{drawn.height}, but {picture} is {image.width}x{image.height}")
        where = np.asarray(_fitted(drawn, size, Image.Resampling.NEAREST).convert("L")) >= 128
        if not where.any():
            raise BadInput(f"{mask}: nothing in it is white, so nothing may change")
    return Start(pixels, where), digest.hexdigest()


def _fitted(image: Image.Image, size: tuple[int, int], how: Image.Resampling) -> Image.Image:
    scale = max(size[0] / image.width, size[1] / image.height)
    width, height = min(size[0] / scale, image.width), min(size[1] / scale, image.height)
    left, top = (image.width - width) / 2, (image.height - height) / 2
    return image.resize(size, how, (left, top, left + width, top + height))


def _decoded(data: bytes, path: Path) -> Image.Image:
    try:
        return decode(data).image
    except Undecodable as error:
        raise BadInput(f"{path}: is no picture that can be read ({error.detail})") from None


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_FILE:
            raise BadInput(f"{path}: larger than 1 GiB")
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
