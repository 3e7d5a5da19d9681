"""The graph that builtin:mini's picture networks run in gives what the networks themselves give."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from filters.encoders.mini import _DEVIATIONS, _MEANS, load_mini, preprocess
from filters.encoders.mini_graph import PictureEngine


@pytest.fixture(scope="module")
def model():
    return load_mini().model


@pytest.fixture
def parts(pictures):
    return torch.split(torch.stack([preprocess(picture) for picture in pictures]), 2)


def test_the_graph_gives_what_the_networks_give(model, parts):
    engine = PictureEngine((model.mobilenet_v2, model.efficientnet_lite0), _MEANS, _DEVIATIONS)
    with torch.inference_mode():
        found, expected = engine(parts, threads=1), model.classify_by_torch(list(parts))
    assert len(found) == len(expected) == 4
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
        assert float(theirs.std(dim=0).max()) > 0.1  # the pictures differ, and so do their rows


def test_threads_share_the_parts_and_change_nothing(model, parts):
    engine = PictureEngine((model.mobilenet_v2,), _MEANS[:1], _DEVIATIONS[:1])
    for alone, together in zip(engine(parts, threads=1), engine(parts, threads=3), strict=True):
        np.testing.assert_array_equal(alone, together)


def test_other_number_types_than_float32_go_through_torch(model, parts):
    with torch.inference_mode():
        expected = model.classify(list(parts))
        doubled = load_mini().model.double().classify([part.double() for part in parts])
    for ours, theirs in zip(doubled, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_weights_of_another_size_are_read_as_they_are():
    """Numbers above 127 and tensors above 127 bytes need more than one byte in the format."""
    model = load_mini().model
    with torch.no_grad():
        model.mobilenet_v2.classifier.bias += 1000.0
    pixels = torch.full((1, 3, 224, 224), 0.5)
    engine = PictureEngine((model.mobilenet_v2,), _MEANS[:1], _DEVIATIONS[:1])
    with torch.inference_mode():
        _, logits = engine([pixels], threads=1)
        expected = model.classify_by_torch([pixels])[1]
    np.testing.assert_allclose(logits, expected, atol=1e-2)
    assert float(logits.min()) > 900
