"""Weights in few bytes: half precision, 8 bits or 4 bits, in safetensors; made float32 when they are read.

A tensor `name` is stored as `name` (float16, or float32 for a single number), as `name:8` (int8, one scale a row),
or as `name:4` (two values of -8..7 a byte, one scale a row), with its scales in `name:scale` (float16, one a row).
A row is everything behind the first dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file
from torch import Tensor

_SCALE, _EIGHT, _FOUR = ":scale", ":8", ":4"

#: Shares of a row's largest value that are tried as the end of its range; clipping a few values often costs less.
_CLIPS = tuple(0.6 + 0.05 * step for step in range(9))


def read_packed(path: Path) -> dict[str, Tensor]:
    """Return every tensor of a packed file as float32, by its own name."""
    stored = load_file(path)
    state = {}
    for key, value in stored.items():
        if key.endswith(_EIGHT):
            name = key.removesuffix(_EIGHT)
            state[name] = _scaled(value.float(), stored[name + _SCALE])
        elif key.endswith(_FOUR):
            name = key.removesuffix(_FOUR)
            halves = torch.stack((value & 15, value >> 4), dim=-1).flatten(1).to(torch.float32) - 8.0
            state[name] = _scaled(halves, stored[name + _SCALE])
        elif not key.endswith(_SCALE):
            state[key] = value.float()
    return state


def pack(state: Mapping[str, Tensor], bits: Mapping[str, Literal[4, 8]]) -> dict[str, Tensor]:
    """Return what to store for `state`: the tensors named in `bits` with so many, the others in half precision.

    4 bits need two dimensions and an even number of columns.
    """
    stored = {}
    for name, value in state.items():
        rows = value.detach().float()
        if name not in bits:
            stored[name] = rows if rows.ndim == 0 else rows.half()
            continue
        scale = _best_scale(rows.flatten(1), 2 ** (bits[name] - 1))
        highest = 2 ** (bits[name] - 1) - 1
        whole = (rows / _like(scale, rows)).round().clamp(-highest - 1, highest)
        stored[name + _SCALE] = scale
        if bits[name] == 8:
            stored[name + _EIGHT] = whole.to(torch.int8)
        else:
            pairs = (whole + 8).to(torch.uint8).view(len(whole), -1, 2)
            stored[name + _FOUR] = pairs[:, :, 0] | (pairs[:, :, 1] << 4)
    return {name: value.contiguous() for name, value in stored.items()}


def _best_scale(rows: Tensor, half_range: int) -> Tensor:
    """Return the scale of each row (float16) whose rounding errors have the least sum of squares."""
    largest = rows.abs().amax(dim=1).clamp(min=1e-4)
    best, least = (largest / (half_range - 1)).half(), torch.full((len(rows),), torch.inf)
    for clip in _CLIPS if half_range < 128 else (1.0,):
        scale = (largest * clip / (half_range - 1)).half()
        error = (_rounded(rows, scale, half_range) - rows).square().sum(dim=1)
        best, least = torch.where(error < least, scale, best), torch.minimum(error, least)
    return best


def _rounded(rows: Tensor, scale: Tensor, half_range: int) -> Tensor:
    scales = _like(scale, rows)
    return (rows / scales).round().clamp(-half_range, half_range - 1) * scales


def _scaled(whole: Tensor, scale: Tensor) -> Tensor:
    return whole * _like(scale, whole)


def _like(scale: Tensor, rows: Tensor) -> Tensor:
    return scale.float().view(-1, *(1,) * (rows.ndim - 1))
