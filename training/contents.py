"""What lies in a checkpoint: networks in diffusers' layout, and how a training reads its own back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from training.config import Config
from training.schedulers import scheduler_of
from training.weights import WEIGHTS, save_weights

PIPELINE, INDEX, CONFIG = "pipeline.py", "model_index.json", "training.yaml"


class Contents(Protocol):
    """The networks of one stage's checkpoints."""

    def fill(self, folder: Path, weights: Mapping[str, dict[str, Tensor]], datasets: list[str]) -> None:
        """Write them; `weights`: by the name of the player."""
        ...

    def values(self) -> int:
        """Return the number of values that are trained, all players together."""
        ...


@dataclass(frozen=True)
class AutoencoderContents:
    """`vae/`: the autoencoder alone; the critic is part of the state."""

    config: Config
    network: Any

    def fill(self, folder: Path, weights: Mapping[str, dict[str, Tensor]], datasets: list[str]) -> None:
        """Write the configuration and the autoencoder."""
        (folder / CONFIG).write_text(self.config.dump(), encoding="utf-8")
        inside = {name.removeprefix("network."): value for name, value in weights["autoencoder"].items()}
        save_network(folder / "vae", self.network, inside)

    def values(self) -> int:
        """Return the number of the autoencoder's values."""
        return count(self.network)


@dataclass(frozen=True)
class DenoiserContents:
    """The whole pipeline: denoiser, autoencoder, scheduler, and what plain diffusers needs to put them together.

    `scheduler`: another one of diffusers' than the objective's own, None for that. `few_steps`: a distilled student's,
    which the pipeline takes by itself, without guidance.
    """

    config: Config
    network: Any
    vae: Any
    text_id: str
    text_model: str
    scheduler: Any = None
    few_steps: int | None = None

    def fill(self, folder: Path, weights: Mapping[str, dict[str, Tensor]], datasets: list[str]) -> None:
        """Write all of it."""
        (folder / CONFIG).write_text(self.config.dump(), encoding="utf-8")
        kind = self.config.denoiser.kind
        save_network(folder / kind, self.network, weights["denoiser"])
        if self.vae is not None:
            save_network(folder / "vae", self.vae, self.vae.state_dict())
        scheduler = self.scheduler or scheduler_of(self.config.objective, self.vae is None)
        scheduler.save_pretrained(folder / "scheduler")
        code = Path(__file__).with_name(PIPELINE).read_text(encoding="utf-8")
        (folder / PIPELINE).write_text(code, encoding="utf-8")
        parts: dict[str, Any] = {"unet": None, "transformer": None, "vae": self.vae, "scheduler": scheduler}
        parts[kind] = self.network
        index = {
            "_class_name": ["pipeline", "AssayPipeline"],
            "_diffusers_version": self.network.config["_diffusers_version"],
            **{name: _origin(part) for name, part in parts.items()},
            "text_model": self.text_model,
            "text_id": self.text_id,
            "text_tokens": self.config.text.tokens,
            "dataset": datasets,
            **({} if self.few_steps is None else {"steps": self.few_steps, "guidance": 1.0}),
        }
        (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")

    def values(self) -> int:
        """Return the number of the denoiser's values."""
        return count(self.network)


def save_network(folder: Path, network: Any, weights: Mapping[str, Tensor]) -> None:
    """Write one of diffusers' networks with the given weights, as its `save_pretrained` would."""
    folder.mkdir(parents=True, exist_ok=True)
    network.save_config(folder)
    save_weights(folder / WEIGHTS, weights)


def count(network: nn.Module) -> int:
    """Return the number of a network's values."""
    return sum(parameter.numel() for parameter in network.parameters())


def _origin(part: Any) -> list[str | None]:
    return [None, None] if part is None else ["diffusers", type(part).__name__]
