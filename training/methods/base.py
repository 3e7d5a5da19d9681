"""What a method is: one object that trains something new on a checkpoint, its base.

A method has the loop's `Stage` (the modules that are trained, what they read of a batch, what they pay for it) and
the keeper's `Contents` (which files a checkpoint of it holds) in one, and says what the model card should know of it.
Loop, resuming, exposure log, gate, keeper, card and guard treat it as they treat the training of a denoiser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from filters.errors import BadInput
from training.checkpoints import checkpoints, read_facts
from training.config import Config, parse_config
from training.config_method import FromBase
from training.contents import CONFIG
from training.data.batch import Batch
from training.sampling.model import Model, Running, load_model, newest
from training.stages import Player

#: Sections of the configuration that a method takes from its base.
_FIXED = ("autoencoder", "text", "denoiser", "objective")

#: Of these, what may differ: it decides nothing about the networks.
_FREE = {("autoencoder", "cache"), ("text", "cache_mb"), ("denoiser", "checkpointing"), ("objective", "bound")}

#: Stages whose checkpoints are distilled students.
STUDENTS = ("consistency", "progressive")


class Method(Protocol):
    """One way of training from a base; made by `training.methods.choosing.method_of`.

    `name` is the stage's: it stands in metrics.csv and in a checkpoint's facts, and one of `players` bears it. The
    players' networks are put on the device and into training mode by the loop; of their values only those are trained
    and kept in `state/` that require gradients.
    """

    name: str
    steps: int
    players: list[Player]

    def prepare(self, batch: Batch, step: int) -> Any:
        """Return what the players read of a batch; draws all random numbers (training/noise.py: by step and uid)."""
        ...

    def diagnose(self, given: Any) -> dict[str, float]:
        """Return numbers about the networks that are worth a pass of their own now and then."""
        ...

    def fill(self, folder: Path, weights: Mapping[str, dict[str, Tensor]], datasets: list[str]) -> None:
        """Write a checkpoint's files; `weights`: trained values (their moving average) by the player's name."""
        ...

    def values(self) -> int:
        """Return the number of values that are trained, all players together."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return what `assay.json` says under `method`: `kind`, and `needs_base` if it is no whole model."""
        ...


@dataclass(frozen=True)
class Given:
    """What a method is made from.

    `config`: with the base's sections put in (`on_base`); `base`: the loaded base, frozen, its files checked against
    their hashes; `folder`: the training's, to keep things in; `main`: whether this is the first process, which alone
    writes; `wait()`: until all processes are here; `say` prints a line for people.
    """

    config: Config
    base: Model
    folder: Path
    main: bool
    wait: Callable[[], None]
    say: Callable[[str], None]

    @property
    def device(self) -> torch.device:
        """Return where the networks are."""
        return self.base.device


def on_base(config: Config) -> Config:
    """Return the configuration with the sections that the base decides; unchanged for method `full`.

    Raises `BadInput` where the base is no checkpoint of a denoiser, or where a key contradicts it.
    """
    if not isinstance(config.method, FromBase):
        return config
    path = base_of(config)
    theirs = parse_config(_text(path / CONFIG), str(path / CONFIG), [])
    changed: dict[str, Any] = {}
    for name in _FIXED:
        mine, base = getattr(config, name), getattr(theirs, name)
        asked = mine.model_fields_set if name in config.model_fields_set else set()
        kept = {key: getattr(mine, key) for key in asked if (name, key) in _FREE}
        for key in sorted(asked - kept.keys()):
            if getattr(mine, key) != getattr(base, key):
                raise BadInput(f"{name}.{key}: the base {path} has {getattr(base, key)!r}; leave the key out")
        if name == "autoencoder":
            kept.setdefault("cache", "none")
        changed[name] = base.model_copy(update=kept)
    return config.model_copy(update=changed)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise BadInput(f"method.base: {path} cannot be read; name a checkpoint of assay train") from None


def base_of(config: Config) -> Path:
    """Return the base's folder: the one named, or the newest checkpoint in it.

    Raises `BadInput`, also for a student: before a folder is claimed, and for every method.
    """
    assert isinstance(config.method, FromBase)
    path = newest(Path(config.method.base))
    require_no_student(path, read_facts(path))
    return path


def require_no_student(path: Path, facts: Mapping[str, Any]) -> None:
    """Refuse a base that is a distilled student: its network answers for a few places of a schedule alone.

    `facts`: the base's assay.json. Raises `BadInput`.
    """
    if facts.get("stage") in STUDENTS:
        raise BadInput(f"method.base: {path} is a distilled student; name the checkpoint that taught it")


def load_base(config: Config, device: str) -> Model:
    """Load the base, frozen, in float32. Raises `BadInput` where it is damaged, a student or no denoiser's."""
    return load_model(base_of(config), Running(device="cpu" if device == "cpu" else "auto"))


def require_same_base(folder: Path, base: Model) -> None:
    """Refuse to go on with a training that was begun from another base. Raises `BadInput`."""
    found = checkpoints(folder)
    if not found:
        return
    base_of_it = read_facts(found[-1][1]).get("base")
    named = base_of_it.get("checkpoint") if isinstance(base_of_it, dict) else None
    if named != base.identity:
        raise BadInput(
            f"{folder}: trained from the base {str(named)[:16]}…, but {base.path} is "
            f"{base.identity[:16]}…; name that base, or use another --out"
        )


def base_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint's facts say of its base: identity, name, step, its data and its own base, if any.

    `facts`: the base's own, checked; where its autoencoder was loaded, that one's are kept, too.
    """
    loaded = facts.get("autoencoder")
    return {
        "checkpoint": facts["checkpoint"],
        "name": facts["name"],
        "step": facts["step"],
        "datasets": facts["datasets"],
        "data": facts["data"]["name"],
        "base": facts.get("base"),
        **({} if loaded is None else {"autoencoder": loaded}),
    }
