"""The nudity scorer gives the package's own detections, and combines them with Open-NSFW as stated."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pytest

from filters.decoding import decode
from filters.errors import BadInput
from filters.scorers import nudity
from filters.scorers.nsfw import NsfwScorer
from filters.scorers.nudity import CLASSES, EXPLICIT, NudityScorer, Part, explicit, postprocess
from filters.scoring import Evidence, Scorer

nudenet = pytest.importorskip("nudenet", reason="the optional package nudenet is not installed (its model is AGPL)")


def as_the_package(part: Part) -> dict[str, object]:
    return {"class": part.name, "score": part.score, "box": list(part.box)}


def test_detections_are_the_packages(shared_data, real_pictures, made_pictures):
    detector = nudenet.NudeDetector()
    scorer = NudityScorer()
    seen = 0
    photos = sorted((shared_data / "flickr8k_sample" / "images").glob("*.jpg"))[30::5]
    people = [decode(path.read_bytes()) for path in photos]
    for picture in [*real_pictures[::2], *made_pictures[:8], *people]:
        expected = detector.detect(np.ascontiguousarray(np.asarray(picture.image)[:, :, ::-1]))
        found = [as_the_package(part) for part in scorer.detect(picture.image)]
        assert [(d["class"], d["box"]) for d in found] == [(d["class"], d["box"]) for d in expected]
        np.testing.assert_allclose([d["score"] for d in found], [d["score"] for d in expected], atol=1e-5)
        seen += len(found)
    assert seen > 20


def test_suppression_is_the_packages():
    generator = np.random.default_rng(5)
    # 60 boxes in three heaps, so that most overlap, some reach over the edges, and classes differ.
    rows = np.zeros((1, 22, 60), np.float32)
    rows[0, :2] = generator.choice([40, 150, 300], 60) + generator.normal(0, 12, (2, 60))
    rows[0, 2:4] = generator.uniform(20, 90, (2, 60))
    rows[0, 4:] = generator.uniform(0, 0.9, (18, 60)) ** 6
    from nudenet.nudenet import _postprocess

    for size in ((320, 320), (500, 333), (97, 640)):
        x_pad, y_pad = max(size) - size[0], max(size) - size[1]
        expected = _postprocess([rows], x_pad, y_pad, 1, 1, *size, 320, 320)
        assert [as_the_package(part) for part in postprocess(rows, size)] == expected


def test_columns_and_logic(real_pictures, batch_of):
    pictures = real_pictures[::6]
    batch, scorer = batch_of(pictures), NudityScorer()
    found = scorer.score(batch)
    assert found.schema.equals(scorer.fields)
    whole = NsfwScorer(threads=1).score(batch).column("nsfw")
    parts = [explicit(scorer.detect(picture.image)) for picture in pictures]
    np.testing.assert_allclose(found.column("nsfw_parts"), parts, rtol=1e-6)
    np.testing.assert_array_equal(found.column("nsfw_combined"), np.maximum(whole, found.column("nsfw_parts")))
    known = {"nsfw": pa.array([1.0] * len(pictures), pa.float32())}
    shared, evidence = scorer.score_with_evidence(batch, known)
    assert shared.column("nsfw_combined").to_pylist() == [1.0] * len(pictures)
    assert [max((one.confidence for one in some), default=0.0) for some in evidence] == parts


def test_explicit_parts_are_evidence_with_their_box_in_pixels():
    found = nudity._evidence(Part("BUTTOCKS_EXPOSED", 0.4, (10, 20, 30, 40)))
    assert found == Evidence("buttocks_exposed", None, 0.4, (10, 20, 40, 60))


def test_only_explicit_exposed_parts_count():
    assert {name for name in CLASSES if name.endswith("_EXPOSED")} > EXPLICIT
    faces = [Part("FACE_FEMALE", 0.9, (0, 0, 1, 1)), Part("FEMALE_BREAST_COVERED", 0.8, (0, 0, 1, 1))]
    assert explicit(faces) == 0.0
    assert explicit([*faces, Part("BUTTOCKS_EXPOSED", 0.4, (0, 0, 1, 1))]) == 0.4
    assert explicit([]) == 0.0


def test_is_cheap_to_send_and_knows_its_model():
    scorer = pickle.loads(pickle.dumps(NudityScorer()))
    assert isinstance(scorer, Scorer)
    assert scorer.model_id().startswith("nudenet-320n@sha256:c15d8273adad2d0a+open-nsfw@")
    assert len(pickle.dumps(scorer)) < 500


def test_a_missing_or_changed_model_is_refused(monkeypatch, tmp_path):
    with pytest.raises(BadInput, match="install"):
        nudity.read_model(tmp_path / "320n.onnx")
    (tmp_path / "320n.onnx").write_bytes(nudity.model_path().read_bytes()[:-1])
    with pytest.raises(BadInput, match="SHA-256"):
        nudity.read_model(tmp_path / "320n.onnx")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadInput, match="AGPL"):
        nudity.model_path()
