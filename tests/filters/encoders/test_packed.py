"""Weights in few bits come back within what the bits allow."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from filters.encoders.packed import pack, read_packed


@pytest.fixture
def state():
    generator = torch.Generator().manual_seed(0)
    return {
        "words": torch.randn(50, 64, generator=generator),
        "filters": torch.randn(40, 8, 3, 3, generator=generator) * torch.logspace(-3, 1, 40)[:, None, None, None],
        "vector": torch.randn(7, generator=generator),
        "number": torch.tensor(2.2),
    }


def test_each_row_keeps_its_own_precision(state, tmp_path):
    save_file(pack(state, {"words": 4, "filters": 8}), tmp_path / "w.safetensors")
    found = read_packed(tmp_path / "w.safetensors")
    assert found.keys() == state.keys()
    for name, worst in {"words": 0.15, "filters": 0.015, "vector": 5e-4, "number": 0.0}.items():
        assert found[name].shape == state[name].shape
        assert found[name].dtype == torch.float32
        rows = (found[name] - state[name]).reshape(len(state[name]) if state[name].ndim else 1, -1).norm(dim=1)
        sizes = state[name].reshape(len(rows), -1).norm(dim=1)
        assert bool((rows <= worst * sizes).all())


def test_what_was_packed_once_packs_to_the_same_bytes(state, tmp_path):
    save_file(pack(state, {"words": 4}), tmp_path / "w.safetensors")
    assert (tmp_path / "w.safetensors").stat().st_size < 50 * 32 + 40 * 72 * 2 + 1000
    found = read_packed(tmp_path / "w.safetensors")
    again = pack(found, {"words": 4})
    torch.testing.assert_close(again["words:4"], pack(state, {"words": 4})["words:4"])


def test_rows_of_zeros_stay_zero(tmp_path):
    save_file(pack({"w": torch.zeros(3, 4)}, {"w": 4}), tmp_path / "w.safetensors")
    assert read_packed(tmp_path / "w.safetensors")["w"].eq(0).all()
