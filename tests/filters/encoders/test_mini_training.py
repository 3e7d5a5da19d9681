"""The closed forms that builtin:mini's head is made by (scripts/train_mini/head.py), against the long way."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))

from train_mini.head import sharpening, without_the_artist

RIDGE = 0.3


def test_leaving_an_artist_out_equals_learning_without_the_artist():
    generator = torch.Generator().manual_seed(4)
    points, targets = (torch.randn(12, width, generator=generator, dtype=torch.float64) for width in (3, 5))
    artists = np.array(["a", "b", "a", "c", "c", "c", "d", "b", "a", "e", "f", "f"])
    alike = torch.exp(-torch.cdist(points, points).square())
    inverse = torch.linalg.inv(alike + RIDGE * torch.eye(12))
    found = without_the_artist(inverse, inverse @ targets, targets, artists)
    for artist in set(artists):
        own, rest = (torch.from_numpy(np.flatnonzero(keep)) for keep in (artists == artist, artists != artist))
        learned = torch.linalg.solve(alike[rest][:, rest] + RIDGE * torch.eye(len(rest)), targets[rest])
        torch.testing.assert_close(found[own], alike[own][:, rest] @ learned)


def test_sharpening_makes_directions_of_large_errors_smaller_and_turns_none():
    spread = torch.tensor([4.0, 2.0, 1.0, 0.5])
    errors = torch.randn(20_000, 4, generator=torch.Generator().manual_seed(5)) * spread
    matrix = sharpening(errors)
    torch.testing.assert_close(matrix, matrix.T)
    kept = matrix.diagonal()
    assert (kept[1:] > kept[:-1]).all()
    assert (matrix - torch.diag(kept)).abs().max() < 0.02
    assert kept[0] / kept[3] == pytest.approx(((16 / 5.3125 + 1) / (0.25 / 5.3125 + 1)) ** -0.35, rel=0.02)
