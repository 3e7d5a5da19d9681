"""Textual inversion (arXiv:2208.01618): a new word's vectors are learned, tower and denoiser stay as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from filters.errors import BadInput, first_line
from training.config_method import TOKEN, TextualInversion
from training.contents import CONFIG
from training.data.batch import Batch
from training.methods.base import Given
from training.models.denoiser import denoise
from training.models.text import TextEncoder
from training.models.words import WordTable
from training.noise import Draws, seed_of
from training.stages import DenoiserStage, Measured, Noisy, Player
from training.weights import save_weights

#: The file in diffusers' layout: one tensor (vectors, width) by the word's own name.
FILE = "learned_embeds.safetensors"

#: Name of the vectors among the trained values.
_VECTORS = "words.vectors"


@dataclass(frozen=True)
class Told:
    """A batch: noisy pictures whose text is not yet encoded, and their texts."""

    noisy: Noisy
    texts: list[str]


class Speaking(nn.Module):
    """Text and denoiser in one pass, so that gradients reach the new word's vectors."""

    def __init__(self, denoiser: nn.Module, words: WordTable, text: TextEncoder) -> None:
        super().__init__()
        self.denoiser, self.words = denoiser, words
        self._text = text

    def forward(self, noisy: Tensor, levels: Tensor, texts: list[str]) -> Tensor:
        """Return the denoiser's output, of the shape of `noisy` (n, channels, h, w); `levels` (n,), n texts."""
        found = self._text.differentiable(texts)
        return denoise(self.denoiser, noisy, levels, found.vectors, found.mask)


class InversionMethod:
    """Trains the vectors of one new word by the base's own objective."""

    name = "textual_inversion"

    def __init__(self, given: Given, wanted: TextualInversion) -> None:
        """Begin the vectors as those of a word that the tower knows. Raises `BadInput` where it knows none such."""
        config, base = given.config, given.base
        self._config, self._wanted, self._text = config, wanted, base.text
        self._seed = seed_of(config.seed, self.name)
        begun = base.text.vectors_of(wanted.init)
        # several vectors begin a little apart: equal ones would stay equal in a tower without positions
        source = torch.Generator().manual_seed(self._seed)
        apart = torch.randn(wanted.vectors, begun.shape[0], generator=source).to(begun.device)
        spread = 0.0 if wanted.vectors == 1 else 0.1 * float(begun.std())
        words = base.text.learn({wanted.token: begun[None] + spread * apart})
        denoiser = base.network.requires_grad_(False)
        if config.denoiser.checkpointing:
            denoiser.enable_gradient_checkpointing()
        self._denoising = DenoiserStage(config, denoiser, base.codec, base.text, given.device)
        self.steps = config.loop.steps
        network = Speaking(denoiser, words, base.text)
        self.players = [Player(self.name, network, config.loop.ema > 0, config.optimiser.rate, self._measured)]

    def prepare(self, batch: Batch, step: int) -> Told:
        """Encode pictures, draw levels, noise and texts; a dropped caption stays empty."""
        # the encoder keeps what it has read, and the word changes with every step: it is not asked here
        blank = replace(batch, captions=[""] * len(batch.captions))
        places = Draws(self._seed, step, batch.uids, torch.device("cpu")).uniform("template").tolist()
        texts = [
            filled(self._wanted.templates[int(place * len(self._wanted.templates))], self._wanted.token, caption)
            if not dropped
            else ""
            for place, caption, dropped in zip(places, batch.captions, batch.dropped.tolist(), strict=True)
        ]
        return Told(self._denoising.prepare(blank, step), texts)

    def diagnose(self, given: Told) -> dict[str, float]:
        """Return the share of dead units for a few samples."""
        return self._denoising.diagnose(given.noisy)

    def fill(self, folder: Path, weights: Mapping[str, dict[str, Tensor]], datasets: list[str]) -> None:
        """Write the vectors in diffusers' layout, and the configuration."""
        (folder / CONFIG).write_text(self._config.dump(), encoding="utf-8")
        save_weights(folder / FILE, {self._wanted.token: weights[self.name][_VECTORS]})

    def values(self) -> int:
        """Return the number of the vectors' values."""
        return sum(one.numel() for one in self.players[0].network.parameters() if one.requires_grad)

    def facts(self) -> dict[str, Any]:
        """Return kind, word and its beginning; the space is that of the tower's token embeddings."""
        wanted = self._wanted
        found = {"kind": self.name, "needs_base": True, "token": wanted.token, "vectors": wanted.vectors}
        return {**found, "init": wanted.init, "space": "token embeddings", "text": self._text.id}

    def _measured(self, network: nn.Module, given: Told, step: int) -> Measured:
        output = network(given.noisy.xt, given.noisy.levels, given.texts)
        return self._denoising.pays(output, given.noisy)


def filled(template: str, token: str, caption: str) -> str:
    """Return a template with the word and the picture's own caption put in."""
    return template.replace("{}", token).replace("{caption}", caption)


def read_words(folder: Path) -> dict[str, Tensor]:
    """Return the learned words of a checkpoint's folder: vectors float32 (n, width) by word. Raises `BadInput`."""
    path = folder / FILE
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{path}: unreadable words ({first_line(error)})") from None
    if not found or any(not re.fullmatch(TOKEN, name) or one.ndim != 2 for name, one in found.items()):
        raise BadInput(f"{path}: no vectors of words such as <name>")
    return found
