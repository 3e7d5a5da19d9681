"""What the denoiser reads of a caption: a sequence of vectors from the image-text encoder that scored the data.

`builtin:mini` and open_clip's text towers give one vector a token, and in front of them the vector of the whole
caption in the space that it shares with pictures. Other towers give that one alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filters.encoders.openclip import Surface
from filters.encoders.text_tower import TextTower
from filters.encoders.towers import CausalText
from filters.encoders.uri import parse_uri
from filters.encoders.weights import state_digest
from filters.errors import BadInput
from training.models.words import Tokens, WordTable, longest_of, word_ids, word_table


@dataclass(frozen=True)
class Sequences:
    """Text vectors (n, tokens, width) float32 and a mask (n, tokens), true where there is a token."""

    vectors: Tensor
    mask: Tensor


class TextEncoder:
    """Captions to sequences of a fixed length, frozen, with the newest results kept in memory.

    On the CPU captions are encoded one by one: in a batch, a caption's last bits would depend on its neighbours, and
    a resumed run would not equal one that was never killed.
    """

    def __init__(self, uri: str, tokens: int, cache_mb: int, device: torch.device) -> None:
        surface = _surface(uri)
        self.uri = uri
        self.id = f"{surface.arch}@sha256:{state_digest(surface.model)[:16]}"
        self._tower = surface.model.to(device).eval().requires_grad_(False)
        self._tokenizer: Callable[[list[str]], Tensor] = surface.tokenizer
        self._states = _states(surface.model)
        self._device = device
        self._length = tokens + 1
        self._kept: OrderedDict[str, tuple[Tensor, Tensor]] = OrderedDict()
        self.width = int(self("")[0].shape[1])
        self._room = cache_mb * 2**20 // (self._length * (self.width * 4 + 1))

    def __call__(self, caption: str) -> tuple[Tensor, Tensor]:
        """Return one caption's vectors (length, width) and mask (length,) on the encoder's device."""
        return self._encode([caption])[0]

    def encode(self, captions: Sequence[str]) -> Sequences:
        """Return the sequences of captions, on the encoder's device."""
        found = {caption: self._kept[caption] for caption in captions if caption in self._kept}
        new = [caption for caption in dict.fromkeys(captions) if caption not in found]
        size = 1 if self._device.type == "cpu" else max(1, len(new))
        for start in range(0, len(new), size):
            some = new[start : start + size]
            found.update(zip(some, self._encode(some), strict=True))
        for caption in captions:
            self._kept[caption] = found[caption]
            self._kept.move_to_end(caption)
        while len(self._kept) > self._room:
            self._kept.popitem(last=False)
        rows = [found[caption] for caption in captions]
        if not rows:
            return Sequences(
                torch.zeros(0, self._length, self.width, device=self._device),
                torch.zeros(0, self._length, dtype=torch.bool, device=self._device),
            )
        return Sequences(torch.stack([row[0] for row in rows]), torch.stack([row[1] for row in rows]))

    def vectors_of(self, word: str) -> Tensor:
        """Return a word's vector (width,) in the space of token embeddings; the mean where it has several tokens.

        Raises `BadInput` where the word has no token, or the tower's embedding cannot be reached.
        """
        holder, name = word_table(self._tower)
        ids = word_ids(self._tokenizer, word)
        if not ids:
            raise BadInput(f"method.init: the text encoder reads nothing in {word!r}")
        with torch.no_grad():
            found: Tensor = getattr(holder, name)(torch.tensor([ids], device=self._device))
        return found[0].float().mean(dim=0)

    def learn(self, words: dict[str, Tensor]) -> WordTable:
        """Let captions hold new words, given their vectors (n, width) in the space of token embeddings; once.

        Returns the table, whose `vectors` are all the words' one below the other. Raises `BadInput` where they do not
        fit, or the tower's embedding cannot be reached.
        """
        holder, name = word_table(self._tower)
        table = getattr(holder, name)
        if isinstance(table, WordTable):
            raise ValueError("the encoder has learned words already")
        width = int(table.weight.shape[1])
        if bad := [word for word, rows in words.items() if rows.shape[1] != width]:
            raise BadInput(f"{bad[0]}: vectors of another width than the text encoder's {width}")
        ids, first = {}, 0
        for word, rows in words.items():
            ids[word] = [-1 - place for place in range(first, first + len(rows))]
            first += len(rows)
        found = WordTable(table, torch.cat(list(words.values())).to(table.weight.device, torch.float32))
        setattr(holder, name, found)
        self._tokenizer = Tokens(self._tokenizer, ids, longest_of(self._tower))
        self._kept.clear()
        return found

    def differentiable(self, captions: Sequence[str]) -> Sequences:
        """Return the sequences of captions in one pass, with gradients, and without keeping them."""
        return Sequences(*self._vectors(list(captions)))

    @torch.no_grad()
    def _encode(self, captions: list[str]) -> list[tuple[Tensor, Tensor]]:
        vectors, mask = self._vectors(captions)
        return list(zip(vectors, mask, strict=True))

    def _vectors(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        tokens = self._tokenizer(captions).to(self._device)
        whole = F.normalize(self._tower.encode_text(tokens).float(), dim=-1)[:, None]  # type: ignore[operator]
        always = torch.ones(len(tokens), 1, dtype=torch.bool, device=tokens.device)
        vectors, mask = whole, always
        if self._states is not None:
            states, kept = self._states(tokens)
            states = F.normalize(states.float(), dim=-1)
            same = states.shape[-1] == whole.shape[-1]  # of another width, they cannot stand in one sequence
            vectors, mask = (
                (torch.cat((whole, states), dim=1), torch.cat((always, kept), dim=1)) if same else (states, kept)
            )
        missing = max(0, self._length - vectors.shape[1])
        mask = F.pad(mask[:, : self._length], (0, missing))
        # each vector of length sqrt(width), so that a value's size is about 1 whatever the tower
        vectors = F.pad(vectors[:, : self._length], (0, 0, 0, missing)) * vectors.shape[-1] ** 0.5
        return vectors * mask[:, :, None], mask


def _surface(uri: str) -> Surface:
    """Load the encoder in float32. Raises `BadInput` in one line where it cannot be had."""
    parsed = parse_uri(uri)
    if parsed.kind == "builtin":
        from filters.encoders.mini import load_mini

        return load_mini()
    from filters.encoders import openclip_load

    if parsed.kind == "open-clip":
        return openclip_load.from_tag(parsed.arch, parsed.tag)
    if parsed.arch:
        return openclip_load.from_file(Path(parsed.path), parsed.arch, parsed.tag)
    return openclip_load.from_folder(Path(parsed.path))


def _states(model: nn.Module) -> Callable[[Tensor], tuple[Tensor, Tensor]] | None:
    """Return the function from token ids (n, length) to token vectors (n, length, width) and mask (n, length).

    None where the tower gives no vectors of tokens.
    """
    text: Any = getattr(model, "text", None)
    if isinstance(text, TextTower):
        return lambda tokens: mini_states(text, tokens)
    if CausalText.fits(model):
        return lambda tokens: clip_states(model, tokens)
    return None


def mini_states(text: TextTower, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return builtin:mini's token vectors (n, length, 384) before the mean over them, and the mask of real tokens."""
    kept = tokens != 0
    x: Tensor = text.norm(text.words(tokens) + text.positions[: tokens.shape[1]])
    for layer in text.layers:
        x = layer(x, kept[:, None, None, :])
    return x, kept


def clip_states(model: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return a CLIP tower's last token vectors (n, length, width), and a mask up to the end mark.

    The steps are those of `filters.encoders.towers.CausalText` before it picks the end mark's place.
    """
    clip: Any = model
    length = tokens.shape[1]
    x = clip.token_embedding(tokens) + clip.positional_embedding[:length]
    x = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask[:length, :length]))
    kept = torch.arange(length, device=tokens.device)[None] <= tokens.argmax(dim=-1)[:, None]
    return x, kept
