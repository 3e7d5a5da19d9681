"""open_clip models by file, folder and tag, with weights made here, against open_clip used directly."""

from __future__ import annotations

import json
import os
import pickle
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from filters.encoders.openclip import shrink
from filters.encoders.uri import load_encoder
from filters.errors import BadInput

TEXTS = ["a dog", "two people walk along the beach at sunset", "a dog", "", "word " * 100]


def directly(tiny, pictures, preprocess=None, model=None):
    """Encode with open_clip alone, one at a time."""
    model = tiny.model if model is None else model
    if preprocess is None:
        preprocess = tiny.open_clip.image_transform(64, is_train=False)
    tokenizer = tiny.open_clip.get_tokenizer(tiny.arch)
    with torch.no_grad():
        images = [model.encode_image(preprocess(picture)[None], normalize=True) for picture in pictures]
        texts = [model.encode_text(tokenizer([text]), normalize=True) for text in TEXTS]
    return torch.cat(images).numpy(), torch.cat(texts).numpy()


def refusal(uri):
    with pytest.raises(BadInput) as caught:
        load_encoder(uri)
    message = str(caught.value)
    assert "\n" not in message
    assert message
    return message


def folder_of(tiny, path, preprocess=None):
    path.mkdir()
    config = {"model_cfg": tiny.config, "preprocess_cfg": preprocess or {}}
    (path / "open_clip_config.json").write_text(json.dumps(config))
    shutil.copy(tiny.weights, path / "open_clip_model.safetensors")
    return path


def test_file_gives_open_clip_s_own_embeddings(tiny, pictures):
    encoder = load_encoder(tiny.uri(), batch_size=2)
    images, texts = directly(tiny, pictures)
    np.testing.assert_allclose(encoder.encode_images(pictures), images, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), texts, atol=1e-5)
    assert encoder.dimension == 32
    assert encoder.uri == tiny.uri()


def test_same_weights_have_the_same_hash_in_any_file(tiny, tmp_path):
    torch.save({"state_dict": {f"module.{k}": v for k, v in tiny.model.state_dict().items()}}, tmp_path / "a.pt")
    folder = folder_of(tiny, tmp_path / "folder")
    uris = [tiny.uri(), f"file:{tmp_path / 'a.pt'}?arch={tiny.arch}", f"file:{folder}", f"file://{folder}"]
    ids = [load_encoder(uri).model_id() for uri in uris]
    assert len({name.partition("@")[2] for name in ids}) == 1
    assert ids[0].startswith("assay-tiny@sha256:")
    assert ids[2] == ids[3]
    assert ids[2].startswith("config-")

    changed = tiny.model.state_dict() | {"logit_scale": torch.tensor(1.5)}
    save_file(changed, tmp_path / "b.safetensors")
    assert load_encoder(f"file:{tmp_path / 'b.safetensors'}?arch={tiny.arch}").model_id() != ids[0]


def test_folder_s_own_preprocessing_is_used(tiny, tmp_path, pictures):
    other = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "interpolation": "bilinear", "resize_mode": "squash"}
    encoder = load_encoder(f"file:{folder_of(tiny, tmp_path / 'own', other)}")
    preprocess = tiny.open_clip.image_transform(
        64, is_train=False, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), interpolation="bilinear", resize_mode="squash"
    )
    np.testing.assert_allclose(encoder.encode_images(pictures), directly(tiny, pictures, preprocess)[0], atol=1e-5)


@pytest.fixture
def published(tiny, tmp_path, monkeypatch):
    """Tags of the tiny architecture: `openai` with QuickGELU and SigLIP's preprocessing, `plain` with open_clip's."""
    from huggingface_hub import constants
    from open_clip import pretrained

    def entry(name, **extra):
        return {"hf_hub": f"assay/{name}/", "interpolation": "bicubic", "resize_mode": "shortest", **extra}

    half = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    tags = {"openai": entry("one", quick_gelu=True, **half), "plain": entry("two"), "gone": entry("three")}
    monkeypatch.setitem(pretrained._PRETRAINED, tiny.arch, tags)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in ("one", "two"):
        repository = tmp_path / f"models--assay--{name}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("0" * 40)
        snapshot = repository / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        shutil.copy(tiny.weights, snapshot / "open_clip_model.safetensors")
    return tmp_path


def test_tag_brings_quick_gelu_and_preprocessing(tiny, published, pictures):
    encoder = load_encoder(f"open-clip:{tiny.arch}/openai")
    quick = tiny.open_clip.create_model(tiny.arch, force_quick_gelu=True).eval()
    quick.load_state_dict(tiny.model.state_dict())
    preprocess = tiny.open_clip.image_transform(64, is_train=False, mean=(0.5,) * 3, std=(0.5,) * 3)
    images, texts = directly(tiny, pictures, preprocess, quick)
    np.testing.assert_allclose(encoder.encode_images(pictures), images, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), texts, atol=1e-5)
    assert encoder.model_id().startswith("assay-tiny-quickgelu@")
    assert np.abs(images - directly(tiny, pictures, preprocess)[0]).max() > 1e-4  # the activation matters

    plain = load_encoder(f"open-clip:{tiny.arch}/plain")
    np.testing.assert_allclose(plain.encode_images(pictures), directly(tiny, pictures)[0], atol=1e-5)


def test_file_must_say_whose_preprocessing_it_follows_where_that_is_open(tiny, published, pictures):
    assert "&tag=TAG" in refusal(tiny.uri())
    followed = load_encoder(f"{tiny.uri()}&tag=openai")
    tagged = load_encoder(f"open-clip:{tiny.arch}/openai")
    np.testing.assert_array_equal(followed.encode_images(pictures), tagged.encode_images(pictures))
    assert followed.model_id() == tagged.model_id()


def test_missing_download_says_what_to_do(tiny, published, monkeypatch):
    from huggingface_hub import constants

    message = refusal(f"open-clip:{tiny.arch}/gone")
    assert "HF_HUB_OFFLINE" in message
    assert f"file:/path/weights.safetensors?arch={tiny.arch}&tag=gone" in message

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.invalid")
    monkeypatch.setattr("urllib.request.getproxies", dict)
    assert "hub.invalid cannot be reached" in refusal(f"open-clip:{tiny.arch}/gone")


def test_openai_tag_of_real_architectures_means_quick_gelu(tiny):
    for arch in ("ViT-B-32", "ViT-L-14"):
        assert tiny.open_clip.get_pretrained_cfg(arch, "openai")["quick_gelu"] is True
        assert not tiny.open_clip.get_model_config(arch).get("quick_gelu", False)


def test_random_weights_are_refused(tiny):
    assert "random" in refusal("open-clip:ViT-B-32")
    assert "random" in refusal("open-clip:ViT-B-32/")
    assert "no published weights" in refusal(f"open-clip:{tiny.arch}/laion2b")


def test_unknown_names(tiny):
    assert "ViT-B-32" in refusal("open-clip:ViT-B32/openai")
    assert "laion2b_s34b_b79k" in refusal("open-clip:ViT-B-32/laion")
    assert "no architecture" in refusal(f"file:{tiny.weights}?arch=nothing")


def test_weights_of_another_architecture(tiny, tmp_path):
    assert "do not fit the architecture ViT-S-32" in refusal(f"file:{tiny.weights}?arch=ViT-S-32")
    # open_clip would stretch the position embeddings to the other picture size and say nothing.
    assert "another picture size" in refusal(f"file:{tiny.weights}?arch=assay-tiny-96")
    short = load_file(tiny.weights)
    short.pop("text_projection")
    save_file(short, tmp_path / "short.safetensors")
    assert "text_projection" in refusal(f"file:{tmp_path / 'short.safetensors'}?arch={tiny.arch}")


class _Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".safetensors", ".pkl"])
def test_pickled_code_never_runs(tiny, tmp_path, suffix):
    bait = tmp_path / "executed"
    plain, zipped = tmp_path / f"plain{suffix}", tmp_path / f"zipped{suffix}"
    plain.write_bytes(pickle.dumps({"state_dict": _Malicious(bait)}))
    torch.save({**tiny.model.state_dict(), "extra": _Malicious(bait)}, zipped)
    for path in (plain, zipped):
        refusal(f"file:{path}?arch={tiny.arch}")
    folder = folder_of(tiny, tmp_path / "folder")
    shutil.move(folder / "open_clip_model.safetensors", tmp_path)
    shutil.copy(zipped, folder / f"open_clip_model{suffix}")
    refusal(f"file:{folder}")
    assert not bait.exists()


def test_damaged_and_missing_files(tiny, tmp_path):
    (tmp_path / "empty.safetensors").write_bytes(b"")
    (tmp_path / "cut.safetensors").write_bytes(tiny.weights.read_bytes()[:5000])
    (tmp_path / "noise.pt").write_bytes(bytes(range(256)) * 9)
    torch.save([1, 2], tmp_path / "list.pt")
    save_file({}, tmp_path / "none.safetensors")
    for name in (
        "empty.safetensors",
        "cut.safetensors",
        "noise.pt",
        "list.pt",
        "none.safetensors",
        "gone.safetensors",
    ):
        assert name in refusal(f"file:{tmp_path / name}?arch={tiny.arch}")


def test_incomplete_folders(tiny, tmp_path):
    assert "no file or folder" in refusal(f"file:{tmp_path / 'gone'}")
    (tmp_path / "empty").mkdir()
    assert "open_clip_config.json" in refusal(f"file:{tmp_path / 'empty'}")

    bare = folder_of(tiny, tmp_path / "bare")
    (bare / "open_clip_model.safetensors").unlink()
    assert "open_clip_model.safetensors" in refusal(f"file:{bare}")

    broken = folder_of(tiny, tmp_path / "broken")
    for text in ("{", "[]", '{"model_cfg": {}}', '{"model_cfg": {"embed_dim": 32}}'):
        (broken / "open_clip_config.json").write_text(text)
        assert "broken" in refusal(f"file:{broken}")


def test_threads_are_set_once_for_the_process(tiny, restored_threads):
    load_encoder(tiny.uri(), threads=1)
    assert torch.get_num_threads() == 1
    load_encoder(tiny.uri())
    assert torch.get_num_threads() == 1
    for threads, batch_size in ((-1, 64), (0, 0)):
        with pytest.raises(BadInput):
            load_encoder(tiny.uri(), threads, batch_size)


def test_large_pictures_are_shrunk_without_harm(tiny):
    noise = np.random.default_rng(5).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    large = Image.fromarray(noise).resize((2100, 1500), Image.Resampling.BICUBIC)
    encoder = load_encoder(tiny.uri())
    (found,), (expected,) = encoder.encode_images([large]), directly(tiny, [large])[0]
    assert found @ expected > 0.9999
    assert shrink(large, 64, crops=True).size == (269, 192)
    assert shrink(large, 64, crops=False).size == (192, 192)
    small = large.resize((383, 500))
    assert shrink(small, 64, crops=True) is small
    strip = Image.new("RGB", (100_000, 10))
    assert shrink(strip, 224, crops=True).size == (80, 10)
    assert shrink(strip, 224, crops=False).size == (672, 10)
