"""Learned words in a frozen text tower (textual inversion, arXiv:2208.01618).

A word such as `<rex>` has n vectors in the space of the tower's token embeddings, where its own words have theirs;
they pass through the whole tower as those do. In token ids they are negative, -1 the first vector of all: no tokenizer
has such ids, and what towers do with ids (padding is 0, CLIP's end mark the largest) still holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filters.errors import BadInput

#: Plain words of which one stands in for a learned word while a text is split; never one that the text holds itself.
_STAND_INS = ("quartz", "zebra", "violin", "glacier", "pepper", "harbor", "walnut", "copper", "meadow", "lantern")


class WordTable(nn.Module):
    """A tower's token embedding, frozen, with learned vectors (n, width) behind negative ids."""

    def __init__(self, table: nn.Module, vectors: Tensor) -> None:
        super().__init__()
        self.table = table.requires_grad_(False)
        self.vectors = nn.Parameter(vectors.detach().clone())

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (n, length, width) for token ids int64 (n, length)."""
        plain: Tensor = self.table(tokens.clamp(min=0))
        learned = F.embedding((-tokens - 1).clamp(min=0), self.vectors)
        return torch.where((tokens < 0)[..., None], learned.to(plain.dtype), plain)


def word_ids(tokenizer: Callable[[list[str]], Tensor], text: str) -> list[int]:
    """Return a text's token ids without the marks of beginning and end, and without padding."""
    frame = set(tokenizer([""])[0].tolist())
    return [one for one in tokenizer([text])[0].tolist() if one not in frame]


class Tokens:
    """A tower's tokenizer that also reads learned words; `words`: the ids of each word's vectors, by the word.

    `longest`: token ids of one text that the tower bears.
    """

    def __init__(
        self, tokenizer: Callable[[list[str]], Tensor], words: Mapping[str, Sequence[int]], longest: int
    ) -> None:
        self._tokenizer, self._words, self._longest = tokenizer, dict(words), longest
        self._pattern = re.compile("|".join(re.escape(word) for word in words), re.IGNORECASE)
        found = {word: word_ids(tokenizer, word) for word in _STAND_INS}
        self._stand_ins = {word: ids[0] for word, ids in found.items() if len(ids) == 1}
        # CLIP's tokenizers give rows of one length always, and its tower takes no others
        self._shortest = longest if tokenizer([""]).shape[1] == longest else 0

    def __call__(self, texts: list[str]) -> Tensor:
        """Return int64 (n, length), padded with 0."""
        rows = [torch.tensor(self._row(text)) for text in texts]
        found: Tensor = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=0)
        return F.pad(found, (0, max(0, self._shortest - found.shape[1])))

    def _row(self, text: str) -> list[int]:
        """Return one text's token ids without padding, cut before the end mark where they are too many."""
        learned = [tuple(self._words[word.lower()]) for word in self._pattern.findall(text)]
        if not learned:
            return _trimmed(self._tokenizer([text])[0].tolist())
        stand_in = next((word for word in self._stand_ins if word not in text.lower()), None)
        if stand_in is None:
            raise BadInput(f"a prompt with a learned word holds all of {', '.join(_STAND_INS)}; leave one out")
        ids = _trimmed(self._tokenizer([self._pattern.sub(f" {stand_in} ", text)])[0].tolist())
        inside, end = ids[:-1], ids[-1]
        left = iter(learned)
        whole = [one for old in inside for one in (next(left) if old == self._stand_ins[stand_in] else (old,))]
        return [*whole[: self._longest - 1], end]


def _trimmed(ids: list[int]) -> list[int]:
    """Return token ids without the padding behind them."""
    last = max((place for place, one in enumerate(ids) if one != 0), default=-1)
    return ids[: last + 1]


def word_table(model: Any) -> tuple[nn.Module, str]:
    """Return the module that holds a tower's token embedding, and its name there. Raises `BadInput` for others."""
    text = getattr(model, "text", model)
    for name in ("words", "token_embedding"):
        if isinstance(getattr(text, name, None), (nn.Embedding, WordTable)):
            return text, name
    raise BadInput("textual inversion needs builtin:mini or a CLIP text tower: this one's words cannot be reached")


def longest_of(model: Any) -> int:
    """Return how many token ids of one text a tower bears: its positions."""
    text = getattr(model, "text", model)
    positions = text.positions if hasattr(text, "positions") else text.positional_embedding
    return int(positions.shape[0])
