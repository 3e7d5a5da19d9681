"""The training configuration: YAML, checked before anything starts; docs/training.md is generated from it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, model_validator

from filters.errors import BadInput
from pipelines.run.checked_yaml import checked
from training.config_base import Section
from training.config_data import Data
from training.config_loop import Checkpoints, Logs, Loop, Optimiser
from training.config_method import Full, Method
from training.config_models import Autoencoder, Denoiser, Text
from training.config_objective import Objective


class Config(Section):
    """A whole training."""

    version: Literal[1] = Field(1, description="version of this format")
    name: str = Field(min_length=1, max_length=100, pattern=r"^[\w .-]+$", description="name of the model")
    seed: int = Field(0, ge=0, lt=2**63, description="decides initial weights, noise and levels")
    method: Method = Field(Full(), description="where training begins, and what is trained; its keys stand below")
    data: Data = Data()
    autoencoder: Autoencoder = Autoencoder()
    text: Text = Text()
    denoiser: Denoiser = Denoiser()
    objective: Objective = Objective()
    optimiser: Optimiser = Optimiser()
    loop: Loop = Loop()
    checkpoints: Checkpoints = Checkpoints()
    logs: Logs = Logs()

    @model_validator(mode="after")
    def _possible(self) -> Config:
        pixels = 1 if self.autoencoder.kind != "train" else 2 ** (len(self.autoencoder.widths) - 1)
        deepest = 2 ** (len(self.denoiser.widths) - 1) if self.denoiser.kind == "unet" else self.denoiser.patch
        buckets = self.data.buckets
        sides = [side for size in buckets.sizes for side in size] or [buckets.resolution]
        if not buckets.sizes and buckets.max_aspect > 1:
            sides.append(buckets.step)
        if bad := [side for side in sides if side % (pixels * deepest)]:
            raise ValueError(
                f"pictures of {bad[0]} pixels a side do not divide by {pixels * deepest} (the autoencoder's {pixels} "
                f"times the denoiser's {deepest}): set data.buckets.step, or take fewer widths"
            )
        return self

    def fingerprint(self) -> str:
        """Return the SHA-256 (64 hex digits) of what decides the weights: all but names, logs, speed and places.

        A base is told by its hash, which a checkpoint's facts name, not by where it lies.
        """
        content = self.model_dump(
            mode="json",
            exclude={
                "name": True,
                "method": True if isinstance(self.method, Full) else {"base"},
                "checkpoints": True,
                "logs": True,
                "loop": {"device", "threads", "compile"},
                "data": {"workers", "prefetch", "decode_seconds", "cached_shards"},
                "text": {"cache_mb"},
            },
        )
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def dump(self) -> str:
        """Return the configuration in full as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load_config(path: str | Path, overrides: list[str] | None = None) -> Config:
    """Read a configuration file and apply `a.b=value` overrides. Raises `BadInput` naming file, line and key."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadInput(f"{path}: no such configuration") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot read the configuration ({error})") from None
    return parse_config(text, str(path), overrides or [])


def parse_config(text: str, source: str, overrides: list[str]) -> Config:
    """Check the configuration in `text`; `source` names it in messages. Raises `BadInput`."""
    return checked(Config, text, source, overrides, "configuration", "docs/training.md")
