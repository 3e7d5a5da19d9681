"""bf16 and int8 against float32, with real towers whose weights a test made; the URIs that ask for them."""

from __future__ import annotations

import csv
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from filters.encoders import int8
from filters.encoders.int8 import Int8Towers
from filters.encoders.precision import precision_error, probe
from filters.encoders.towers import CausalText, TorchTowers, halving, until_end
from filters.encoders.uri import ModelUri, load_encoder, parse_uri, with_precision
from filters.errors import BadInput

TEXTS = ["a dog", "two people walk along the beach at sunset", "a dog", "", "word " * 100, "! !"]

needs_export = pytest.mark.skipif(
    any(int8.importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript")),
    reason="onnx and onnxscript are not installed (extra onnx)",
)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """One cache for all tests here, so that each model is exported once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSAY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield int8.cache_folder()


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("open-clip:A/t?precision=int8", ModelUri("open-clip", arch="A", tag="t", precision="int8")),
        ("file:/a.pt?arch=X&precision=bf16", ModelUri("file", arch="X", path="/a.pt", precision="bf16")),
        ("file:/folder?precision=fp32", ModelUri("file", path="/folder", precision="fp32")),
    ],
)
def test_precision_in_a_uri(uri, expected):
    assert parse_uri(uri) == expected


@pytest.mark.parametrize(
    "uri",
    [
        "open-clip:A/t?precision=int4",
        "open-clip:A/t?precision=",
        "open-clip:A/t?arch=A",
        "open-clip:A/t?precision=fp32&precision=int8",
        "open-clip:A?precision=int8",
        "file:/a.pt?arch=X&precision=half",
        "file:/a.pt?precision",
        "builtin:mini?precision=int8",
    ],
)
def test_other_precisions_are_refused_in_one_line(uri):
    with pytest.raises(BadInput) as caught:
        parse_uri(uri)
    assert "\n" not in str(caught.value)


def test_precision_of_a_uri_can_be_replaced():
    assert with_precision("open-clip:A/t", "fp32") == "open-clip:A/t?precision=fp32"
    changed = parse_uri(with_precision("file:/a b.pt?arch=X&tag=t&precision=int8", "bf16"))
    assert changed == ModelUri("file", arch="X", tag="t", path="/a b.pt", precision="bf16")
    with pytest.raises(BadInput):
        with_precision("builtin:mini", "int8")


@pytest.mark.parametrize("precision", ["bf16", pytest.param("int8", marks=needs_export)])
def test_small_precisions_stay_close_to_float32(tiny, pictures, precision):
    exact = load_encoder(tiny.uri())
    encoder = load_encoder(with_precision(tiny.uri(), precision))
    for found, expected in (
        (encoder.encode_images(pictures), exact.encode_images(pictures)),
        (encoder.encode_texts(TEXTS), exact.encode_texts(TEXTS)),
    ):
        assert found.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
        assert np.einsum("nd,nd->n", found, expected).min() > 0.999
        assert np.abs(found - expected).max() > 1e-5  # it did run in another precision
    assert encoder.model_id() == f"{exact.model_id()}+{precision}"
    assert encoder.precision == precision


def test_fp32_by_name_is_fp32(tiny, pictures):
    if torch.cuda.is_available():
        pytest.skip("the default differs on a GPU")
    named, default = load_encoder(with_precision(tiny.uri(), "fp32")), load_encoder(tiny.uri())
    np.testing.assert_array_equal(named.encode_images(pictures), default.encode_images(pictures))
    assert named.model_id() == default.model_id()


@needs_export
def test_int8_does_not_depend_on_the_batch_nor_on_the_run(tiny, pictures, cache):
    uri = with_precision(tiny.uri(), "int8")
    together = load_encoder(uri).encode_images(pictures), load_encoder(uri).encode_texts(TEXTS)
    files = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    again = load_encoder(uri, batch_size=2)
    np.testing.assert_array_equal(again.encode_images(pictures), together[0])
    alone = np.concatenate([again.encode_texts([text]) for text in TEXTS])
    np.testing.assert_array_equal(alone, together[1])
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == files  # from the cache, no leftovers
    assert {path.suffix for path in files} == {".onnx"}


@needs_export
def test_int8_in_the_cache_needs_no_export_packages_and_damage_is_named(tiny, monkeypatch, tmp_path, cache):
    uri = with_precision(tiny.uri(), "int8")
    load_encoder(uri)
    monkeypatch.setattr(int8.importlib.util, "find_spec", lambda name: None)
    load_encoder(uri)
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    with pytest.raises(BadInput, match=r"assay-data\[onnx\]"):
        load_encoder(uri)
    (tmp_path / "int8").mkdir()
    for path in cache.iterdir():
        (tmp_path / "int8" / path.name).write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BadInput, match="delete it") as caught:
        load_encoder(uri)
    assert "\n" not in str(caught.value)


@needs_export
def test_int8_of_a_text_tower_that_is_not_clip_s(tiny, tmp_path):
    """SigLIP's text tower sees all places at once and pools the last: it must not be cut at any mark."""
    config = {
        "embed_dim": 32,
        "custom_text": True,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": {
            "context_length": 12,
            "vocab_size": 49408,
            "width": 64,
            "heads": 2,
            "layers": 1,
            "no_causal_mask": True,
            "pool_type": "last",
        },
    }
    (tmp_path / "assay-both-ways.json").write_text(json.dumps(config))
    tiny.open_clip.add_model_config(tmp_path)
    torch.manual_seed(2)
    model = tiny.open_clip.create_model("assay-both-ways").eval()
    assert not CausalText.fits(model)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    uri = f"file:{tmp_path / 'w.pt'}?arch=assay-both-ways"
    found = load_encoder(with_precision(uri, "int8")).encode_texts(TEXTS)
    assert np.einsum("nd,nd->n", found, load_encoder(uri).encode_texts(TEXTS)).min() > 0.999


def test_texts_cut_at_the_end_mark_give_open_clip_s_embeddings(tiny):
    tokens = tiny.open_clip.get_tokenizer(tiny.arch)(TEXTS)
    assert until_end(tokens[:1]).shape == (1, 4)  # start, a, dog, end
    towers = TorchTowers(tiny.model, torch.device("cpu"), torch.float32, batch_size=2)
    with torch.inference_mode():
        expected = tiny.model.encode_text(tokens).numpy()
    np.testing.assert_allclose(towers.texts(tokens), expected, atol=1e-5)


def test_batches_are_halved_when_the_gpu_is_full():
    sizes = []

    def run(rows):
        sizes.append(len(rows))
        if len(rows) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return rows.numpy() * 2

    rows = torch.arange(20)
    found, size = halving(run, rows, 16)
    np.testing.assert_array_equal(found, np.arange(20) * 2)
    assert size == 2
    assert sizes[:4] == [16, 8, 4, 2]
    assert set(sizes[3:]) == {2}
    assert halving(run, rows[:3], 64)[1] == 64  # what fits keeps its size
    assert halving(run, rows[:6], 64)[1] == 3  # half of what was there, not of what was allowed


def test_a_gpu_too_small_for_one_row_is_one_line():
    def run(rows):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(BadInput, match="no memory for one picture"):
        halving(run, torch.zeros(5), 4)


@needs_export
def test_precision_error_is_measured_on_the_packaged_pictures(tiny):
    pictures, captions = probe()
    assert len(pictures) == len(captions) == 12
    error = precision_error(with_precision(tiny.uri(), "int8"), pictures, captions)
    assert error.ok
    assert 0.999 < error.picture_min <= error.picture_mean <= 1
    assert 0 < error.similarity_shift < 0.05
    assert error.facts()["model"] == load_encoder(tiny.uri()).model_id() + "+int8"
    assert "int8 against fp32 on 12 pictures" in error.line()
    same = precision_error(tiny.uri(), pictures, captions)
    assert same.similarity_shift == 0 or torch.cuda.is_available()
    with pytest.raises(ValueError, match="one caption a picture"):
        precision_error(tiny.uri(), pictures, captions[:3])


@needs_export
def test_int8_towers_are_safe_in_threads(tiny, pictures):
    encoder = load_encoder(with_precision(tiny.uri(), "int8"))
    assert isinstance(encoder._towers, Int8Towers)
    expected = encoder.encode_images(pictures)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: encoder.encode_images(pictures), range(16)):
            np.testing.assert_array_equal(found, expected)


@pytest.fixture(scope="module")
def openai():
    """Genuine CLIP ViT-B/32 weights of OpenAI, as safetensors."""
    weights = os.environ.get("ASSAY_CLIP_WEIGHTS")
    if not weights:
        pytest.skip("ASSAY_CLIP_WEIGHTS names no file with OpenAI's ViT-B/32 weights")
    return load_encoder(f"file:{weights}?arch=ViT-B-32&tag=openai&precision=fp32", threads=1)


def test_openai_s_weights_give_the_embeddings_that_others_made(openai, flickr):
    folder = shared("clip_b32_reference")
    with (folder / "flickr_pairs_500.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    texts = openai.encode_texts([row["caption"] for row in rows])
    assert cosines(texts, np.load(folder / "flickr_txt_500x512_f32.npy")).min() > 0.999
    here = [i for i, row in enumerate(rows) if i % 5 == 0 and f"{row['image_id']}.jpg" in flickr[0]]
    images = openai.encode_images([flickr[0][f"{rows[i]['image_id']}.jpg"] for i in here])
    assert cosines(images, np.load(folder / "flickr_img_500x512_f32.npy")[here]).min() > 0.99


def test_openai_s_weights_give_the_published_probabilities(openai):
    folder = shared("clip_published_values")
    published = json.loads((folder / "published_values.json").read_text())["openai_readme_CLIP.png_ViT-B/32"]
    image = openai.encode_images([Image.open(folder / "openai" / "CLIP.png").convert("RGB")])
    logits = 100 * openai.encode_texts(published["texts"]) @ image[0]
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(), published["probs"], atol=0.005)


def cosines(found, expected):
    return np.einsum("nd,nd->n", found, expected / np.linalg.norm(expected, axis=1, keepdims=True))


def shared(name):
    folder = Path(os.environ.get("ASSAY_SHARED_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data")
    if not (folder / name).is_dir():
        pytest.skip(f"no {name} in {folder}: set ASSAY_SHARED_DATA")
    return folder / name
