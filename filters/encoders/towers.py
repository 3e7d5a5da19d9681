"""The two towers of a model as arrays in and out, run by torch in float32 or bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from filters.errors import BadInput


class Towers(Protocol):
    """Pictures and texts to embeddings, not normalised: float32 (n, dimension)."""

    def images(self, pixels: Tensor) -> np.ndarray:
        """Encode float32 (n, 3, height, width) as the model's preprocess gives them."""
        ...

    def texts(self, tokens: Tensor) -> np.ndarray:
        """Encode int64 (n, length) as the model's tokenizer gives them."""
        ...


class TorchTowers:
    """A model's towers on the CPU or the GPU, in float32 or in pure bfloat16 (weights and activations).

    Where the GPU's memory does not do for `batch_size` rows, batches are halved until it does, and stay so.
    bfloat16 pays on CPUs with AVX512-BF16 or AMX and on GPUs; elsewhere it is slower than float32.
    """

    def __init__(self, model: nn.Module, device: torch.device, dtype: torch.dtype, batch_size: int) -> None:
        self._model = model.eval().requires_grad_(False).to(device=device, dtype=dtype)
        self._text = CausalText(self._model) if CausalText.fits(model) else None
        self._device, self._dtype = device, dtype
        self._batch_size = batch_size

    def images(self, pixels: Tensor) -> np.ndarray:
        """Encode float32 (n, 3, height, width)."""
        return self._batches(lambda some: self._encode("encode_image", some.to(self._device, self._dtype)), pixels)

    def texts(self, tokens: Tensor) -> np.ndarray:
        """Encode int64 (n, length); a CLIP tower reads up to the last end mark of the batch only."""
        if self._text is None:
            return self._batches(lambda some: self._encode("encode_text", some.to(self._device)), tokens)
        text = self._text
        return self._batches(lambda some: text(until_end(some).to(self._device)), tokens)

    def _encode(self, method: str, batch: Tensor) -> Tensor:
        features: Tensor = getattr(self._model, method)(batch)
        return features

    def _batches(self, run: Callable[[Tensor], Tensor], rows: Tensor) -> np.ndarray:
        def run_one(some: Tensor) -> np.ndarray:
            with torch.inference_mode():
                found: np.ndarray = run(some).float().cpu().numpy()
                return found

        found, self._batch_size = halving(run_one, rows, self._batch_size)
        return found


def halving(run: Callable[[Tensor], np.ndarray], rows: Tensor, size: int) -> tuple[np.ndarray, int]:
    """Run `rows` (at least one) in batches of `size`, halved whenever the GPU's memory does not do.

    Returns the results in order and the size that worked, for the next call. Raises `BadInput` where not even one
    row fits.
    """
    found: list[np.ndarray] = []
    start = 0
    while start < len(rows):
        try:
            found.append(run(rows[start : start + size]))
        except torch.cuda.OutOfMemoryError as error:
            if size == 1:
                raise BadInput("the GPU has no memory for one picture or text; free it, or run on the CPU") from error
            full = True
        else:
            full = False
        if full:  # outside of `except`, whose traceback would keep the failed batch's memory
            size = max(1, min(size, len(rows) - start) // 2)
            torch.cuda.empty_cache()
        else:
            start += size
    return np.concatenate(found), size


class CausalText(nn.Module):
    """open_clip's CLIP text tower for token rows of any length up to the model's own.

    Token i sees tokens 0 to i only, and the embedding is taken at the end mark, so what stands behind the end mark
    changes nothing. open_clip computes all 77 places of every text; captions have about 12. The steps are those of
    `open_clip.model.CLIP.encode_text` (open_clip 3.3).
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.clip: Any = model

    @staticmethod
    def fits(model: nn.Module) -> bool:
        """Tell whether `model` has such a tower: causal, read at the largest token, with a plain projection."""
        mask, projection = getattr(model, "attn_mask", None), getattr(model, "text_projection", None)
        return (
            getattr(model, "text_pool_type", "") == "argmax"
            and isinstance(mask, Tensor)
            and isinstance(projection, nn.Parameter)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (n, dimension) for int64 (n, length)."""
        clip, length = self.clip, tokens.shape[1]
        x = clip.token_embedding(tokens) + clip.positional_embedding[:length]
        x = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask[:length, :length]))
        x = x[torch.arange(tokens.shape[0], device=tokens.device), tokens.argmax(dim=-1)]
        found: Tensor = x @ clip.text_projection
        return found


def until_end(tokens: Tensor) -> Tensor:
    """Cut token rows (n, length) behind the last end mark (CLIP's largest token) of any row."""
    return tokens[:, : int(tokens.argmax(dim=-1).max()) + 1]
