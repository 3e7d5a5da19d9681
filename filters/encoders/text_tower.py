"""The text tower of `builtin:mini`: a sentence encoder of three layers, distilled from all-MiniLM-L6-v2."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

WIDTH = 384
MAX_TOKENS = 128
LAYERS = 3
_VOCABULARY = 30522
_HEADS = 12
_INNER = 1536
_EPSILON = 1e-12
_PAD = 0

#: A caption is cut here before it is split into tokens: 128 tokens never reach as far in real text, and a caption
#: of megabytes must not cost seconds.
MAX_CHARACTERS = 4096


class WordPieces:
    """Captions to token ids: int64 (n, length of the longest, at most `longest`), padded with 0."""

    def __init__(self, path: Path, longest: int = MAX_TOKENS) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(longest)

    def __call__(self, texts: list[str]) -> Tensor:
        """Return int64 (n, length). Lower case, WordPiece, [CLS] and [SEP] included."""
        # One by one: `encode_batch` starts a thread pool, which warns after every fork of the process.
        rows = [torch.tensor(self._tokenizer.encode(text[:MAX_CHARACTERS]).ids) for text in texts]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=_PAD)


class Layer(nn.Module):
    """One post-norm transformer layer of BERT."""

    def __init__(self) -> None:
        super().__init__()
        self.query_key_value = nn.Linear(WIDTH, 3 * WIDTH)
        self.attended = nn.Linear(WIDTH, WIDTH)
        self.attended_norm = nn.LayerNorm(WIDTH, eps=_EPSILON)
        self.inner = nn.Linear(WIDTH, _INNER)
        self.outer = nn.Linear(_INNER, WIDTH)
        self.outer_norm = nn.LayerNorm(WIDTH, eps=_EPSILON)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return (n, length, 384); `mask` (n, 1, 1, length) is true where there is a token."""
        rows, length, _ = x.shape
        heads = self.query_key_value(x).view(rows, length, 3, _HEADS, WIDTH // _HEADS).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(heads[0], heads[1], heads[2], attn_mask=mask)
        x = self.attended_norm(x + self.attended(attended.transpose(1, 2).reshape(rows, length, WIDTH)))
        y: Tensor = self.outer_norm(x + self.outer(F.gelu(self.inner(x))))
        return y


class TextTower(nn.Module):
    """BERT with 12 heads and width 384; mean over tokens (arXiv:1908.10084), not yet normalised.

    `positions` holds the segment's vector too: captions are one segment throughout.
    """

    def __init__(self, layers: int = LAYERS) -> None:
        super().__init__()
        self.words = nn.Embedding(_VOCABULARY, WIDTH)
        self.positions = nn.Parameter(torch.zeros(MAX_TOKENS, WIDTH))
        self.norm = nn.LayerNorm(WIDTH, eps=_EPSILON)
        self.layers = nn.ModuleList(Layer() for _ in range(layers))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return float (n, 384) for token ids int64 (n, length), padding 0; columns of padding only are cut off."""
        kept = tokens != _PAD
        length = int(kept.sum(dim=1).max())
        tokens, kept = tokens[:, :length], kept[:, :length]
        x = self.norm(self.words(tokens) + self.positions[:length])
        for layer in self.layers:
            x = layer(x, kept[:, None, None, :])
        weights = kept[:, :, None].to(x.dtype)
        mean: Tensor = (x * weights).sum(dim=1) / weights.sum(dim=1)
        return mean
