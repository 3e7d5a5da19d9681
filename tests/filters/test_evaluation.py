"""Retrieval figures on vectors whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from filters.errors import BadInput
from filters.evaluation import auc, evaluate_retrieval


class Table:
    """An encoder whose vectors are given: pictures by the red of their first pixel, texts by the number they are."""

    uri, dimension = "table:", 2

    def __init__(self, pictures, texts):
        self.pictures, self.texts = np.float32(pictures), np.float32(texts)

    def model_id(self):
        return "table"

    def encode_images(self, images):
        return self.pictures[[image.getpixel((0, 0))[0] for image in images]]

    def encode_texts(self, texts):
        return self.texts[[int(text) for text in texts]]


def images(count):
    return {f"{i}.png": Image.new("RGB", (1, 1), (i, 0, 0)) for i in range(count)}


def circle(degrees):
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def test_ranks_and_auc_of_known_vectors():
    vectors = circle([0, 30, 60, 90, 120, 150, 180, 210])
    shifted = circle([0, 30, 60, 90, 120, 150, 180, 100])  # the last caption fits picture 3 best, then 4, 2, 5, 1
    found = evaluate_retrieval(Table(vectors, shifted), images(8), {f"{i}.png": [str(i)] for i in range(8)})
    assert found["images"] == found["captions"] == 8
    assert found["r@1"] == found["r@5"] == 7 / 8
    assert found["r@10"] == 1.0
    assert 0.8 < found["auc"] <= 1.0
    assert found["ms_per_image"] > 0


def test_ties_do_not_count_as_found():
    same = circle([0] * 20)
    found = evaluate_retrieval(Table(same, same), images(20), {f"{i}.png": [str(i)] for i in range(20)})
    assert found["r@10"] == 0.0
    assert found["auc"] == 0.5


def test_auc_is_the_share_of_pairs_in_order():
    generator = np.random.default_rng(0)
    positive, negative = generator.integers(0, 9, 50) + 2, generator.integers(0, 9, 70)
    difference = np.subtract.outer(positive, negative)
    assert auc(positive, negative) == pytest.approx(((difference > 0) + 0.5 * (difference == 0)).mean())


def test_matched_pairs_are_compared_with_every_other_pair():
    owner = np.repeat(np.arange(4), [1, 3, 2, 5])
    generator = np.random.default_rng(1)
    pictures, texts = circle([0, 20, 20, 70]), circle(generator.choice([0, 10, 20, 50, 70, 90], len(owner)))
    captions = {f"{i}.png": [str(text) for text in np.flatnonzero(owner == i)] for i in range(4)}
    found = evaluate_retrieval(Table(pictures, texts), images(4), captions)
    cosines = np.float32(texts) @ np.float32(pictures).T
    matched = np.arange(4) == owner[:, None]
    assert found["auc"] == pytest.approx(auc(cosines[matched], cosines[~matched]), abs=1e-9)
    assert 0.5 < found["auc"] < 1


def test_the_figures_do_not_depend_on_how_many_texts_are_compared_at_once(monkeypatch):
    generator = np.random.default_rng(2)
    table = Table(circle(generator.uniform(0, 90, 30)), circle(generator.uniform(0, 90, 30)))
    captions = {f"{i}.png": [str(i)] for i in range(30)}
    whole = evaluate_retrieval(table, images(30), captions)
    monkeypatch.setattr("filters.evaluation._ROWS", 7)
    parts = evaluate_retrieval(table, images(30), captions)
    assert {**whole, "ms_per_image": 0} == {**parts, "ms_per_image": 0}


@pytest.mark.parametrize(
    ("count", "captions", "message"),
    [
        (2, {"0.png": ["0"], "1.png": ["1"], "x.png": ["2"]}, "x.png"),
        (2, {"0.png": ["0"], "1.png": []}, "1.png"),
        (2, {"0.png": ["0"]}, "1.png"),
        (1, {"0.png": ["0"]}, "at least 2"),
        (0, {}, "at least 2"),
    ],
)
def test_incomplete_input(count, captions, message):
    with pytest.raises(BadInput, match=message):
        evaluate_retrieval(Table(circle([0, 1]), circle([0, 1])), images(count), captions)
