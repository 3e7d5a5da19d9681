"""Edges: where the picture has them, the same every time, and a measure of how well two maps agree."""

import numpy as np
import pytest
import torch

from training.methods.edges import agreement, condition, edges


def square(left=16, side=24):
    """A white square on black, 64 x 64."""
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[20 : 20 + side, left : left + side] = 255
    return picture


def test_edges_lie_on_the_outline_and_nowhere_else():
    found = edges(square())
    assert found.dtype == np.uint8
    assert set(np.unique(found)) == {0, 255}
    rows, columns = np.nonzero(found)
    outline = (np.abs(rows - 19.5) < 2) | (np.abs(rows - 43.5) < 2)
    outline |= (np.abs(columns - 15.5) < 2) | (np.abs(columns - 39.5) < 2)
    assert outline.all()
    assert len(rows) > 80
    assert not edges(np.full((64, 64, 3), 90, np.uint8)).any()


def test_a_mirrored_picture_has_mirrored_edges():
    # up to the pixel by which the outline lies on one side of a step
    mirrored = edges(np.ascontiguousarray(square()[:, ::-1]))
    assert agreement(mirrored, edges(square())[:, ::-1]) == 1.0
    assert agreement(mirrored, edges(square(left=30))) < 0.8


def test_the_network_reads_the_same_edges_that_a_picture_has():
    pictures = [square(), square(left=30), np.zeros((64, 64, 3), np.uint8)]
    batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    found = condition(batch)
    assert found.shape == (3, 3, 64, 64)
    assert found.dtype == torch.float32
    for row, picture in zip(found, pictures, strict=True):
        assert all(np.array_equal(channel.numpy() * 255, edges(picture)) for channel in row)
    assert torch.equal(condition(batch), found)
    assert condition(batch[:0]).shape == (0, 3, 64, 64)


def test_agreement_counts_what_is_near_and_what_is_missing():
    one = np.zeros((16, 16), np.uint8)
    one[4] = 255
    near, far, half = np.roll(one, 1, axis=0), np.roll(one, 3, axis=0), one.copy()
    half[:, 8:] = 0
    assert agreement(one, one) == agreement(near, one) == 1.0
    assert agreement(far, one) == 0.0
    # all that was found is right; of 16 wanted pixels the 8 and one neighbour are found
    assert agreement(half, one) == pytest.approx(2 * (9 / 16) / (1 + 9 / 16))
    empty = np.zeros_like(one)
    assert agreement(empty, empty) == 1.0
    assert agreement(empty, one) == agreement(one, empty) == 0.0
