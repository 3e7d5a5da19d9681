"""The watermark scorer tells stamped pictures from clean ones, reads the mark, and knows what the caption names."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from filters.decoding import decode
from filters.errors import BadInput
from filters.evaluation import auc
from filters.scorers import text_detection
from filters.scorers.text_detection import TextBox, boxes_of, covered, detection_size
from filters.scorers.watermark import WatermarkScorer, text_area, weights
from filters.scorers.watermark_features import NAMES, features, periodicity, repeats
from filters.scoring import Picture, Scorer


def lettering(size: tuple[int, int], text: str, at: tuple[int, int], height: int) -> Image.Image:
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).text(at, text, 255, ImageFont.load_default(height))
    return mask


def stamped(image: Image.Image, text: str, opacity: float, tiled: bool) -> Image.Image:
    """The text in white, once in the middle or again and again at 30 degrees."""
    if tiled:
        wide = (2 * image.width, 2 * image.height)
        mask = Image.new("L", wide)
        for top in range(0, wide[1], image.height // 4):
            for left in range(0, wide[0], image.width // 2):
                font = ImageFont.load_default(image.width // 13)
                ImageDraw.Draw(mask).text((left, top), text, 255, font)
        left, top = image.width // 2, image.height // 2
        mask = mask.rotate(30).crop((left, top, left + image.width, top + image.height))
    else:
        mask = lettering(image.size, text, (image.width // 8, image.height * 2 // 5), image.height // 8)
    marked = image.copy()
    marked.paste((255, 255, 255), mask=mask.point([round(level * opacity) for level in range(256)]))
    return marked


@pytest.fixture(scope="module")
def scorer() -> WatermarkScorer:
    found = WatermarkScorer()
    found.load()
    return found


@pytest.fixture(scope="module")
def photos(shared_data) -> list[Image.Image]:
    files = sorted((shared_data / "flickr8k_sample" / "images").glob("*.jpg"))[5::17]
    return [decode(path.read_bytes()).image for path in files]


@pytest.fixture(scope="module")
def sky() -> Image.Image:
    """A shaded blue ground, on which white letters of half opacity can be read."""
    rows = np.linspace(60, 150, 320)[:, None, None] * np.array([0.4, 0.7, 1.3])
    noise = np.random.default_rng(3).normal(0, 4, (320, 320, 3))
    return Image.fromarray(np.clip(rows + noise, 0, 255).astype(np.uint8))


def test_stamped_photos_rank_above_clean_ones(scorer, photos):
    clean = [scorer.examine(image).score for image in photos]
    marked = [
        scorer.examine(stamped(image, ("shutterstock", "Okulara")[at % 2], 0.5, at % 4 < 2)).score
        for at, image in enumerate(photos)
    ]
    assert auc(np.array(marked), np.array(clean)) >= 0.95
    assert sum(score > weights()["threshold"] for score in clean) <= 1


def test_the_mark_is_read_and_the_evidence_names_it(scorer, sky, batch_of):
    pictures = [Picture(stamped(sky, "shutterstock", 0.5, tiled=False)), Picture(sky)]
    found, evidence = scorer.score_with_evidence(batch_of(pictures), {})
    assert found.schema.equals(scorer.fields)
    assert found.column("watermark_text").to_pylist() == ["Shutterstock", None]
    marked, clean = found.column("watermark").to_pylist()
    assert marked > weights()["threshold"] > clean
    assert 0.02 < found.column("text_area")[0].as_py() < 0.4
    assert found.column("text_area")[1].as_py() == 0
    assert evidence[1] == []
    (line,) = evidence[0]
    assert line.kind == "agency"
    assert line.text.lower().startswith("shutterst")
    assert line.confidence > 0.8
    # Drawn from (40, 128), 40 pixels high.
    left, top, right, bottom = line.box
    assert 20 < left < 60
    assert 110 < top < 140
    assert 240 < right <= 320
    assert 160 < bottom < 200


def test_a_caption_that_names_the_text_excuses_it_but_not_tiles(scorer, sky):
    once, tiled = (stamped(sky, "freepik", 0.6, tiled) for tiled in (False, True))
    bound = weights()["threshold"]
    naming = "a banner that says FREEPIK"
    assert scorer.examine(once).score > bound > scorer.examine(once, naming).score
    assert scorer.examine(tiled, naming).score > bound
    agency = stamped(sky, "alamy", 0.6, tiled=False)
    assert scorer.examine(agency, "the alamy office").score < bound
    assert scorer.examine(agency, "blue sky Stock Photo - Alamy").score > bound
    assert scorer.examine(agency).text == "Alamy"
    assert scorer.examine(agency, "the alamy office").text is None


def test_ordinary_text_is_no_watermark(scorer):
    page = pytest.importorskip("skimage.data").page()
    found = scorer.examine(Image.fromarray(page).convert("RGB"))
    assert len(found.boxes) > 5
    assert text_area(found.boxes) > 0.3
    assert found.score < weights()["threshold"]
    sign = Image.new("RGB", (300, 300), (30, 90, 40))
    ImageDraw.Draw(sign).rectangle((60, 110, 240, 190), fill=(200, 30, 30))
    ImageDraw.Draw(sign).text((85, 125), "EXIT", (255, 220, 0), ImageFont.load_default(48))
    assert scorer.examine(sign).score < weights()["threshold"]


def test_scores_do_not_depend_on_batch_or_threads(photos, batch_of):
    pictures = [Picture(image) for image in photos[:4]] + [Picture(stamped(photos[4], "istock", 0.6, True))]
    whole = WatermarkScorer(threads=2).score(batch_of(pictures)).column("watermark").to_pylist()
    single = [WatermarkScorer().score(batch_of([picture]))["watermark"][0].as_py() for picture in pictures]
    np.testing.assert_allclose(whole, single, atol=1e-4)
    assert WatermarkScorer().score(batch_of(pictures)).column("watermark").to_pylist() == single


def test_odd_pictures_have_scores(scorer, made_pictures, batch_of):
    found = scorer.score(batch_of(made_pictures[:10]))
    values = found.column("watermark").to_numpy()
    assert np.isfinite(values).all()
    assert values.max() < weights()["threshold"]
    assert scorer.score(batch_of([])).num_rows == 0


def test_is_cheap_to_send_and_knows_its_model():
    found = pickle.loads(pickle.dumps(WatermarkScorer()))
    assert isinstance(found, Scorer)
    assert found.model_id().startswith("pp-ocrv6-small@sha256:090f04abcd9d9a74+6f327246b50388f3+marks-")
    assert len(pickle.dumps(found)) < 500
    assert set(weights()["weights"]) == set(NAMES)


def test_a_missing_or_changed_model_is_refused(monkeypatch, tmp_path):
    with pytest.raises(BadInput, match="install"):
        text_detection.read_model(tmp_path / "absent.onnx", "00")
    (tmp_path / "other.onnx").write_bytes(b"other")
    with pytest.raises(BadInput, match="SHA-256"):
        text_detection.read_model(tmp_path / "other.onnx", text_detection.DETECTOR[1])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadInput, match="pip install"):
        text_detection.models_folder()


def test_boxes_follow_blobs_of_the_text_map():
    blobs = np.zeros((200, 300), np.float32)
    blobs[90:110, 60:200] = 0.9
    blobs[20:22, 20:22] = 0.9  # too small
    blobs[150:170, 60:200] = 0.3  # too faint
    (box,) = boxes_of(blobs)
    assert box.score == pytest.approx(0.9, abs=0.1)
    assert box.angle == pytest.approx(0, abs=1)
    # Grown on all sides by area * 1.6 / perimeter = 14 pixels.
    np.testing.assert_allclose(box.corners[0] * (300, 200), (46, 76), atol=2)
    np.testing.assert_allclose(box.corners[2] * (300, 200), (214, 124), atol=2)
    assert covered([box]) == pytest.approx(168 * 48 / 60000, rel=0.1)
    assert covered([box, box]) == covered([box])
    assert boxes_of(np.zeros((64, 64), np.float32)) == []


def test_sizes_for_detection():
    assert detection_size((224, 224)) == (512, 512)
    assert detection_size((500, 375)) == (512, 384)
    assert detection_size((4000, 1000)) == (640, 160)
    assert detection_size((500, 1)) == (512, 32)


def test_repeats_and_periodicity():
    def box(text: str) -> TextBox:
        return TextBox(np.zeros((4, 2)), 0.9, 0.0, text, 0.9)

    assert repeats([box("shutterstock"), box("terstock"), box("shutterstack"), box("hotel")]) == 3
    assert repeats([box("hotel"), box("police")]) == 1
    assert repeats([]) == 0
    tiles, single = np.zeros((320, 320), np.float32), np.zeros((320, 320), np.float32)
    for top in range(20, 320, 80):
        tiles[top : top + 12, 30:110] = tiles[top : top + 12, 190:270] = 1
    single[150:170, 80:240] = 1
    assert periodicity(tiles) > 0.6
    assert periodicity(single) < 0.2
    assert periodicity(np.zeros((64, 64), np.float32)) == 0
    assert len(features(Image.new("RGB", (64, 64)), [], np.zeros((64, 64), np.float32), "")) == len(NAMES)
