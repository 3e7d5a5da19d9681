"""The similarity scorer with the real builtin:mini."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw

from filters.encoders.uri import load_encoder
from filters.errors import BadInput
from filters.scorers import similarity
from filters.scorers.similarity import SimilarityScorer
from filters.scoring import Batch, Picture, Scorer


def drawing(shape: str, colour: str) -> Image.Image:
    image = Image.new("RGB", (256, 192), "white")
    getattr(ImageDraw.Draw(image), shape)((60, 30, 190, 160), fill=colour)
    return image


def batch_of(images: list[Image.Image], captions: list[str]) -> Batch:
    data = []
    for image in images:
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        data.append(buffer.getvalue())
    return Batch([f"{i:032x}" for i in range(len(images))], captions, data, [Picture(image) for image in images])


@pytest.fixture(scope="module")
def batch() -> Batch:
    images = [drawing("ellipse", "orange"), drawing("rectangle", "blue"), drawing("ellipse", "green")]
    return batch_of(images, ["an orange ball", "a blue box", ""])


@pytest.fixture(scope="module")
def scorer() -> SimilarityScorer:
    loaded = SimilarityScorer()
    loaded.load()
    return loaded


def test_gives_one_cosine_a_sample(scorer, batch):
    found = scorer.score(batch)
    assert isinstance(scorer, Scorer)
    assert found.schema.equals(scorer.fields)
    encoder = load_encoder("builtin:mini")
    images = encoder.encode_images([picture.image for picture in batch.pictures])
    expected = (images * encoder.encode_texts(batch.captions)).sum(axis=1)
    np.testing.assert_allclose(found.column("similarity").to_numpy(), expected, atol=1e-5)
    assert scorer.model_id() == encoder.model_id()


def test_embeddings_come_with_the_scores(scorer, batch):
    scores, vectors = scorer.score_with_embeddings(batch)
    assert scores.equals(scorer.score(batch))
    for found in vectors:
        assert found.dtype == np.float16
        assert found.shape == (3, 384)
        np.testing.assert_allclose(np.linalg.norm(found.astype(np.float32), axis=1), 1.0, atol=2e-3)
    cosines = (vectors.image.astype(np.float32) * vectors.text).sum(axis=1)
    np.testing.assert_allclose(cosines, scores.column("similarity").to_numpy(), atol=2e-3)


def test_pictures_are_encoded_once(scorer, batch, monkeypatch):
    class Counting:
        def __init__(self, encoder):
            self.encoder, self.calls = encoder, []

        def encode_images(self, images):
            self.calls.append(len(images))
            return self.encoder.encode_images(images)

        def encode_texts(self, texts):
            return self.encoder.encode_texts(texts)

    counting = Counting(similarity._encoders[scorer._key])
    monkeypatch.setitem(similarity._encoders, scorer._key, counting)
    scorer.score_with_embeddings(batch)
    assert counting.calls == [3]


def test_an_empty_batch_has_no_rows(scorer):
    scores, vectors = scorer.score_with_embeddings(batch_of([], []))
    assert scores.num_rows == 0
    assert scores.schema.field("similarity").type == pa.float32()
    assert vectors.image.shape == vectors.text.shape == (0, 384)


def test_travels_without_its_model(scorer, batch):
    sent = pickle.dumps(scorer)
    assert len(sent) < 500
    assert pickle.loads(sent).score(batch).equals(scorer.score(batch))


def test_loads_once_a_process(scorer):
    before = similarity._encoders[scorer._key]
    SimilarityScorer().load()
    assert similarity._encoders[scorer._key] is before


def test_scoring_before_loading_is_a_mistake(batch):
    with pytest.raises(RuntimeError, match="load"):
        SimilarityScorer(batch_size=7).score(batch)


def test_a_bad_model_is_refused_at_loading():
    scorer = SimilarityScorer("open-clip:ViT-B-32")
    with pytest.raises(BadInput, match="random"):
        scorer.load()
